from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.metrics.curves import as_curve, contrast, end_minus_start, finite_mean

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
