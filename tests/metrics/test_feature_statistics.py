from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpbench.metrics.frechet import (
    FeatureAccumulator,
    FeatureStatistics,
    feature_statistics,
    merge_statistics,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    assert a.n == b.n == whole.n == n
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
    assert one.n == 103


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
