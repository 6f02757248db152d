from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.detectors.base import HandDetection, sides_of_hands
from tpbench.detectors.flow import Points
from tpbench.detectors.hands import HandFinder, HandNetworks, HandView
from tpbench.detectors.mediapipe_skeleton import window_around
from tpbench.video import Window
from tpbench.wholebody import (
    LEFT_HIP,
    LEFT_SHOULDER,
    LEFT_WRIST,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    body_size_px,
)


def hand_at(x: float, y: float, score: float = 0.9) -> HandDetection:
    spread = np.linspace(0, 20, 21)
    points = np.column_stack([x + spread, y + spread]).astype(np.float32)
    return HandDetection(keypoints_px=points, score=score)


@pytest.fixture
def body() -> np.ndarray:
    """Shoulders 200 px apart, the left one on the right of the picture, hands held in front."""
    points = np.full((17, 2), np.nan)
    points[LEFT_SHOULDER], points[RIGHT_SHOULDER] = (400, 200), (200, 200)
    points[LEFT_HIP], points[RIGHT_HIP] = (380, 450), (220, 450)
    points[LEFT_WRIST], points[RIGHT_WRIST] = (350, 400), (250, 400)
    return points


@pytest.mark.parametrize("left_first", [True, False])
def test_each_hand_goes_to_the_wrist_it_hangs_on(body: np.ndarray, *, left_first: bool) -> None:
    left, right = hand_at(345, 405), hand_at(260, 395)
    hands = (left, right) if left_first else (right, left)
    assert sides_of_hands(hands, body) == (left, right)


def test_crossed_wrists_cross_the_hands(body: np.ndarray) -> None:
    body[[LEFT_WRIST, RIGHT_WRIST]] = body[[RIGHT_WRIST, LEFT_WRIST]]
    on_the_right, on_the_left = hand_at(345, 405), hand_at(260, 395)
    assert sides_of_hands((on_the_right, on_the_left), body) == (on_the_left, on_the_right)


def test_a_hand_further_than_half_a_body_is_nobodys(body: np.ndarray) -> None:
    assert sides_of_hands((hand_at(350, 400 + 105),), body) == (None, None)
    assert sides_of_hands((hand_at(350, 400 + 80),), body) != (None, None)


def test_two_hands_nearest_to_one_wrist_still_take_one_side_each(body: np.ndarray) -> None:
    near, far = hand_at(252, 400), hand_at(290, 400)
    assert sides_of_hands((near, far), body) == (far, near)


def test_of_two_hands_on_one_wrist_the_surer_one_wins(body: np.ndarray) -> None:
    body[LEFT_WRIST] = np.nan
    sure, doubtful = hand_at(255, 405, score=0.95), hand_at(252, 402, score=0.55)
    assert sides_of_hands((doubtful, sure), body) == (None, sure)


def test_an_unknown_wrist_gets_no_hand(body: np.ndarray) -> None:
    body[[LEFT_WRIST, RIGHT_WRIST]] = np.nan
    assert sides_of_hands((hand_at(350, 400), hand_at(250, 400)), body) == (None, None)


def test_a_body_without_size_gets_no_hand() -> None:
    body = np.full((17, 2), np.nan)
    body[LEFT_WRIST] = (350, 400)
    assert sides_of_hands((hand_at(350, 400),), body) == (None, None)


@given(st.lists(st.tuples(st.floats(0, 600), st.floats(0, 600)), max_size=4))
def test_no_hand_is_given_twice(places: list[tuple[float, float]]) -> None:
    points = np.full((17, 2), np.nan)
    points[LEFT_SHOULDER], points[RIGHT_SHOULDER] = (400, 200), (200, 200)
    points[LEFT_WRIST], points[RIGHT_WRIST] = (310, 400), (290, 400)
    left, right = sides_of_hands([hand_at(x, y) for x, y in places], points)
    assert left is None or left is not right


def test_a_body_seen_from_the_side_keeps_its_size(body: np.ndarray) -> None:
    front = body_size_px(body)
    body[[LEFT_SHOULDER, RIGHT_SHOULDER], 0] = 300
    assert front == pytest.approx(200)
    assert body_size_px(body) == pytest.approx(0.7 * 250)


def test_without_hips_the_shoulders_alone_count(body: np.ndarray) -> None:
    body[[LEFT_HIP, RIGHT_HIP]] = np.nan
    assert body_size_px(body) == pytest.approx(200)


def body_at(x: float, y: float, width: float) -> np.ndarray:
    """A body seen from the front, its shoulders' middle at (x, y)."""
    points = np.full((17, 2), np.nan)
    points[LEFT_SHOULDER], points[RIGHT_SHOULDER] = (x + width / 2, y), (x - width / 2, y)
    points[LEFT_HIP], points[RIGHT_HIP] = (x + width / 3, y + width), (x - width / 3, y + width)
    return points


@given(
    x=st.floats(-200, 2200),
    y=st.floats(-200, 1300),
    width=st.floats(0, 2000),
    height_px=st.integers(2, 1200),
    width_px=st.integers(2, 2000),
)
def test_a_window_never_leaves_the_picture(
    x: float, y: float, width: float, height_px: int, width_px: int
) -> None:
    window = window_around(body_at(x, y, width), (height_px, width_px), None)
    image = np.zeros((height_px, width_px, 3), dtype=np.uint8)
    assert window.cut(image).shape == (window.height_px, window.width_px, 3)


def test_a_wide_shot_is_cut_down_to_where_arms_reach() -> None:
    window = window_around(body_at(600, 400, 100), (1080, 1920), None)
    assert window == Window(350, 150, 500, 500)


def test_a_close_shot_is_looked_at_whole() -> None:
    window = window_around(body_at(256, 200, 200), (512, 512), None)
    assert window == Window(0, 0, 512, 512)


def test_a_window_stays_while_the_person_sways() -> None:
    first = window_around(body_at(600, 400, 100), (1080, 1920), None)
    assert window_around(body_at(690, 350, 110), (1080, 1920), first) is first


def test_a_window_follows_who_walks_away_or_comes_close() -> None:
    first = window_around(body_at(600, 400, 100), (1080, 1920), None)
    walked = window_around(body_at(720, 400, 100), (1080, 1920), first)
    closer = window_around(body_at(600, 400, 130), (1080, 1920), first)
    assert walked == Window(470, 150, 500, 500)
    assert closer[2:] == (650, 650)


class Looks:
    """Finds a hand with the given scores, one look after the other."""

    def __init__(self, *scores: float) -> None:
        self.scores: Iterator[float] = iter(scores)

    def follow(self, _image: np.ndarray, last: Points) -> Points:
        return np.column_stack([last[:, :2], np.full(len(last), next(self.scores))])


def found_again(looks: Looks, *, doubts: bool) -> float:
    """The score of a hand whose score was 0.9 where it was expected."""
    spread = np.linspace(0, 20, 21)
    guess = np.column_stack([spread, spread, np.full(21, 0.9)])
    view = HandView(image=np.zeros((64, 64, 3), dtype=np.uint8), window=None)
    (hand,) = HandFinder(cast("HandNetworks", looks), doubts=doubts).near(view, [guess])
    return float(hand[0, 2])


def test_a_hand_that_became_unsure_is_looked_at_again_between_distant_frames() -> None:
    assert found_again(Looks(0.7, 0.95), doubts=True) == 0.95


def test_of_two_looks_the_later_counts_and_not_the_surer() -> None:
    assert found_again(Looks(0.7, 0.6), doubts=True) == 0.6


@pytest.mark.parametrize(("score", "doubts"), [(0.85, True), (0.7, False)])
def test_a_hand_is_looked_at_once_if_it_is_sure_or_frames_follow_each_other(
    score: float, *, doubts: bool
) -> None:
    assert found_again(Looks(score), doubts=doubts) == score
