from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.metrics.failure import Side, lasting, time_to_failure

NAN, INF = float("nan"), float("inf")

curves = st.lists(st.one_of(st.integers(0, 4).map(float), st.just(NAN), st.just(INF)), max_size=24)
holds = st.one_of(st.none(), st.integers(1, 6))


def reference_plain_time_to_failure(
    curve: list[float], level: float, hold_frames: int | None
) -> int | None:
    """Below the level, tried frame by frame."""
    for start, value in enumerate(curve):
        if np.isnan(value):
            continue
        rest = [later for later in curve[start:] if not np.isnan(later)]
        if hold_frames is not None:
            if len(rest) < hold_frames:
                continue
            rest = rest[:hold_frames]
        if all(later < level for later in rest):
            return start
    return None


@given(curves, st.sampled_from([0.0, 1.0, 2.0, 2.5, 9.0]), holds)
def test_equals_trying_every_frame(curve: list[float], level: float, hold: int | None) -> None:
    expected = reference_plain_time_to_failure(curve, level, hold)

    assert time_to_failure(curve, level, failing="below", hold_frames=hold) == expected


@given(curves, holds)
def test_above_mirrors_below(curve: list[float], hold: int | None) -> None:
    mirrored = [-value for value in curve]

    above = time_to_failure(mirrored, -2.0, failing="above", hold_frames=hold)

    assert above == time_to_failure(curve, 2.0, failing="below", hold_frames=hold)


@given(curves)
def test_failing_for_good_means_every_later_frame_fails_and_the_one_before_does_not(
    curve: list[float],
) -> None:
    start = time_to_failure(curve, 2.0, failing="below")
    if start is not None:
        measured = [k for k, value in enumerate(curve) if not np.isnan(value)]
        assert start in measured
        assert all(curve[k] < 2.0 for k in measured if k >= start)
        assert all(curve[k] >= 2.0 for k in measured[: measured.index(start)][-1:])


@given(curves, st.integers(1, 6))
def test_a_longer_hold_or_a_lower_level_never_comes_earlier(curve: list[float], hold: int) -> None:
    def when(level: float, frames: int) -> float:
        found = time_to_failure(curve, level, failing="below", hold_frames=frames)
        return INF if found is None else found

    assert when(3.0, hold) <= when(3.0, hold + 1)
    assert when(3.0, hold) <= when(2.0, hold)


def test_a_clip_that_recovers_did_not_fail_for_good() -> None:
    curve = [30.0] * 5 + [10.0] * 8 + [30.0]

    assert time_to_failure(curve, 20.0, failing="below") is None
    assert time_to_failure(curve, 20.0, failing="below", hold_frames=8) == 5
    assert time_to_failure(curve, 20.0, failing="below", hold_frames=9) is None


def test_a_dip_before_the_end_is_not_the_start_of_it() -> None:
    curve = [30.0, 10.0, 30.0, 10.0, 10.0]

    assert time_to_failure(curve, 20.0, failing="below") == 3


def test_a_value_at_the_level_passes() -> None:
    assert time_to_failure([20.0, 20.0], 20.0, failing="below") is None
    assert time_to_failure([20.0, 20.0], 20.0, failing="above") is None


def test_identical_frames_never_fail_in_psnr() -> None:
    assert time_to_failure([INF] * 9, 99.0, failing="below") is None


def test_unmeasured_frames_neither_end_a_failure_nor_start_one() -> None:
    curve = [30.0, NAN, 10.0, NAN, 10.0, NAN]

    assert time_to_failure(curve, 20.0, failing="below") == 2
    assert time_to_failure(curve, 20.0, failing="below", hold_frames=2) == 2
    assert time_to_failure(curve, 20.0, failing="below", hold_frames=3) is None


@pytest.mark.parametrize("curve", [[], [NAN, NAN]])
def test_nothing_measured_never_fails(curve: list[float]) -> None:
    assert time_to_failure(curve, 1.0, failing="below") is None


def lasts(curve: list[float], *, hold: int = 3, vote: int = 1) -> tuple[int, bool] | None:
    found = lasting(curve, 2.0, failing="below", hold_frames=hold, vote_frames=vote)
    return None if found is None else (found.frames, found.failed)


@given(curves, st.integers(1, 6))
def test_without_a_vote_a_failure_that_holds_is_the_first_run(
    curve: list[float], hold: int
) -> None:
    when = time_to_failure(curve, 2.0, failing="below", hold_frames=hold)

    found = lasts(curve, hold=hold)
    if when is not None:
        assert found == (when, True)
    elif found is not None:
        assert not found[1]
        for_good = time_to_failure(curve, 2.0, failing="below")
        assert found[0] == (len(curve) if for_good is None else for_good)


@given(curves, st.integers(1, 6), st.sampled_from([1, 3, 5]))
def test_a_vote_is_the_median_of_the_frames_around(
    curve: list[float], hold: int, vote: int
) -> None:
    measured = [value for value in curve if not np.isnan(value)]
    half = vote // 2
    # Of an even number of voters at an end, more than half must fail: the upper of both middles.
    smooth = [
        sorted(measured[max(0, at - half) : at + half + 1])[
            (min(len(measured), at + half + 1) - max(0, at - half)) // 2
        ]
        for at in range(len(measured))
    ]

    assert lasts(measured, hold=hold, vote=vote) == lasts(smooth, hold=hold, vote=1)


def test_a_clip_that_ends_in_a_short_run_of_misses_is_known_to_have_lasted_until_then() -> None:
    assert lasts([9.0] * 6 + [0.0] * 2) == (6, False)
    assert lasts([9.0] * 6 + [0.0] * 3) == (6, True)
    assert lasts([9.0] * 8) == (8, False)
    assert lasts([9.0, 0.0, NAN, 0.0, NAN, 0.0, 9.0]) == (1, True)
    assert lasts([NAN, NAN]) is None


def test_an_even_vote_is_refused() -> None:
    for vote in (0, 2, -1):
        with pytest.raises(ValueError, match="an odd number of frames votes"):
            lasts([9.0], vote=vote)


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="'under'"):
        time_to_failure([1.0], 1.0, failing=cast("Side", "under"))
    with pytest.raises(ValueError, match="got inf"):
        time_to_failure([1.0], INF, failing="below")
    with pytest.raises(ValueError, match="got 0"):
        time_to_failure([1.0], 1.0, failing="below", hold_frames=0)
