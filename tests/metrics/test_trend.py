from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tpbench.metrics.curves import theil_sen_per_100_frames

NAN, INF = float("nan"), float("inf")
Curve = NDArray[np.float64]

values_of_frames = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40)


def reference_scipy_theil_sen(curve: Curve) -> float:
    frames = np.flatnonzero(np.isfinite(curve))
    return 100 * float(stats.theilslopes(curve[frames], frames).slope)


def autoregression(rng: np.random.Generator, frames: int, rho: float) -> Curve:
    """First-order, unit innovations, run in until it has forgotten its start."""
    noise = rng.normal(size=frames + 200)
    values = np.zeros(noise.size)
    for t in range(1, noise.size):
        values[t] = rho * values[t - 1] + noise[t]
    return values[200:]


@pytest.mark.parametrize("frames", [2, 3, 17, 101, 707])
def test_slope_equals_scipy(frames: int) -> None:
    rng = np.random.default_rng(frames)
    curve = 30 - 0.02 * np.arange(frames) + rng.normal(size=frames)

    assert theil_sen_per_100_frames(curve) == pytest.approx(
        reference_scipy_theil_sen(curve), abs=1e-9
    )


def test_slope_equals_scipy_where_frames_are_missing() -> None:
    rng = np.random.default_rng(4)
    curve = 0.5 * np.arange(150.0) + rng.normal(size=150)
    curve[[3, 4, 5, 80]] = NAN
    curve[[20, 149]] = INF

    assert theil_sen_per_100_frames(curve) == pytest.approx(
        reference_scipy_theil_sen(curve), abs=1e-9
    )


def test_a_hand_worked_median_of_slopes() -> None:
    # Pairs: 1/1, 2/2, 9/3, 1/1, 8/2, 7/1: median of 1, 1, 1, 3, 4, 7.
    assert theil_sen_per_100_frames([0.0, 1.0, 2.0, 9.0]) == pytest.approx(200.0)


def test_a_longer_curve_is_thinned_and_stays_close_to_all_pairs() -> None:
    rng = np.random.default_rng(5)
    curve = -0.01 * np.arange(1500.0) + autoregression(rng, 1500, 0.8)

    found = theil_sen_per_100_frames(curve)

    assert found == theil_sen_per_100_frames(curve)
    assert found != reference_scipy_theil_sen(curve)
    assert found == pytest.approx(reference_scipy_theil_sen(curve), abs=0.02)


def test_a_quarter_of_wild_frames_moves_the_slope_little() -> None:
    curve = 0.1 * np.arange(200.0) + np.random.default_rng(6).normal(scale=0.1, size=200)
    wild = curve.copy()
    wild[::4] = -1000.0

    assert theil_sen_per_100_frames(wild) == pytest.approx(10.0, abs=0.5)


@given(values_of_frames, st.floats(-10, 10), st.floats(-100, 100), st.floats(0.1, 10))
def test_slope_follows_an_added_trend_and_a_scale(
    values: list[float], added: float, offset: float, scale: float
) -> None:
    curve = np.array(values)
    moved = scale * curve + added * np.arange(curve.size) + offset

    expected = scale * theil_sen_per_100_frames(curve) + 100 * added
    assert theil_sen_per_100_frames(moved) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(values_of_frames)
def test_a_curve_backwards_has_the_opposite_slope(values: list[float]) -> None:
    back = theil_sen_per_100_frames(values[::-1])

    assert theil_sen_per_100_frames(values) == pytest.approx(-back, abs=1e-9)


@pytest.mark.parametrize("same", [0.0, 1.0, 35.0, INF, -INF])
def test_a_constant_curve_has_slope_0(same: float) -> None:
    assert theil_sen_per_100_frames([same] * 120) == 0.0
    assert theil_sen_per_100_frames([NAN, *[same] * 120]) == 0.0


@pytest.mark.parametrize("values", [[], [1.0], [INF], [NAN, 1.0, INF], [INF, -INF], [NAN] * 50])
def test_fewer_than_two_comparable_frames_have_no_slope(values: list[float]) -> None:
    assert math.isnan(theil_sen_per_100_frames(values))
