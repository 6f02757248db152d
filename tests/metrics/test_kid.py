from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from tpbench.metrics import kid as module
from tpbench.metrics.kid import frame_sample, kid


def features(n: int, d: int = 8, *, seed: int = 0, shift: float = 0.0) -> NDArray[np.float32]:
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
    x, y = features(n, seed=1), features(m, seed=2, shift=0.5)
    assert mmd(x, y) == pytest.approx(reference_numpy_mmd(x, y), rel=1e-12)


def test_a_hand_worked_value() -> None:
    # d = 1: k(1, 3) = 4^3, k(0, 2) = 1, and 1, 3^3, 1, 7^3 across.
    found = mmd([[1.0], [3.0]], [[0.0], [2.0]])
    assert found == pytest.approx(64 + 1 - 2 * (1 + 27 + 1 + 343) / 4, rel=1e-15)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 40])
def test_the_size_of_blocks_changes_nothing(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = features(11, seed=1), features(9, seed=2)
    expected = mmd(x, y)
    monkeypatch.setattr(module, "_BLOCK_ROWS", rows)
    assert mmd(x, y) == pytest.approx(expected, rel=1e-9)


def test_without_bias_where_distributions_are_equal() -> None:
    values = [
        mmd(features(10, 4, seed=seed), features(10, 4, seed=seed + 5000)) for seed in range(400)
    ]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * error
    assert min(values) < 0


@given(n=st.integers(2, 12), m=st.integers(2, 12), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_symmetric_and_blind_to_order(n: int, m: int, seed: int) -> None:
    x, y = features(n, seed=seed), features(m, seed=seed + 100)
    order = np.random.default_rng(seed).permutation(n)
    value = mmd(x, y)
    assert mmd(y, x) == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert mmd(x[order], y) == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_subsets_are_those_of_torch_fidelity() -> None:
    x, y = features(20, seed=1), features(15, seed=2, shift=0.3)
    found = kid(x, y, subsets=6, subset_size=10)
    mean, std = reference_torch_fidelity_kid(x, y, subsets=6, size=10, seed=2020)
    assert found.subset_mean == pytest.approx(mean, rel=1e-12)
    assert found.subset_std == pytest.approx(std, rel=1e-12)
    assert found.value == pytest.approx(reference_numpy_mmd(x, y), rel=1e-12)
    assert (found.n_real, found.n_generated) == (20, 15)
    assert kid(x, y, subsets=6, subset_size=10) == found
    assert kid(x, y, subsets=6, subset_size=10, seed=1).subset_mean != found.subset_mean


def test_fewer_frames_than_a_subset_lower_its_size() -> None:
    x, y = features(20, seed=1), features(15, seed=2)
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
        kid(features(3), features(3), subsets=0)


def given_clips(ids: str) -> list[tuple[str, NDArray[np.float32]]]:
    return [(clip, features(12, 3, seed=ord(clip))) for clip in ids]


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
