from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.metrics.drift import lasting

NAN, INF = float("nan"), float("inf")

curves = st.lists(st.one_of(st.integers(0, 4).map(float), st.just(NAN), st.just(INF)), max_size=24)


def reference_plain_failure(
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


def lasts(curve: list[float], *, hold: int = 3, vote: int = 1) -> tuple[int, bool] | None:
    found = lasting(curve, 2.0, hold_frames=hold, vote_frames=vote)
    return None if found is None else (found.frames, found.failed)


@given(curves, st.integers(1, 6))
def test_without_a_vote_a_failure_that_holds_is_the_first_run(
    curve: list[float], hold: int
) -> None:
    when = reference_plain_failure(curve, 2.0, hold)

    found = lasts(curve, hold=hold)
    if when is not None:
        assert found == (when, True)
    elif found is not None:
        assert not found[1]
        for_good = reference_plain_failure(curve, 2.0, None)
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


def test_a_longer_hold_never_fails_earlier_and_a_value_at_the_level_passes() -> None:
    curve = [30.0] * 5 + [1.0] * 8 + [30.0]

    assert lasts(curve, hold=8) == (5, True)
    assert lasts(curve, hold=9) == (14, False)
    assert lasts([2.0] * 9) == (9, False)
    assert lasts([INF] * 9) == (9, False)


@pytest.mark.parametrize(("level", "hold"), [(INF, 3), (1.0, 0)])
def test_arguments_out_of_range_are_refused(level: float, hold: int) -> None:
    with pytest.raises(ValueError, match=f"got {level} and {hold}"):
        lasting([1.0], level, hold_frames=hold, vote_frames=1)
