from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.metrics.temporal import Lasting, kaplan_meier, lasting, restricted_lasting

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


def clips(*frames: int, ended: tuple[int, ...] = ()) -> list[Lasting]:
    """Clips that failed after so many frames, and those that ended before they did."""
    return [
        *(Lasting(frames=n, failed=True) for n in frames),
        *(Lasting(frames=n, failed=False) for n in ended),
    ]


LEUKAEMIA = clips(
    *(6, 6, 6, 7, 10, 13, 16, 22, 23),
    ended=(6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35),
)
"""Weeks of remission of the 21 treated patients of Freireich et al. 1963, the textbook example."""


def reference_plain_survival(lastings: list[Lasting], frames: int) -> float:
    """The product over failure times, one frame after another."""
    share = 1.0
    for t in range(frames + 1):
        at_risk = sum(one.frames >= t for one in lastings)
        failing = sum(one.failed and one.frames == t for one in lastings)
        if failing:
            share *= 1 - failing / at_risk
    return share


some_clips = st.lists(
    st.builds(Lasting, frames=st.integers(0, 30), failed=st.booleans()), min_size=1, max_size=12
)


def test_the_textbook_example_comes_out_as_in_the_textbook() -> None:
    found = kaplan_meier(LEUKAEMIA)
    assert found.frames.tolist() == [6, 7, 10, 13, 16, 22, 23]
    published = [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    assert found.surviving == pytest.approx(published, abs=0.0005)
    assert found.followed == 35


def test_a_restricted_mean_is_the_area_worked_by_hand() -> None:
    # Ten clips: 2 fail after 20 frames, 1 ends at 50, 3 fail after 60, 4 are good at 100.
    lastings = clips(20, 20, 60, 60, 60, ended=(50, 100, 100, 100, 100))
    found = restricted_lasting(lastings, None, 100)
    # 20 at 1, 40 at 0.8, 40 at 0.8 * 4 / 7
    assert found.frames == pytest.approx(20 + 32 + 40 * 0.8 * 4 / 7)
    assert (found.n_failed, found.n_censored) == (5, 1)
    assert restricted_lasting(lastings, None, 20).frames == 20
    assert restricted_lasting(lastings, None, 30).frames == pytest.approx(20 + 8)


@given(some_clips)
def test_the_curve_equals_the_plain_product(lastings: list[Lasting]) -> None:
    found = kaplan_meier(lastings)
    steps = dict(zip(found.frames.tolist(), found.surviving.tolist(), strict=True))
    for frames, share in steps.items():
        assert share == pytest.approx(reference_plain_survival(lastings, frames))
    area = sum(reference_plain_survival(lastings, t) for t in range(20))
    assert found.restricted_mean(20) == pytest.approx(area)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(1, 25))
def test_without_censoring_it_is_the_mean_of_what_lies_within_the_horizon(
    frames: list[int], horizon: int
) -> None:
    found = restricted_lasting(clips(*frames), None, horizon)
    assert found.frames == pytest.approx(np.mean(np.minimum(frames, horizon)))


def test_nothing_is_said_about_frames_that_no_clip_reached() -> None:
    ended = clips(40, ended=(150, 180))
    assert not math.isnan(restricted_lasting(ended, None, 100).frames)
    beyond = restricted_lasting(ended, None, 200)
    assert math.isnan(beyond.frames)
    assert beyond.reason == (
        "no clip is followed for 200 frames, the longest for 180: the mean up to there is not known"
    )
    assert beyond.interval.reason == beyond.reason
    assert restricted_lasting(clips(40, 90), None, 200).frames == 65
    assert restricted_lasting([], None, 100).reason == "no clip has a value"
    with pytest.raises(ValueError, match="1 frame or later"):
        restricted_lasting(ended, None, 0)


def test_below_five_identities_there_is_no_interval_but_a_reason() -> None:
    found = restricted_lasting(clips(40, 90, 70, 20), list("abcd"), 100)
    assert (found.interval.low, found.interval.high) == (None, None)
    assert found.interval.reason == "4 identities: an interval needs at least 5"


def test_an_interval_holds_its_value_and_stays_within_the_horizon() -> None:
    draw = np.random.default_rng(3)
    lastings = [
        Lasting(frames=int(min(true, end)), failed=bool(true < end))
        for true, end in zip(draw.exponential(120, 40), draw.integers(60, 250, 40), strict=True)
    ]
    people = [f"person {at % 10}" for at in range(40)]
    found = restricted_lasting(lastings, people, 200)
    assert found.n_censored > 5
    assert found.interval.low is not None
    assert found.interval.high is not None
    assert 0 <= found.interval.low < found.frames < found.interval.high <= 200
    assert restricted_lasting(lastings[::-1], people[::-1], 200).interval == found.interval


@pytest.mark.slow
@pytest.mark.parametrize("n_people", [8, 20, 50])
def test_nine_in_ten_intervals_at_least_hold_the_truth_for_censored_clips(n_people: int) -> None:
    """People differ, clips of one person are alike, and two in five end before they fail."""
    draw = np.random.default_rng(n_people)

    def set_of(n: int) -> tuple[list[Lasting], list[str]]:
        lastings, people = [], []
        for person in range(n):
            scale = 120 * draw.lognormal(0, 0.4)
            for _ in range(draw.integers(1, 6)):
                true, end = draw.exponential(scale), int(draw.integers(60, 500))
                lastings.append(Lasting(frames=min(int(true), end), failed=bool(true < end)))
                people.append(str(person))
        return lastings, people

    # Everybody has as many clips as anybody: the truth is that of a very large set.
    truth = kaplan_meier(set_of(20_000)[0]).restricted_mean(200)
    held, n_sets = 0, 0
    for _ in range(300):
        interval = restricted_lasting(*set_of(n_people), 200).interval
        if interval.low is None or interval.high is None:
            continue  # nobody was followed so far
        n_sets += 1
        held += interval.low <= truth <= interval.high
    assert n_sets > 250
    assert held / n_sets >= 0.9
