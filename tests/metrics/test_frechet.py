from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from tpbench.metrics.frechet import feature_statistics, frechet_distance, sample_warning

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


def test_equal_covariances_leave_the_gap_of_the_means() -> None:
    a = correlated(50, 6, 1)
    gap = np.arange(6.0)

    assert distance(a, a + gap) == pytest.approx(55.0, rel=1e-12)


def test_a_hand_worked_pair_of_samples() -> None:
    # Means 1 and 5, variances (n - 1) 2 and 8: 16 + 2 + 8 - 2 * 4.
    assert distance(np.array([[0.0], [2.0]]), np.array([[3.0], [7.0]])) == pytest.approx(18.0)


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


def test_few_samples_are_said_to_be_few() -> None:
    assert sample_warning(10, 10, enough=10, what="frames") is None
    warning = sample_warning(500, 9, enough=10, what="frames")
    assert warning is not None
    assert warning.startswith("9 generated and 500 real frames, fewer than 10: ")
