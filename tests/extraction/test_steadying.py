"""Visibility that is settled over a clip, on made-up skeletons at 25 frames a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.extraction.conftest import SIZE_PX, SKELETON
from tpbench.dwpose_drawing import draw_pose
from tpbench.extraction.steadying import (
    PARTS,
    SWITCH_COUNTS,
    steadied,
    switch_counts,
    switches,
    visibility,
)
from tpbench.wholebody import (
    FACE,
    LEFT_EAR,
    LEFT_ELBOW,
    LEFT_HAND,
    LEFT_HIP,
    LEFT_SHOULDER,
    LEFT_WRIST,
    NUM_KEYPOINTS,
    RIGHT_HAND,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    VISIBLE_SCORE,
    WholeBodyPose,
)

if TYPE_CHECKING:
    from tests.extraction.conftest import MakePose


HIPS = {LEFT_HIP: (360.0, 420.0), RIGHT_HIP: (280.0, 420.0)}


def blinking(make_pose: MakePose, points: slice | int, score: float = 0.0) -> WholeBodyPose:
    pose = make_pose(10, joints=SKELETON | HIPS)
    pose.scores[2:4, points] = score
    pose.scores[7, points] = score
    return pose


@pytest.mark.parametrize(
    ("points", "parts"),
    [
        (LEFT_HIP, {"left_hip"}),
        (RIGHT_HIP, {"right_hip"}),
        (LEFT_ELBOW, {"left_arm"}),
        (RIGHT_WRIST, {"right_arm"}),
        (LEFT_EAR, {"head"}),
        (LEFT_SHOULDER, {"head", "shoulders", "left_arm", "left_hip", "right_hip"}),
        (LEFT_HAND, {"left_hand"}),
        (RIGHT_HAND, {"right_hand"}),
        (FACE, {"face"}),
    ],
)
def test_what_comes_and_goes_twice_has_four_switches(
    points: slice | int, parts: set[str], make_pose: MakePose
) -> None:
    counted = switches(blinking(make_pose, points))
    assert counted == {part: 4 if part in parts else 0 for part in PARTS}


def test_of_the_lines_of_a_part_the_worst_counts(make_pose: MakePose) -> None:
    pose = blinking(make_pose, LEFT_ELBOW)
    pose.scores[5, LEFT_WRIST] = 0
    assert switches(pose)["left_arm"] == 6


@pytest.mark.parametrize("points", [LEFT_HIP, LEFT_HAND])
@pytest.mark.parametrize(("score", "n_switches"), [(0.0, 4), (0.299, 4), (0.3, 0), (0.31, 0)])
def test_a_switch_is_a_change_of_the_drawing(
    points: slice | int, score: float, n_switches: int, make_pose: MakePose
) -> None:
    pose = blinking(make_pose, points, score)
    drawings = [
        draw_pose(pose.keypoints[at : at + 1], pose.scores[at : at + 1], 480, 640)
        for at in range(10)
    ]
    changes = sum(bool((a != b).any()) for a, b in pairwise(drawings))
    assert max(switches(pose).values()) == changes == n_switches


def test_the_measurements_are_named_by_part(make_pose: MakePose) -> None:
    measured = switch_counts(blinking(make_pose, LEFT_HIP))
    assert measured["left_hip_switches"] == 4
    assert set(measured) == set(SWITCH_COUNTS.values())


FPS = 25.0
N_FRAMES = 100
WRISTS = [LEFT_WRIST, RIGHT_WRIST]


@pytest.fixture
def person(make_pose: MakePose) -> WholeBodyPose:
    """Four seconds of a person who stands still, hips and all, as MediaPipe would see her."""
    return replace(make_pose(N_FRAMES, joints=SKELETON | HIPS), source="mediapipe")


def settle(pose: WholeBodyPose, wrists_px: NDArray[np.floating] | None = None) -> WholeBodyPose:
    wrists = pose.keypoints[:, WRISTS] if wrists_px is None else wrists_px
    return steadied(pose, wrists_px=wrists, fps=FPS)


def lose(pose: WholeBodyPose, points: slice | int, frames: Sequence[int] | slice) -> None:
    pose.keypoints[frames, points] = np.nan
    pose.scores[frames, points] = 0


def drawn(pose: WholeBodyPose, points: slice | int) -> NDArray[np.bool_]:
    seen = pose.scores[:, points].reshape(len(pose), -1) > VISIBLE_SCORE
    known = np.isfinite(pose.keypoints[:, points].reshape(len(pose), -1, 2)).all(axis=2)
    result: NDArray[np.bool_] = np.any(seen & known, axis=1)
    return result


def test_a_score_that_hovers_around_the_threshold_makes_no_line_blink(
    person: WholeBodyPose,
) -> None:
    hovering = 0.34 + 0.1 * np.sin(np.arange(N_FRAMES) * 1.7)
    person.scores[:, [LEFT_HIP, RIGHT_HIP]] = hovering[:, None]
    assert switches(person)["left_hip"] > 40
    assert set(switches(settle(person)).values()) == {0}
    assert drawn(settle(person), LEFT_HIP).all()


def test_scores_on_the_right_side_of_the_threshold_stay_as_they_are(
    person: WholeBodyPose,
) -> None:
    scores = 0.34 + 0.1 * np.sin(np.arange(N_FRAMES) * 1.7)
    person.scores[:, LEFT_HIP] = scores
    after = settle(person).scores[:, LEFT_HIP]
    np.testing.assert_array_equal(after[scores > 0.31], person.scores[scores > 0.31, LEFT_HIP])
    np.testing.assert_allclose(after[scores <= 0.31], 0.31)


def test_a_joint_that_is_never_sure_stays_undrawn(person: WholeBodyPose) -> None:
    person.scores[:, LEFT_HIP] = 0.25
    person.scores[::9, LEFT_HIP] = 0.5
    assert not drawn(settle(person), LEFT_HIP).any()


def test_a_joint_that_goes_and_comes_back_later_is_gone_in_between(person: WholeBodyPose) -> None:
    lose(person, LEFT_HIP, slice(30, 60))
    after = settle(person)
    assert drawn(after, LEFT_HIP).tolist() == [True] * 30 + [False] * 30 + [True] * 40
    assert np.isnan(after.keypoints[30:60, LEFT_HIP]).all()


def test_a_joint_lost_over_the_edge_for_a_moment_is_carried_across(person: WholeBodyPose) -> None:
    person.keypoints[:, LEFT_HIP, 0] = 300 + np.arange(N_FRAMES)
    whole = settle(person).keypoints
    lose(person, LEFT_HIP, slice(50, 55))
    after = settle(person)
    assert drawn(after, LEFT_HIP).all()
    np.testing.assert_allclose(after.keypoints[:, LEFT_HIP], whole[:, LEFT_HIP], atol=0.5)


def test_hips_are_moved_up_by_a_twentieth_of_the_torso(person: WholeBodyPose) -> None:
    after = settle(person)
    torso = 420 - person.keypoints[0, LEFT_SHOULDER, 1]
    moved = after.keypoints - person.keypoints
    np.testing.assert_allclose(moved[:, [LEFT_HIP, RIGHT_HIP], 1], -0.05 * torso, rtol=1e-4)
    np.testing.assert_allclose(moved[:, [LEFT_HIP, RIGHT_HIP], 0], 0, atol=1e-3)
    others = [at for at in range(NUM_KEYPOINTS) if at not in HIPS]
    np.testing.assert_array_equal(after.keypoints[:, others], person.keypoints[:, others])


def test_a_hand_lost_in_a_fast_gesture_follows_the_wrist_of_the_body(
    person: WholeBodyPose,
) -> None:
    """The wrist swings out and back within the gap: a straight line would miss it."""
    swing = np.zeros((N_FRAMES, 2))
    swing[40:47, 0] = 60 * np.sin(np.linspace(0, np.pi, 7))
    person.keypoints[:, LEFT_HAND] += swing[:, None]
    person.keypoints[:, LEFT_WRIST] += swing
    body_wrists = person.keypoints[:, WRISTS] + np.array([9, -4])  # the body's is another one
    true = person.keypoints.copy()
    lose(person, LEFT_HAND, slice(40, 47))
    person.keypoints[40:47, LEFT_WRIST] = body_wrists[40:47, 0]

    after = settle(person, body_wrists)

    assert set(switches(after).values()) == {0}
    np.testing.assert_allclose(after.keypoints[:, LEFT_HAND], true[:, LEFT_HAND], atol=0.01)
    np.testing.assert_allclose(after.keypoints[:, LEFT_WRIST], true[:, LEFT_WRIST], atol=0.01)
    np.testing.assert_allclose(after.scores[40:47, LEFT_HAND], 0.31)


def test_a_hand_whose_wrist_is_not_seen_either_stays_blank(person: WholeBodyPose) -> None:
    lose(person, LEFT_HAND, slice(40, 60))
    person.scores[38:62, LEFT_WRIST] = 0.05
    after = settle(person)
    assert not drawn(after, LEFT_HAND)[40:60].any()
    assert switches(after)["left_hand"] == 2


def test_a_hand_is_not_carried_to_where_the_wrist_is_merely_guessed(
    person: WholeBodyPose,
) -> None:
    """Something covers the arm, and the body model puts the wrist somewhere else, quite sure."""
    lose(person, LEFT_HAND, slice(40, 46))
    wrists = person.keypoints[:, WRISTS].copy()
    wrists[40:46, 0] += (-60, -150)
    after = settle(person, wrists)
    assert not drawn(after, LEFT_HAND)[40:46].any()


def test_a_hand_that_is_away_for_longer_stays_blank(person: WholeBodyPose) -> None:
    lose(person, RIGHT_HAND, slice(40, 52))
    after = settle(person)
    assert np.isnan(after.keypoints[40:52, RIGHT_HAND]).all()
    assert (after.scores[40:52, RIGHT_HAND] == 0).all()
    assert switches(after)["right_hand"] == 2


def test_a_hand_that_was_never_there_is_not_made_up(person: WholeBodyPose) -> None:
    lose(person, LEFT_HAND, slice(None))
    after = settle(person)
    assert np.isnan(after.keypoints[:, LEFT_HAND]).all()
    assert switches(after)["left_hand"] == 0


@pytest.mark.parametrize("frames", [slice(0, 8), slice(92, 100)])
def test_before_a_hand_is_first_seen_and_after_it_was_last_there_is_none(
    frames: slice, person: WholeBodyPose
) -> None:
    lose(person, LEFT_HAND, frames)
    assert not drawn(settle(person), LEFT_HAND)[frames].any()


def test_a_hand_that_flashes_up_is_not_drawn(person: WholeBodyPose) -> None:
    lose(person, LEFT_HAND, [at for at in range(N_FRAMES) if at not in {50, 51, 52}])
    assert switches(person)["left_hand"] == 2
    assert not drawn(settle(person), LEFT_HAND).any()


def test_a_face_lost_for_a_moment_is_carried_by_the_eyes(person: WholeBodyPose) -> None:
    head = [0, 1, 2]
    shift = np.arange(N_FRAMES)[:, None] * np.array([1.0, 0.5])
    person.keypoints[:, head] += shift[:, None]
    person.keypoints[:, FACE] += shift[:, None]
    true = person.keypoints.copy()
    lose(person, FACE, slice(20, 26))
    after = settle(person)
    assert drawn(after, FACE).all()
    np.testing.assert_allclose(after.keypoints[:, FACE], true[:, FACE], atol=0.01)


def test_nothing_is_carried_out_of_the_picture(person: WholeBodyPose) -> None:
    person.keypoints[:, LEFT_HAND, 0] += SIZE_PX[0] - 400
    person.keypoints[:, LEFT_WRIST, 0] += SIZE_PX[0] - 400
    outside = person.keypoints[:, LEFT_HAND, 0] > SIZE_PX[0] - 0.5
    person.scores[:, LEFT_HAND][outside] = 0
    person.keypoints[:, LEFT_HAND][outside] = np.nan
    wrists = person.keypoints[:, WRISTS].copy()
    wrists[40:44, 0, 0] += 8
    lose(person, LEFT_HAND, slice(40, 44))
    hand = settle(person, wrists).keypoints[:, LEFT_HAND]
    assert np.isfinite(hand[40:44]).any()
    assert (hand[np.isfinite(hand[..., 0])][:, 0] <= SIZE_PX[0] - 0.5).all()


def test_dwposes_skeletons_are_left_alone(person: WholeBodyPose) -> None:
    official = replace(person, source="dwpose")
    lose(official, LEFT_HAND, slice(40, 43))
    assert settle(official) is official
    assert visibility("dwpose") != visibility("mediapipe")


@pytest.mark.parametrize("n_frames", [1, 2, 5])
def test_the_shortest_clips_are_settled_too(n_frames: int, person: WholeBodyPose) -> None:
    short = person.slice_frames(0, n_frames)
    assert drawn(settle(short), LEFT_HAND).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.3, 0.7, 0.95]))
def test_whatever_is_lost_nothing_is_drawn_without_a_place_and_no_joint_for_a_moment(
    seed: int, lost: float
) -> None:
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 400, (60, NUM_KEYPOINTS, 2)).astype(np.float32)
    scores = rng.uniform(0, 1, (60, NUM_KEYPOINTS)).astype(np.float32)
    keypoints[rng.random((60, NUM_KEYPOINTS)) < lost] = np.nan
    scores[np.isnan(keypoints).any(axis=2)] = 0
    pose = WholeBodyPose(
        keypoints=keypoints,
        scores=scores,
        width_px=SIZE_PX[0],
        height_px=SIZE_PX[1],
        source="mediapipe",
        model_digest="",
    )

    after = settle(pose)

    assert (after.scores[np.isnan(after.keypoints).any(axis=2)] < VISIBLE_SCORE).all()
    for joint in (LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, LEFT_WRIST):
        edges = np.flatnonzero(np.diff(np.r_[0, drawn(after, joint), 0]))
        assert (np.diff(edges)[::2] >= 5).all()
