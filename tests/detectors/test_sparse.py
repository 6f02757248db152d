from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.detectors.textures import at, picture
from tpbench.detectors.flow import Greys, Points
from tpbench.detectors.sparse import SparseTracker, gap_share, paired, partner, step_frames
from tpbench.video import Frame

TOLERANCE_PX = 2.0
Place = tuple[float, float]


class Drawn:
    """Finds what a script of frames holds; sees only what is near its guesses, as networks do."""

    def __init__(self, reach_px: float = 30.0) -> None:
        self.reach_px = reach_px
        self.searched: list[int] = []
        self.num_guesses = 0

    def anchor(self, item: tuple[int, list[Points]], expected: Sequence[Points]) -> list[Points]:
        self.searched.append(item[0])
        return list(item[1])

    def near(self, item: tuple[int, list[Points]], guesses: Sequence[Points]) -> list[Points]:
        self.searched.append(item[0])
        self.num_guesses += len(guesses)
        return [
            thing
            for thing in item[1]
            if any(np.hypot(*(thing - guess)[0, :2]) <= self.reach_px for guess in guesses)
        ]

    def tolerance_px(self, points: Points) -> np.ndarray:
        return np.full(len(points), TOLERANCE_PX)


def tracked(
    frames: list[list[Place]],
    *,
    step: int = 4,
    part: int = 16,
    images: list[np.ndarray] | None = None,
    finder: Drawn | None = None,
) -> tuple[list[list[Points]], Drawn]:
    """Track what is drawn; `images` are others than those that the places give."""
    finder = finder or Drawn()
    tracker = SparseTracker(finder)
    images = images or [picture(*places) for places in frames]
    items = [(number, [at(*place) for place in places]) for number, places in enumerate(frames)]
    found = []
    for start in range(0, len(items), part):
        greys = Greys(images[start : start + part], images[start - 1] if start else None)
        found += tracker.push(items[start : start + part], greys, step=step)
    assert tracker.num_searched == len(finder.searched)
    return found, finder


def worst_px(found: list[list[Points]], frames: list[list[Place]]) -> float:
    assert [len(things) for things in found] == [len(places) for places in frames]
    return max(
        float(np.abs(things[one] - at(*places[other]))[:, :2].max())
        for things, places in zip(found, frames, strict=True)
        for one, other in paired(things, [at(*place) for place in places]).items()
    )


def test_what_moves_is_searched_in_anchors_alone() -> None:
    frames = [[(50.0 + 3 * number, 90.0 + 10 * np.sin(number / 3))] for number in range(48)]
    found, finder = tracked(frames)
    assert finder.searched == [0, 4, 8, 12, 15, 19, 23, 27, 31, 35, 39, 43, 47]
    assert worst_px(found, frames) < 0.5


def test_a_sudden_stop_is_seen_between_anchors() -> None:
    frames = [[(40.0 + 8 * min(number, 18), 100.0)] for number in range(32)]
    found, _ = tracked(frames, step=8)
    assert worst_px(found, frames) < 0.5


def test_a_part_of_one_frame_is_always_searched() -> None:
    _, finder = tracked([[(60.0 + 3 * number, 90.0)] for number in range(9)], part=1)
    assert finder.searched == list(range(9))


def test_a_step_of_one_frame_searches_every_frame() -> None:
    _, finder = tracked([[(60.0 + 3 * number, 90.0)] for number in range(20)], step=1)
    assert finder.searched == list(range(20))


def test_where_the_picture_does_not_lead_to_what_was_found_more_frames_are_searched() -> None:
    still = picture((90.0, 90.0))
    frames = [[(90.0 + 4 * number, 90.0)] for number in range(17)]
    found, finder = tracked(frames, images=[still] * 17, part=17)
    assert sorted(finder.searched) == list(range(17))
    assert worst_px(found, frames) == 0


def test_what_the_flow_is_off_by_is_spread_over_its_way_where_it_is_within_the_tolerance() -> None:
    still = picture((90.0, 90.0))
    frames = [[(90.0 + number / 2, 90.0)] for number in range(5)]
    found, finder = tracked(frames, images=[still] * 5)
    assert finder.searched == [0, 4]
    assert worst_px(found, frames) < 0.1


@pytest.mark.parametrize("last", [17, 18, 19, 20, 21])
def test_what_vanishes_is_seen_until_it_does(last: int) -> None:
    frames = [[(60.0 + 2 * number, 90.0)] if number <= last else [] for number in range(40)]
    found, _ = tracked(frames)
    assert [len(things) for things in found] == [len(places) for places in frames]


@pytest.mark.parametrize("first", [17, 18, 19, 20, 21])
def test_what_appears_is_seen_from_the_start(first: int) -> None:
    frames = [[(60.0 + 2 * number, 90.0)] if number >= first else [] for number in range(40)]
    found, _ = tracked(frames)
    assert [len(things) for things in found] == [len(places) for places in frames]


def test_what_only_an_anchor_misses_is_found_there_from_the_frame_before() -> None:
    class Blind(Drawn):
        def anchor(
            self, item: tuple[int, list[Points]], expected: Sequence[Points]
        ) -> list[Points]:
            found = super().anchor(item, expected)
            return [] if item[0] == 8 else found

    frames = [[(60.0 + 2 * number, 90.0)] for number in range(17)]
    found, finder = tracked(frames, step=8, part=17, finder=Blind())
    assert worst_px(found, frames) < 0.5
    assert finder.searched.count(8) == 2


class Shy(Drawn):
    """Finds in anchors only what is far enough to the right, and anything near a guess."""

    def anchor(self, item: tuple[int, list[Points]], expected: Sequence[Points]) -> list[Points]:
        found = super().anchor(item, expected)
        return [
            thing
            for thing in found
            if thing[:, 0].mean() > 150 or any(gap_share(thing, guess) < 0.5 for guess in expected)
        ]


def test_what_is_found_late_is_searched_back_to_where_it_came_from() -> None:
    frames = [[(60.0 + 7 * number, 90.0)] if number > 2 else [] for number in range(16)]
    found, finder = tracked(frames, finder=Shy())
    assert worst_px(found, frames) < 0.5
    assert len(finder.searched) < 2 * len(frames)


def test_one_of_two_that_rests_is_not_searched_with_the_other() -> None:
    frames = [[(200.0, 60.0), (60.0 + 6 * number, 180.0)] for number in range(17)]
    images = [picture((200.0, 60.0))] * 17
    found, finder = tracked(frames, images=images, part=17)
    assert finder.num_guesses == 12
    assert worst_px(found, frames) <= TOLERANCE_PX


def test_a_moment_of_doubt_is_not_spread_over_its_neighbours() -> None:
    class Doubtful(Drawn):
        def anchor(
            self, item: tuple[int, list[Points]], expected: Sequence[Points]
        ) -> list[Points]:
            found = super().anchor(item, expected)
            return [thing * [1, 1, 0.5 if item[0] == 8 else 1] for thing in found]

    frames = [[(100.0, 100.0)] for _ in range(17)]
    found, _ = tracked(frames, step=8, part=17, finder=Doubtful())
    scores = [things[0][0, 2] for things in found]
    assert scores == [0.5 if number == 8 else 1.0 for number in range(17)]


def test_two_that_pass_each_other_keep_their_points() -> None:
    frames = [[(60.0 + 8 * number, 80.0), (188.0 - 8 * number, 160.0)] for number in range(17)]
    found, finder = tracked(frames, step=8, part=17)
    assert finder.searched == [0, 8, 16]
    assert worst_px(found, frames) < 0.5


def test_after_a_reset_nothing_is_known() -> None:
    finder = Drawn()
    tracker = SparseTracker(finder)
    for place in ((60.0, 60.0), (190.0, 190.0)):
        greys = Greys([picture(place)] * 16)
        found = tracker.push([(number, [at(*place)]) for number in range(16)], greys, step=4)
        assert all(np.array_equal(things[0], at(*place)) for things in found[::5])
        assert finder.searched[-5:] == [0, 4, 8, 12, 15]
        tracker.reset()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-25, 25), min_size=2, max_size=40),
    st.integers(1, 16),
    st.sampled_from([1, 2, 4, 8]),
)
def test_every_frame_is_answered_and_what_was_searched_is_as_found(
    moves: list[float], part: int, step: int
) -> None:
    frames = [[(128.0 + x, 128.0)] for x in np.cumsum(moves)]
    still = picture((128.0, 128.0))
    found, finder = tracked(frames, step=step, part=part, images=[still] * len(frames))
    assert len(found) == len(frames)
    for number in finder.searched:
        for thing in found[number]:
            assert np.array_equal(thing, at(*frames[number][0]))
    gaps = [b - a for a, b in pairwise(sorted(finder.searched))]
    assert max(gaps, default=1) <= step


@pytest.mark.parametrize(
    ("fps", "step"),
    [(2, 1), (5, 2), (8, 2), (15, 4), (23, 8), (25, 8), (30, 8), (50, 16), (60, 16)],
)
def test_anchors_are_about_as_far_apart_in_time_at_every_rate(fps: int, step: int) -> None:
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    frames = [Frame(image=image, index=i, time_s=i / fps) for i in range(3)]
    assert step_frames(frames, every_frame=False) == step
    assert step_frames(frames, every_frame=True) == 1
    assert step_frames(frames[:1], every_frame=False) == 1


def test_the_nearest_are_paired_first_and_none_across_its_size() -> None:
    assert paired([at(0, 0), at(30, 0)], [at(28, 0), at(400, 0)]) == {1: 0}
    assert partner(at(0, 0), [at(300, 0)]) is None
    assert gap_share(at(0, 0), at(20, 0)) == pytest.approx(0.5)
