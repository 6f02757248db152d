from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.extraction.conftest import SKELETON
from tpbench.dwpose_drawing import draw_pose
from tpbench.extraction.steadying import PARTS, SWITCH_COUNTS, switch_counts, switches
from tpbench.wholebody import (
    FACE,
    LEFT_EAR,
    LEFT_ELBOW,
    LEFT_HAND,
    LEFT_HIP,
    LEFT_SHOULDER,
    LEFT_WRIST,
    RIGHT_HAND,
    RIGHT_HIP,
    RIGHT_WRIST,
)

if TYPE_CHECKING:
    from tests.extraction.conftest import MakePose
    from tpbench.wholebody import WholeBodyPose

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
