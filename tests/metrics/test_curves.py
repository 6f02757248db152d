from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.metrics.curves import (
    as_curve,
    contrast,
    finite_mean,
    on_frames,
    start_and_end,
    window_means,
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


def test_lag_curves_of_one_clip_have_no_contrast_and_a_frozen_clip_is_too_alike() -> None:
    real = np.array([0.99, 0.97, 0.95, 0.9, 0.85, NAN])
    frozen = np.ones(6)

    assert np.nan_to_num(contrast(real, real)).tolist() == [0.0] * 6
    assert (contrast(frozen, real)[:5] > 0).all()


def test_sides_of_different_length_have_no_difference() -> None:
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        contrast([1.0, 2.0], [1.0, 2.0, 3.0])


def test_pictures_are_no_curve() -> None:
    with pytest.raises(ValueError, match=r"got shape \(2, 3\)"):
        as_curve(np.zeros((2, 3)))


def test_terms_between_frames_belong_to_the_later_one() -> None:
    curve = on_frames([7.0, 8.0], 2)

    assert np.isnan(curve[:2]).all()
    assert curve[2:].tolist() == [7.0, 8.0]
    with pytest.raises(ValueError, match="got -1"):
        on_frames([1.0], -1)


def test_windows_lie_side_by_side_and_the_rest_is_left_out() -> None:
    means = window_means([1.0, 3.0, 5.0, 7.0, 100.0], window_frames=2)

    assert means.tolist() == [2.0, 6.0]


def test_windows_of_tje_cover_the_frames_of_other_windows() -> None:
    frames = np.arange(48, dtype=np.float64)
    delta = 5
    terms = frames[delta:]

    assert window_means(on_frames(terms, delta))[1:].tolist() == window_means(frames)[1:].tolist()
    assert window_means(on_frames(terms, delta))[0] == np.arange(5, 16).mean()


def test_a_window_with_nothing_measured_is_nan() -> None:
    means = window_means([NAN, NAN, 1.0, NAN, INF, INF], window_frames=2)

    assert math.isnan(means[0])
    assert means[1:].tolist() == [1.0, INF]


def test_a_window_has_a_frame() -> None:
    with pytest.raises(ValueError, match="got 0"):
        window_means([1.0], window_frames=0)


@given(st.lists(numbers, min_size=1, max_size=60), st.integers(1, 12))
def test_full_windows_average_to_the_mean_of_their_frames(values: list[float], size: int) -> None:
    means = window_means(values, window_frames=size)

    covered = values[: len(means) * size]
    assert len(covered) > len(values) - size
    if covered:
        assert means.mean() == pytest.approx(np.mean(covered), abs=1e-6)


@pytest.mark.parametrize(
    ("frames", "part"),
    [(1, 1), (6, 1), (13, 1), (14, 2), (20, 3), (140, 21), (260, 39), (674, 101)],
)
def test_a_part_is_15_percent_rounded_down_but_a_frame(frames: int, part: int) -> None:
    found = start_and_end(np.arange(float(frames)))

    assert found.start_mean == (part - 1) / 2
    assert found.end_mean == frames - 1 - (part - 1) / 2


def test_end_minus_start_is_signed() -> None:
    falling = np.linspace(40.0, 20.0, 200)
    found = start_and_end(falling)

    assert found.start_mean == pytest.approx(falling[:30].mean())
    assert found.end_mean == pytest.approx(falling[170:].mean())
    assert found.end_minus_start == pytest.approx(-(20.0 / 199) * 170)
    assert start_and_end(falling[::-1]).end_minus_start == pytest.approx(20.0 / 199 * 170)


def test_a_clip_that_equals_the_real_one_only_at_first_falls_without_end() -> None:
    curve = np.concatenate([np.full(40, INF), np.full(60, 30.0)])

    assert start_and_end(curve).end_minus_start == -INF


@given(curves)
def test_a_curve_backwards_ends_where_it_started(values: list[float]) -> None:
    forth, back = start_and_end(values), start_and_end(values[::-1])

    assert forth.start_mean == pytest.approx(back.end_mean, nan_ok=True)
    assert forth.end_minus_start == pytest.approx(-back.end_minus_start, nan_ok=True)


def test_no_frame_and_a_share_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="0 frames"):
        start_and_end([])
    for share in (0.0, 0.6, NAN):
        with pytest.raises(ValueError, match="the share of a clip"):
            start_and_end([1.0], end_share=share)
