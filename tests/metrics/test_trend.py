from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tpbench.metrics import trend
from tpbench.metrics.trend import slope_with_interval, theil_sen_per_100_frames

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


def test_an_interval_holds_its_slope_and_comes_out_the_same_again() -> None:
    rng = np.random.default_rng(7)
    curve = 0.05 * np.arange(300.0) + autoregression(rng, 300, 0.5)
    found = slope_with_interval(curve)

    assert found == slope_with_interval(curve)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.per_100_frames < found.high
    assert found.low < 5.0 < found.high
    assert found.per_100_frames == theil_sen_per_100_frames(curve)
    assert slope_with_interval(curve, seed=1).low != found.low


def test_the_work_in_batches_changes_no_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = autoregression(np.random.default_rng(8), 130, 0.5)
    at_once = slope_with_interval(curve, n_resamples=70)

    monkeypatch.setattr(trend, "BATCH_VALUES", 1)

    assert slope_with_interval(curve, n_resamples=70) == at_once


@pytest.mark.parametrize(
    ("frames", "rho", "lowest", "highest"), [(150, 0.0, 0.90, 0.99), (400, 0.85, 0.87, 0.99)]
)
def test_nominal_95_percent_holds_the_true_slope(
    frames: int, rho: float, lowest: float, highest: float
) -> None:
    rng = np.random.default_rng(9)
    held = 0
    for trial in range(200):
        curve = 0.01 * np.arange(frames) + autoregression(rng, frames, rho)
        found = slope_with_interval(curve, n_resamples=200, seed=trial)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1.0 <= found.high

    assert lowest <= held / 200 <= highest


def test_blocks_grow_with_the_likeness_of_neighbours() -> None:
    rng = np.random.default_rng(10)
    lengths = [
        slope_with_interval(autoregression(rng, 600, rho), n_resamples=10).block_frames
        for rho in (0.0, 0.9, 0.99)
    ]

    assert lengths[0] == 16
    assert lengths == sorted(lengths, key=lambda frames: frames or 0)
    assert lengths[2] is not None
    assert 16 < lengths[2] <= 150


def test_likeness_of_neighbours_widens_the_interval() -> None:
    rng = np.random.default_rng(11)
    steady = autoregression(rng, 400, 0.0)
    swaying = autoregression(rng, 400, 0.9)
    swaying *= steady.std() / swaying.std()

    widths = []
    for curve in (steady, swaying):
        found = slope_with_interval(curve, n_resamples=300)
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert widths[1] > 2 * widths[0]


def test_a_line_without_noise_is_certain() -> None:
    found = slope_with_interval(np.arange(200.0) / 8)

    assert found.per_100_frames == 12.5
    assert (found.low, found.high) == (12.5, 12.5)


@given(st.integers(64, 130), st.floats(0.5, 0.99))
def test_a_higher_level_makes_a_wider_interval(frames: int, level: float) -> None:
    curve = np.sin(np.arange(float(frames)) ** 2)
    inner = slope_with_interval(curve, n_resamples=60, level=level - 0.2)
    outer = slope_with_interval(curve, n_resamples=60, level=level)

    assert inner.low is not None
    assert inner.high is not None
    assert outer.low is not None
    assert outer.high is not None
    assert outer.low <= inner.low <= inner.high <= outer.high


def test_too_few_frames_for_blocks_say_so() -> None:
    curve = np.full(150, NAN)
    curve[:63] = np.arange(63)
    found = slope_with_interval(curve)

    assert found.per_100_frames == 100.0
    assert (found.low, found.high, found.block_frames) == (None, None, None)
    assert found.reason == "63 frames with a finite value: an interval needs at least 64"
    curve[63] = 63
    assert slope_with_interval(curve).reason is None


@pytest.mark.parametrize(
    ("level", "resamples", "block"),
    [(0.0, 10, 16), (1.0, 10, 16), (NAN, 10, 16), (0.9, 0, 16), (0.9, 10, 0)],
)
def test_arguments_out_of_range_are_refused(level: float, resamples: int, block: int) -> None:
    with pytest.raises(ValueError, match="got"):
        slope_with_interval(
            np.arange(120.0), level=level, n_resamples=resamples, min_block_frames=block
        )
