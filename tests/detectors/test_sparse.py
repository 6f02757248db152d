from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.detectors.sparse import Points, SparseTracker, gap_share, paired, partner, step_frames
from tpbench.video import Frame

SHAPE = np.array([[0.0, 0.0, 1.0], [40.0, 0.0, 1.0], [40.0, 60.0, 1.0], [0.0, 60.0, 1.0]])
TOLERANCE_PX = 1.0


def at(x: float, y: float = 0.0) -> Points:
    moved: Points = SHAPE + np.array([x, y, 0.0])
    return moved


class Drawn:
    """Finds what a script of frames holds; sees only what is near its guesses, as networks do."""

    def __init__(self, reach_px: float = 30.0) -> None:
        self.reach_px = reach_px
        self.searched: list[int] = []

    def anchor(self, item: tuple[int, list[Points]], last: Sequence[Points]) -> list[Points]:
        self.searched.append(item[0])
        return list(item[1])

    def near(self, item: tuple[int, list[Points]], guesses: Sequence[Points]) -> list[Points]:
        self.searched.append(item[0])
        return [
            thing
            for thing in item[1]
            if any(np.hypot(*(thing - guess)[0, :2]) <= self.reach_px for guess in guesses)
        ]

    def tolerance_px(self, points: Points) -> np.ndarray:
        return np.full(len(points), TOLERANCE_PX)


def tracked(
    frames: list[list[Points]], *, step: int = 4, part: int = 16
) -> tuple[list[list[Points]], Drawn]:
    finder = Drawn()
    tracker = SparseTracker(finder)
    items = list(enumerate(frames))
    found = []
    for start in range(0, len(items), part):
        found += tracker.push(items[start : start + part], step=step)
    assert tracker.num_searched == len(finder.searched) == len(set(finder.searched))
    return found, finder


def worst_px(found: list[list[Points]], frames: list[list[Points]]) -> float:
    assert [len(things) for things in found] == [len(things) for things in frames]
    return max(
        float(np.abs(one - other)[:, :2].max())
        for things, truths in zip(found, frames, strict=True)
        for one, other in paired(things, truths)
        if one is not None and other is not None
    )


def test_what_moves_at_one_pace_is_searched_in_anchors_and_one_more_frame_a_part() -> None:
    frames = [[at(3.0 * number, -2.0 * number)] for number in range(48)]
    found, finder = tracked(frames)
    anchors = [0, 4, 8, 12, 15, 19, 23, 27, 31, 35, 39, 43, 47]
    assert sorted(finder.searched) == sorted([*anchors, 1, 16, 32])
    assert worst_px(found, frames) < 1e-9


def test_a_part_of_one_frame_is_always_searched() -> None:
    frames = [[at(3.0 * number)] for number in range(9)]
    _, finder = tracked(frames, part=1)
    assert finder.searched == list(range(9))


def test_a_step_of_one_frame_searches_every_frame() -> None:
    frames = [[at(3.0 * number)] for number in range(20)]
    _, finder = tracked(frames, step=1)
    assert finder.searched == list(range(20))


def test_a_sudden_stop_is_searched_closely() -> None:
    frames = [[at(12.0 * min(number, 18))] for number in range(32)]
    found, finder = tracked(frames)
    assert {17, 18, 19} & set(finder.searched)
    assert worst_px(found, frames) <= 2 * TOLERANCE_PX
    assert len(finder.searched) < 16


def test_what_swings_is_followed_on_a_curve() -> None:
    frames = [[at(60 * np.sin(number / 4))] for number in range(64)]
    found, _ = tracked(frames)
    assert worst_px(found, frames) <= 2 * TOLERANCE_PX


@pytest.mark.parametrize("last", [17, 18, 19, 20, 21])
def test_what_vanishes_is_seen_until_it_does(last: int) -> None:
    frames = [[at(2.0 * number)] if number <= last else [] for number in range(40)]
    found, _ = tracked(frames)
    assert [len(things) for things in found] == [len(things) for things in frames]


@pytest.mark.parametrize("first", [17, 18, 19, 20, 21])
def test_what_appears_is_seen_from_the_start(first: int) -> None:
    frames = [[at(2.0 * number)] if number >= first else [] for number in range(40)]
    found, _ = tracked(frames)
    assert [len(things) for things in found] == [len(things) for things in frames]


def test_one_of_two_that_rests_is_not_searched_with_the_other() -> None:
    class Counting(Drawn):
        guesses = 0

        def near(self, item: tuple[int, list[Points]], guesses: Sequence[Points]) -> list[Points]:
            self.guesses += len(guesses)
            return super().near(item, guesses)

    finder = Counting()
    frames = [[at(500.0), at(12.0 * abs(number % 16 - 8))] for number in range(32)]
    tracker = SparseTracker(finder)
    found = [
        things
        for start in (0, 16)
        for things in tracker.push(list(enumerate(frames))[start : start + 16], step=4)
    ]
    between = len(finder.searched) - len({0, 4, 8, 12, 15, 19, 23, 27, 31})
    checked = 2
    assert checked < between == finder.guesses - checked
    assert worst_px(found, frames) <= 2 * TOLERANCE_PX


def test_what_trembles_is_searched_in_every_frame_and_then_less_again() -> None:
    draw = np.random.default_rng(0)
    frames = [[at(*(draw.choice([-3.0, 3.0], 2) if n < 64 else (0.0, 0.0)))] for n in range(128)]
    _, finder = tracked(frames)
    searched = np.bincount(finder.searched, minlength=128)
    assert searched[16:64].mean() > 0.85
    assert searched[96:].mean() < 0.4


def test_a_jump_is_no_movement() -> None:
    frames = [[at(0.0 if number < 18 else 900.0)] for number in range(32)]
    found, _ = tracked(frames)
    assert worst_px(found, frames) < 1e-9


def test_after_a_reset_nothing_is_known() -> None:
    finder = Drawn()
    tracker = SparseTracker(finder)
    tracker.push([(number, [at(9.0 * number)]) for number in range(16)], step=4)
    tracker.reset()
    found = tracker.push([(number, [at(400.0)]) for number in range(16)], step=4)
    assert all(things[0][0, 0] == 400 for things in found)
    assert finder.searched[-6:] == [0, 4, 8, 12, 15, 1]


@given(
    st.lists(st.floats(-25, 25), min_size=2, max_size=60),
    st.integers(1, 16),
    st.sampled_from([1, 2, 4, 8]),
)
def test_every_frame_is_answered_and_what_was_searched_is_as_found(
    moves: list[float], part: int, step: int
) -> None:
    frames = [[at(x)] for x in np.cumsum(moves)]
    found, finder = tracked(frames, step=step, part=part)
    assert len(found) == len(frames)
    for number in finder.searched:
        for thing in found[number]:
            assert np.array_equal(thing, frames[number][0])
    gaps = [b - a for a, b in pairwise(sorted(finder.searched))]
    assert max(gaps, default=1) <= step


@pytest.mark.parametrize(
    ("fps", "step"), [(8, 1), (12, 2), (15, 2), (23, 4), (25, 4), (30, 4), (50, 8), (60, 8)]
)
def test_anchors_are_about_as_far_apart_in_time_at_every_rate(fps: int, step: int) -> None:
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    frames = [Frame(image=image, index=i, time_s=i / fps) for i in range(3)]
    assert step_frames(frames, every_frame=False) == step
    assert step_frames(frames, every_frame=True) == 1
    assert step_frames(frames[:1], every_frame=False) == 1


def test_the_nearest_are_paired_first_and_none_across_its_size() -> None:
    pairs = paired([at(0), at(50)], [at(45), at(400)])
    assert [(a is not None, b is not None) for a, b in pairs] == [
        (True, False),
        (True, True),
        (False, True),
    ]
    assert partner(at(0), [at(300)]) is None
    assert gap_share(at(0), at(30)) == pytest.approx(0.5)
