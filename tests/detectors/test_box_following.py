"""Boxes followed between searched frames, against a search of every frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.detectors.moving_people import Person, Scene, Watcher, images, person_at
from tpbench.detectors.base import PersonDetection
from tpbench.detectors.box_following import overlaps_of
from tpbench.wholebody import LEFT_HAND

N_FRAMES = 160


def talker(frame: int) -> list[Person]:
    """Somebody who sways by a third of the width, comes nearer and gestures twice a second."""
    time_s = frame / 25
    return [
        person_at(
            640 + 100 * np.sin(time_s),
            330 + 10 * np.sin(3 * time_s),
            size_px=300 + 60 * np.sin(0.7 * time_s),
            left_reach=0.2 + 0.2 * np.sin(4 * np.pi * time_s),
            lift=0.3 + 0.3 * np.sin(4 * np.pi * time_s + 1),
        )
    ]


def jumper(frame: int) -> list[Person]:
    return [person_at(300 if frame < 85 else 800, 330)]


def newcomer(frame: int) -> list[Person]:
    """A second person stands there from frame 51 to frame 98."""
    return talker(frame) + ([person_at(1100, 350, size_px=220)] if 51 <= frame <= 98 else [])


def crossing(frame: int) -> list[Person]:
    """Two people who pass each other at some distance."""
    return [person_at(200 + 3 * frame, 200, size_px=180), person_at(900 - 3 * frame, 520)]


def runner(frame: int) -> list[Person]:
    """Somebody who turns back every 20 frames and runs a width of the body in five."""
    return [person_at(400 + 30 * abs(frame % 40 - 20), 330)]


def off_by(found: list[list[PersonDetection]], wanted: list[list[PersonDetection]]) -> np.ndarray:
    """Return the distances of all points that were seen in both, people paired by position."""
    gaps = []
    for ours, theirs in zip(found, wanted, strict=True):
        assert len(ours) == len(theirs)
        for one, other in zip(by_x(ours), by_x(theirs), strict=True):
            seen = (one.scores > 0.3) & (other.scores > 0.3)
            assert seen.sum() >= 0.98 * (other.scores > 0.3).sum()
            gaps.append(np.linalg.norm(one.keypoints_px - other.keypoints_px, axis=1)[seen])
    return np.concatenate(gaps)


def by_x(people: list[PersonDetection]) -> list[PersonDetection]:
    return sorted(people, key=lambda person: float(person.keypoints_px[0, 0]))


@pytest.mark.parametrize("every", [2, 8, 16])
@pytest.mark.parametrize("scene", [talker, jumper, newcomer, crossing, runner])
def test_points_agree_with_those_of_a_search_of_every_frame(scene: Scene, every: int) -> None:
    wanted = Watcher(scene).follow(N_FRAMES, every=1)
    watcher = Watcher(scene)
    gaps = off_by(watcher.follow(N_FRAMES, every=every), wanted)
    assert np.median(gaps) <= 2
    assert np.percentile(gaps, 95) <= 6
    assert len(watcher.searched) < N_FRAMES


def test_somebody_who_stays_is_searched_every_nth_frame_and_at_the_start() -> None:
    watcher = Watcher(lambda _: [person_at(640, 330)])
    watcher.follow(64, every=8)
    assert watcher.searched == [0, 7, 15, 23, 31, 39, 47, 55, 63]


def test_the_last_frame_of_a_call_is_searched_whatever_its_length() -> None:
    watcher = Watcher(lambda _: [person_at(640, 330)])
    watcher.follow(27, every=8, batch=10)
    assert watcher.searched == [0, 1, 9, 11, 19, 26]


def test_who_comes_and_who_leaves_is_seen_in_the_same_frames() -> None:
    counts = [len(people) for people in Watcher(newcomer).follow(N_FRAMES, every=16)]
    assert counts == [1] * 51 + [2] * 48 + [1] * (N_FRAMES - 99)


def test_a_gap_whose_ends_differ_is_halved() -> None:
    """15 and 31 differ, so 23 is searched, then 27, and so on until 27 | 28."""
    watcher = Watcher(lambda frame: [person_at(640, 330)] * (frame >= 28))
    watcher.follow(32, every=16)
    assert watcher.searched == [0, 15, 31, 23, 27, 29, 28]


def test_who_comes_and_goes_between_two_searched_frames_is_missed() -> None:
    watcher = Watcher(lambda frame: [person_at(640, 330)] * (18 <= frame <= 22))
    assert all(not people for people in watcher.follow(64, every=8))


def test_nobody_is_looked_for_every_nth_frame_only() -> None:
    watcher = Watcher(lambda _: [])
    assert watcher.follow(32, every=8) == [[]] * 32
    assert watcher.searched == [0, 7, 15, 23, 31]


def test_a_frame_with_an_arm_that_reaches_out_of_the_box_is_searched() -> None:
    def pointing(frame: int) -> list[Person]:
        return [person_at(640, 330, left_reach=0.6 if 18 <= frame <= 20 else 0.1)]

    watcher = Watcher(pointing)
    found = watcher.follow(32, every=16)
    assert watcher.searched == [0, 15, 31, 18, 19, 20]
    (wanted,) = Watcher(pointing).follow(20, every=1)[19]
    np.testing.assert_allclose(found[19][0].keypoints_px, wanted.keypoints_px)


def test_a_frame_whose_scores_drop_is_searched() -> None:
    watcher = Watcher(lambda _: [person_at(640, 330)], hidden=(12, LEFT_HAND))
    watcher.follow(32, every=16)
    assert watcher.searched == [0, 15, 12, 31]


def test_boxes_in_another_order_do_not_mix_up_people() -> None:
    pair = [person_at(300, 330), person_at(900, 330, size_px=200)]
    for people in Watcher(lambda _: pair).follow(48, every=8):
        left, right = by_x(people)
        np.testing.assert_allclose(left.keypoints_px, pair[0], atol=1.5)
        np.testing.assert_allclose(right.keypoints_px, pair[1], atol=1.5)


def test_frames_passed_one_by_one_are_all_searched() -> None:
    watcher = Watcher(talker)
    gaps = off_by(watcher.follow(20, every=8, batch=1), Watcher(talker).follow(20, every=1))
    assert watcher.searched == list(range(20))
    assert gaps.max() == 0


@pytest.mark.parametrize("scene", [talker, newcomer])
def test_a_stretch_does_not_depend_on_the_one_before(
    scene: Callable[[int], list[Person]],
) -> None:
    watcher = Watcher(scene)
    fresh = watcher.follow(16, every=8)
    follower = watcher.follower(8)
    follower.find(images(16, start=60))
    follower.reset()
    again = follower.find(images(16))
    assert off_by(again, fresh).max() == 0


def test_no_frames_give_no_people() -> None:
    assert Watcher(talker).follower(8).find([]) == []


def test_overlaps_of_boxes_worked_out_by_hand() -> None:
    boxes = np.array([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0]])
    np.testing.assert_allclose(overlaps_of(boxes, boxes[:1])[:, 0], [1.0, 1 / 7])
