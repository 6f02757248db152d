from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tpbench.metrics.curves import (
    as_curve,
    contrast,
    end_minus_start,
    finite_mean,
    theil_sen_per_100_frames,
)

NAN, INF = float("nan"), float("inf")

numbers = st.floats(-1e6, 1e6)
curves = st.lists(st.one_of(numbers, st.just(NAN), st.just(INF)), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([1.0, 2.0, 6.0], 3.0),
        ([1.0, NAN, 3.0], 2.0),
        ([1.0, INF, -INF, 3.0], 2.0),
        ([INF, INF, NAN], INF),
        ([-INF], -INF),
    ],
)
def test_a_mean_leaves_out_what_it_cannot_hold(values: list[float], mean: float) -> None:
    assert finite_mean(values) == mean


@pytest.mark.parametrize("values", [[], [NAN, NAN], [INF, -INF]])
def test_nothing_to_average_is_nan(values: list[float]) -> None:
    assert math.isnan(finite_mean(values))


def test_equal_infinities_differ_by_nothing() -> None:
    differences = contrast([INF, -INF, INF, 5.0, 3.0], [INF, -INF, 5.0, INF, 1.0])
    assert differences.tolist() == [0.0, 0.0, INF, -INF, 2.0]


def test_a_difference_with_something_unmeasured_is_unmeasured() -> None:
    assert np.isnan(contrast([NAN, 1.0, NAN], [1.0, NAN, NAN])).all()


def test_sides_of_different_length_have_no_difference() -> None:
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        contrast([1.0, 2.0], [1.0, 2.0, 3.0])


def test_pictures_are_no_curve() -> None:
    with pytest.raises(ValueError, match=r"got shape \(2, 3\)"):
        as_curve(np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("frames", "part"),
    [(1, 1), (6, 1), (13, 1), (14, 2), (20, 3), (140, 21), (260, 39), (674, 101)],
)
def test_a_part_is_15_percent_rounded_down_but_a_frame(frames: int, part: int) -> None:
    assert end_minus_start(np.arange(float(frames))) == frames - part


def test_end_minus_start_is_signed() -> None:
    falling = np.linspace(40.0, 20.0, 200)
    assert end_minus_start(falling) == pytest.approx(-(20.0 / 199) * 170)
    assert end_minus_start(falling) == pytest.approx(falling[170:].mean() - falling[:30].mean())
    assert end_minus_start(falling[::-1]) == pytest.approx(20.0 / 199 * 170)


def test_a_clip_that_equals_the_real_one_only_at_first_falls_without_end() -> None:
    curve = np.concatenate([np.full(40, INF), np.full(60, 30.0)])
    assert end_minus_start(curve) == -INF


@given(curves)
def test_a_curve_backwards_ends_where_it_started(values: list[float]) -> None:
    forth, back = end_minus_start(values), end_minus_start(values[::-1])
    assert forth == pytest.approx(-back, nan_ok=True)


def test_no_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="0 frames"):
        end_minus_start([])


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
