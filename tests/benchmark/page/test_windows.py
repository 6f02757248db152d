from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.benchmark.page.curves import (
    finite_means,
    mean_of_curves,
    packed,
    window_frames,
    window_values,
)

NAN, INF = math.nan, math.inf
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def values(
    *columns: list[float], first_frame: int, window: int, ratio: bool = False
) -> list[float]:
    found = window_values(
        [np.array(column) for column in columns],
        first_frame=first_frame,
        window=window,
        reduction="ratio" if ratio else "mean",
    )
    return [float(value) for value in found]


def test_windows_count_from_frame_0_though_it_was_not_scored() -> None:
    # frames 1, 2 | 3, 4, 5 with windows 0-2 and 3-5
    assert values([1.0, 3.0, 4.0, 5.0, 9.0], first_frame=1, window=3) == [2.0, 6.0]


def test_the_last_window_may_be_shorter() -> None:
    assert values([1.0, 3.0, 5.0], first_frame=0, window=2) == [2.0, 5.0]


def test_what_was_not_measured_is_left_out_and_an_empty_window_is_nan() -> None:
    found = values([NAN, 4.0, NAN, NAN], first_frame=0, window=2)
    assert found[0] == 4.0
    assert math.isnan(found[1])


def test_infinity_gives_way_to_a_finite_value_and_else_stays() -> None:
    assert values([INF, 40.0, INF, INF], first_frame=0, window=2) == [40.0, INF]


def test_several_columns_are_averaged_together() -> None:
    assert values([1.0, 2.0], [3.0, NAN], first_frame=0, window=1) == [2.0, 2.0]


def test_a_ratio_is_one_of_sums_and_not_a_mean_of_ratios() -> None:
    assert values([1.0, 9.0], [1.0, 3.0], first_frame=0, window=2, ratio=True) == [2.5]


def test_a_ratio_takes_frames_where_both_are_measured() -> None:
    assert values([1.0, 9.0], [2.0, NAN], first_frame=0, window=2, ratio=True) == [0.5]


def test_a_ratio_over_nothing_is_nan() -> None:
    assert math.isnan(values([1.0], [0.0], first_frame=0, window=1, ratio=True)[0])


def test_a_mean_of_curves_is_over_those_that_go_so_far() -> None:
    assert mean_of_curves([np.array([1.0, 2.0]), np.array([3.0])]).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("n_frames", [1, 99, 100, 101, 730, 12_345])
def test_no_curve_has_more_points_than_asked_for(n_frames: int) -> None:
    window = window_frames(n_frames, points=100)
    assert math.ceil(n_frames / window) <= 100
    assert window == 1 or math.ceil(n_frames / (window - 1)) > 100


@given(st.lists(st.floats(-1e6, 1e6) | st.sampled_from([NAN, INF]), min_size=1, max_size=40))
def test_a_packed_curve_reads_back_to_a_four_thousandth_of_its_scale(curve: list[float]) -> None:
    finite = [value for value in curve if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)

    text = packed(np.array(curve), low, high)

    assert len(text) == 2 * len(curve)
    for i, value in enumerate(curve):
        code = ALPHABET.index(text[2 * i]) * 64 + ALPHABET.index(text[2 * i + 1])
        if math.isnan(value):
            assert code == 4095
        elif math.isinf(value):
            assert code == 4094
        else:
            assert low + code / 4093 * (high - low) == pytest.approx(
                value, abs=(high - low) / 4093 + 1e-9
            )


def test_a_row_without_a_value_has_no_mean() -> None:
    assert math.isnan(finite_means(np.array([[NAN, NAN]]))[0])
