from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from tpbench.metrics import distances as module
from tpbench.metrics.distances import (
    DISCO_FVD,
    FID,
    FVD,
    FeatureAccumulator,
    FeatureStatistics,
    FrechetMetric,
    feature_statistics,
    frame_sample,
    frechet_distance,
    kid,
    merge_statistics,
)


def features(n: int, d: int, *, seed: int = 0, offset: float = 0.0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal((n, d)) + offset


def covariance(statistics: FeatureStatistics, *, ddof: int) -> NDArray[np.float64]:
    return statistics.full_scatter() / statistics.divisor(ddof)


def assert_same(a: FeatureStatistics, b: FeatureStatistics, *, rel: float = 1e-12) -> None:
    assert a.n == b.n
    assert a.holds_rows == b.holds_rows
    np.testing.assert_allclose(a.mean, b.mean, rtol=rel, atol=rel)
    np.testing.assert_allclose(a.full_scatter(), b.full_scatter(), rtol=rel, atol=rel * a.n)


@pytest.mark.parametrize("n", [2, 5, 6, 40])
@pytest.mark.parametrize("ddof", [0, 1])
def test_mean_and_covariance_are_numpys(n: int, ddof: int) -> None:
    x = features(n, 5)
    found = feature_statistics(x)
    np.testing.assert_allclose(found.mean, x.mean(axis=0), atol=1e-15)
    expected = np.cov(x, rowvar=False, ddof=ddof)
    np.testing.assert_allclose(covariance(found, ddof=ddof), expected, rtol=1e-12, atol=1e-14)
    assert found.scatter_trace() == pytest.approx((n - ddof) * np.trace(expected), rel=1e-12)


def test_one_vector_has_no_spread() -> None:
    found = feature_statistics([[1.0, 2.0, 3.0]])
    assert found.n == 1
    np.testing.assert_array_equal(covariance(found, ddof=1), np.zeros((3, 3)))


@pytest.mark.parametrize(("n", "rows"), [(4, True), (5, True), (6, False)])
def test_the_smaller_form_is_kept(n: int, rows: bool) -> None:  # noqa: FBT001 - a parameter
    found = feature_statistics(features(n, 5))
    assert found.holds_rows is rows
    assert found.spread.shape == ((n, 5) if rows else (5, 5))


def test_a_large_offset_costs_no_digits_of_the_covariance() -> None:
    x = np.random.default_rng(1).integers(-50, 50, (300, 4)) / 64.0
    plain, far = FeatureAccumulator(4), FeatureAccumulator(4)
    for start in range(0, 300, 7):
        plain.update(x[start : start + 7])
        far.update(x[start : start + 7] + 2.0**30)
    expected = covariance(plain.compute(), ddof=1)
    # Sums of squares would be off by hundreds: 2^60 is 8 digits beyond float64.
    np.testing.assert_allclose(covariance(far.compute(), ddof=1), expected, rtol=0, atol=1e-7)


@given(n=st.integers(1, 60), batch=st.integers(1, 60), d=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_the_batch_size_changes_no_bit(n: int, batch: int, d: int) -> None:
    x = features(n, d)
    whole, parts = FeatureAccumulator(d), FeatureAccumulator(d)
    whole.update(x)
    for start in range(0, n, batch):
        parts.update(x[start : start + batch])
        parts.update(x[:0])
    a, b = whole.compute(), parts.compute()
    assert a.n == b.n == n
    np.testing.assert_array_equal(a.mean, b.mean)
    np.testing.assert_array_equal(a.spread, b.spread)
    assert_same(a, feature_statistics(x))


@pytest.mark.parametrize(("n", "m"), [(3, 2), (4, 5), (2, 30), (30, 3), (30, 20)])
def test_merging_statistics_is_taking_both_sets(n: int, m: int) -> None:
    a, b = features(n, 6, seed=1), features(m, 6, seed=2, offset=3.0)
    found = merge_statistics(feature_statistics(a), feature_statistics(b))
    assert_same(found, feature_statistics(np.concatenate([a, b])), rel=1e-12)


def test_an_accumulator_holds_no_more_than_two_squares() -> None:
    one = FeatureAccumulator(4)
    for row in features(103, 4):
        one.update(row[None])
        held = one._n_pending * 4 + (one._folded.spread.size if one._folded else 0)
        assert held <= 2 * 4 * 4
    assert one.compute().n == 103


@pytest.mark.parametrize(
    ("given_features", "words"),
    [
        (np.zeros(3), r"want \(n, d\) real numbers, got \(3,\)"),
        (np.zeros((2, 0)), r"got \(2, 0\)"),
        (np.zeros((2, 3), complex), "complex128"),
        (np.array([["a"]]), r"got \(1, 1\)"),
        (np.array([[1.0, np.nan], [1.0, 2.0]]), "1 of 2 rows"),
        (np.array([[np.inf]]), "1 of 1 rows"),
        (np.zeros((0, 3)), "at least one row"),
    ],
)
def test_what_is_no_set_of_vectors_is_refused(given_features: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        feature_statistics(np.asarray(given_features))


def test_another_length_is_refused() -> None:
    one = FeatureAccumulator(3)
    with pytest.raises(ValueError, match=r"want \(k, 3\), got \(2, 4\)"):
        one.update(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="no features"):
        one.compute()
    with pytest.raises(ValueError, match="dim: want 1 or more, got 0"):
        FeatureAccumulator(0)


def reference_scipy_frechet(
    a: NDArray[np.float64], b: NDArray[np.float64], *, ddof: int = 1
) -> float:
    """As pytorch-fid: numpy.cov and the matrix square root of the product."""
    s1 = np.atleast_2d(np.cov(a, rowvar=False, ddof=ddof))
    s2 = np.atleast_2d(np.cov(b, rowvar=False, ddof=ddof))
    gap = a.mean(axis=0) - b.mean(axis=0)
    root = scipy.linalg.sqrtm(s1 @ s2)
    return float(gap @ gap + np.trace(s1) + np.trace(s2) - 2 * np.trace(root).real)


def distance(a: NDArray[np.float64], b: NDArray[np.float64], *, ddof: int = 1) -> float:
    return frechet_distance(feature_statistics(a), feature_statistics(b), ddof=ddof)


def correlated(n: int, d: int, seed: int) -> NDArray[np.float64]:
    draw = np.random.default_rng(seed)
    mixing = draw.standard_normal((d, d)) / math.sqrt(d) + np.eye(d)
    features: NDArray[np.float64] = draw.standard_normal((n, d)) @ mixing + draw.standard_normal(d)
    return features


@pytest.mark.parametrize(("n", "m", "d"), [(80, 60, 12), (400, 400, 32), (30, 30, 1)])
@pytest.mark.parametrize("ddof", [0, 1])
def test_equals_scipys_square_root_where_that_is_well_conditioned(
    n: int, m: int, d: int, ddof: int
) -> None:
    a, b = correlated(n, d, 1), correlated(m, d, 2)
    assert distance(a, b, ddof=ddof) == pytest.approx(
        reference_scipy_frechet(a, b, ddof=ddof), rel=1e-6
    )


@pytest.mark.parametrize(("n", "m", "d"), [(8, 60, 12), (60, 8, 12), (12, 13, 12), (5, 7, 40)])
def test_equals_scipys_square_root_for_fewer_vectors_than_features(n: int, m: int, d: int) -> None:
    # SciPy's root of a singular product is itself only good to about 1e-8.
    a, b = correlated(n, d, 1), correlated(m, d, 2)
    assert distance(a, b) == pytest.approx(reference_scipy_frechet(a, b), rel=1e-6)


def test_no_nan_where_the_eigenvalues_of_the_product_go_below_zero() -> None:
    # The case on which an eigenvalue implementation in the field shipped NaN.
    draw = np.random.RandomState(1)
    a, b = draw.randn(4, 4), draw.randn(4, 4)
    product = np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)
    assert np.linalg.eigvals(product).real.min() < 0
    assert distance(a, b) == pytest.approx(reference_scipy_frechet(a, b), abs=1e-5)


def test_one_vector_is_a_point_without_spread() -> None:
    point, other = np.array([[1.0, 1.0]]), np.array([[4.0, 5.0]])
    spread = np.array([[1.0, 0.0], [1.0, 2.0]])
    assert distance(point, other) == pytest.approx(25.0)
    assert distance(point, spread) == pytest.approx(2.0)
    assert distance(point, spread, ddof=0) == pytest.approx(1.0)


def test_singular_covariances_are_handled() -> None:
    # Both vary along one line each, at an angle whose cosine is 0.6; variances 2 and 8.
    steps = np.array([-1.0, 1.0])[:, None] * np.ones((30, 2, 1))
    scale = math.sqrt(59 / 60)
    a = steps.reshape(-1, 1) * np.array([1.0, 0.0, 0.0]) * math.sqrt(2) * scale
    b = steps.reshape(-1, 1) * np.array([0.6, 0.8, 0.0]) * math.sqrt(8) * scale
    assert distance(a, b) == pytest.approx(2 + 8 - 2 * 0.6 * 4, rel=1e-12)


def test_a_singular_covariance_gains_no_spread_from_rounding() -> None:
    draw = np.random.default_rng(0)
    flat = draw.standard_normal((400, 3)) @ draw.standard_normal((3, 150)) * 1e3
    full = draw.standard_normal((400, 150))
    s1, s2 = np.cov(flat, rowvar=False), np.cov(full, rowvar=False)
    # tr (S1 S2)^(1/2) from the 3 directions that S1 really has.
    values, vectors = np.linalg.eigh(s1)
    half = vectors[:, -3:] * np.sqrt(values[-3:])
    overlap = np.sqrt(np.linalg.eigvalsh(half.T @ s2 @ half)).sum()
    gap = flat.mean(axis=0) - full.mean(axis=0)
    expected = gap @ gap + np.trace(s1) + np.trace(s2) - 2 * overlap
    assert distance(flat, full) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [1, 3, 20, 21, 300])
def test_a_set_is_at_no_distance_from_itself(n: int) -> None:
    a = correlated(n, 20, 3)
    assert 0 <= distance(a, a) < 1e-11


@given(n=st.integers(1, 25), m=st.integers(1, 25), d=st.integers(1, 12), seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_symmetric_not_negative_and_unmoved_by_shift_and_rotation(
    n: int, m: int, d: int, seed: int
) -> None:
    a, b = correlated(n, d, seed), correlated(m, d, seed + 1000)
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]
    value = distance(a, b)
    assert value >= 0
    assert distance(b, a) == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert distance(a + 5, b + 5) == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert distance(a @ turn, b @ turn) == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert distance(3 * a, 3 * b) == pytest.approx(9 * value, rel=1e-9, abs=1e-9)


def test_vectors_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="length: 2 and 3"):
        distance(np.zeros((4, 2)), np.zeros((4, 3)))


@pytest.mark.parametrize(
    ("metric", "ddof", "few"),
    [
        (FID, 1, "30 generated and 40 real frames, fewer than 10000: "),
        (FVD, 0, "30 generated and 40 real windows, fewer than 2048: "),
        (DISCO_FVD, 1, "30 generated and 40 real windows, fewer than 2048: "),
    ],
)
def test_fid_and_fvd_are_frechet_distances_with_their_own_covariances(
    metric: FrechetMetric, ddof: int, few: str
) -> None:
    # Only 6 features vary, so that the reference needs no root of a 2048 x 2048 matrix.
    draw, step = np.random.default_rng(0), metric.dim // 6 + 1
    real, generated = np.zeros((40, metric.dim)), np.zeros((30, metric.dim))
    real[:, ::step] = draw.standard_normal((40, 6))
    generated[:, ::step] = 2 * draw.standard_normal((30, 6)) + 1
    found = metric.score(feature_statistics(real), feature_statistics(generated))
    expected = reference_scipy_frechet(real[:, ::step], generated[:, ::step], ddof=ddof)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert (found.n_real, found.n_generated) == (40, 30)
    assert found.warning is not None
    assert found.warning.startswith(few)


def test_clips_in_any_order_and_batches_give_one_value() -> None:
    clips = [np.random.default_rng(seed).random((7, 2048), np.float32) for seed in range(6)]
    whole = FID.pooled([(np.concatenate(clips[:3]), np.concatenate(clips[3:]))])
    parts = FID.pooled(
        (clips[real][part], clips[generated][part])
        for real, generated in ((2, 4), (0, 5), (1, 3))
        for part in (slice(0, 3), slice(3, 6), slice(6, 7))
    )
    assert parts.value == pytest.approx(whole.value, rel=1e-9)
    assert (parts.n_real, parts.n_generated) == (21, 21)


@pytest.mark.parametrize(("metric", "dim"), [(FID, 400), (FVD, 2048)])
def test_features_of_another_network_are_refused(metric: FrechetMetric, dim: int) -> None:
    other = feature_statistics(np.zeros((3, dim)))
    with pytest.raises(ValueError, match=f"length {metric.dim}, got {dim} and {dim}"):
        metric.score(other, other)


def test_no_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="no features"):
        FID.pooled([])


def test_enough_windows_are_said_nothing_about() -> None:
    draw = np.random.default_rng(0)
    statistics = feature_statistics(draw.standard_normal((FVD.enough, 400)))
    found = FVD.score(statistics, statistics)
    assert found.warning is None
    assert found.value == pytest.approx(0, abs=1e-9)


def test_windows_of_clips_in_any_order_give_one_value() -> None:
    # More windows than features in all, fewer in each clip: both forms of the statistics.
    draw = np.random.default_rng(1)
    clips = [draw.standard_normal((number, 400)) + 10 for number in (150, 170, 190)]
    generated = draw.standard_normal((9, 400))
    values = [
        FVD.pooled((clips[at], generated[3 * at : 3 * at + 3]) for at in order).value
        for order in ([0, 1, 2], [2, 0, 1])
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-9)


# --- KID --------------------------------------------------------------------------------------


def vectors(n: int, d: int = 8, *, seed: int = 0, shift: float = 0.0) -> NDArray[np.float32]:
    draw = np.random.default_rng(seed)
    return (draw.standard_normal((n, d)) + shift).astype(np.float32)


def mmd(x: ArrayLike, y: ArrayLike) -> float:
    return kid(x, y, subsets=1).value


def reference_numpy_mmd(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """Pair by pair, as the definition has it."""

    def k(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    p, q = x.astype(np.float64), y.astype(np.float64)
    within = [
        np.mean([k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j])
        for z in (p, q)
    ]
    return float(sum(within) - 2 * np.mean([k(a, b) for a in p for b in q]))


def reference_torch_fidelity_kid(
    x: NDArray[np.float32], y: NDArray[np.float32], *, subsets: int, size: int, seed: int
) -> tuple[float, float]:
    """Its draws, with the definition's MMD."""
    draw = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        a = x[draw.choice(len(x), size, replace=False)]
        b = y[draw.choice(len(y), size, replace=False)]
        values.append(reference_numpy_mmd(a, b))
    return float(np.mean(values)), float(np.std(values))


@pytest.mark.parametrize(("n", "m"), [(2, 2), (7, 7), (12, 5), (5, 12)])
def test_equals_the_definition(n: int, m: int) -> None:
    x, y = vectors(n, seed=1), vectors(m, seed=2, shift=0.5)
    assert mmd(x, y) == pytest.approx(reference_numpy_mmd(x, y), rel=1e-12)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 40])
def test_the_size_of_blocks_changes_nothing(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = vectors(11, seed=1), vectors(9, seed=2)
    expected = mmd(x, y)
    monkeypatch.setattr(module, "_BLOCK_ROWS", rows)
    assert mmd(x, y) == pytest.approx(expected, rel=1e-9)


@given(n=st.integers(2, 12), m=st.integers(2, 12), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_symmetric_and_blind_to_order(n: int, m: int, seed: int) -> None:
    x, y = vectors(n, seed=seed), vectors(m, seed=seed + 100)
    order = np.random.default_rng(seed).permutation(n)
    value = mmd(x, y)
    assert mmd(y, x) == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert mmd(x[order], y) == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_subsets_are_those_of_torch_fidelity() -> None:
    x, y = vectors(20, seed=1), vectors(15, seed=2, shift=0.3)
    found = kid(x, y, subsets=6, subset_size=10)
    mean, std = reference_torch_fidelity_kid(x, y, subsets=6, size=10, seed=2020)
    assert found.subset_mean == pytest.approx(mean, rel=1e-12)
    assert found.subset_std == pytest.approx(std, rel=1e-12)
    assert found.value == pytest.approx(reference_numpy_mmd(x, y), rel=1e-12)
    assert (found.n_real, found.n_generated) == (20, 15)
    assert kid(x, y, subsets=6, subset_size=10) == found
    assert kid(x, y, subsets=6, subset_size=10, seed=1).subset_mean != found.subset_mean


def test_fewer_frames_than_a_subset_lower_its_size() -> None:
    x, y = vectors(20, seed=1), vectors(15, seed=2)
    assert kid(x, y, subsets=2) == kid(x, y, subsets=2, subset_size=15)
    whole = kid(x[:15], y, subsets=2)
    assert whole.subset_std is None
    assert whole.subset_mean == whole.value


@pytest.mark.parametrize(
    ("real", "generated", "words"),
    [
        (np.zeros((1, 3)), np.zeros((4, 3)), r"2 or more, got \(1, 3\) and \(4, 3\)"),
        (np.zeros((4, 3)), np.zeros((4, 2)), r"got \(4, 3\) and \(4, 2\)"),
        (np.zeros((4, 3)), np.full((4, 3), np.inf), "not finite"),
    ],
)
def test_what_is_no_pair_of_sets_is_refused(
    real: NDArray[np.float64], generated: NDArray[np.float64], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        mmd(real, generated)


def test_no_subsets_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0 of 1000"):
        kid(vectors(3), vectors(3), subsets=0)


def given_clips(ids: str) -> list[tuple[str, NDArray[np.float32]]]:
    return [(clip, vectors(12, 3, seed=ord(clip))) for clip in ids]


def test_a_sample_keeps_all_while_there_is_room() -> None:
    kept = frame_sample(given_clips("ab"), limit=24)
    rows = np.concatenate([rows for _, rows in given_clips("ab")])
    assert {tuple(row) for row in kept} == {tuple(row) for row in rows}
    assert kept.shape == (24, 3)


def test_a_full_sample_depends_on_nothing_but_the_frames() -> None:
    expected = frame_sample(given_clips("abcd"), limit=10)
    assert expected.shape == (10, 3)
    np.testing.assert_array_equal(frame_sample(given_clips("dcba"), limit=10), expected)
    assert not np.array_equal(frame_sample(given_clips("abcd"), limit=10, seed=1), expected)


def test_a_full_sample_is_uniform() -> None:
    counts = np.zeros(20)
    for seed in range(300):
        kept = frame_sample([("clip", np.arange(20.0)[:, None])], limit=5, seed=seed)
        counts[kept.ravel().astype(int)] += 1
    # 75 expected of each, standard deviation 7.5.
    assert np.abs(counts - 75).max() < 5 * 7.5


def test_a_sample_of_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        frame_sample([("a", np.full((2, 3), np.nan))])
