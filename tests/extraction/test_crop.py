from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tpbench.extraction.writing import CropBox, upper_body_crop
from tpbench.wholebody import (
    FACE,
    LEFT_HAND,
    LEFT_HIP,
    NOSE,
    NUM_KEYPOINTS,
    RIGHT_HAND,
    WholeBodyPose,
)

if TYPE_CHECKING:
    from tests.extraction.conftest import MakePose

WIDE = (1280, 720)


def _resized(pose: WholeBodyPose, scale: float, dx: float, dy: float) -> WholeBodyPose:
    keypoints = (pose.keypoints * np.float32(scale) + np.array([dx, dy])).astype(np.float32)
    return replace(pose, keypoints=keypoints)


def _body_points(pose: WholeBodyPose) -> NDArray[np.float32]:
    """Return (T, P, 2): what the square is to hold."""
    return np.concatenate(
        [pose.keypoints[:, part] for part in (slice(LEFT_HIP), FACE, LEFT_HAND, RIGHT_HAND)],
        axis=1,
    )


def _holds(box: CropBox, points: NDArray[np.floating]) -> bool:
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    corner = np.array([box.x0_px, box.y0_px])
    return bool((low >= corner).all() and (high <= corner + box.side_px).all())


def test_the_square_holds_head_elbows_and_hands_with_room_for_hair(make_pose: MakePose) -> None:
    pose = make_pose(20, size_px=WIDE)
    box = upper_body_crop(pose, margin_share=0.1)
    assert _holds(box, _body_points(pose))
    face_top = pose.keypoints[0, FACE, 1].min()
    assert box.y0_px <= face_top - 0.5 * (pose.keypoints[0, FACE, 1].max() - face_top)
    assert box.side_px < 1.5 * 310  # head to waist are about 310 px


def test_the_square_follows_the_person(make_pose: MakePose) -> None:
    pose = make_pose(20, size_px=WIDE)
    here = upper_body_crop(pose, margin_share=0.1)
    there = upper_body_crop(_resized(pose, 1, 500, 100), margin_share=0.1)
    assert (there.x0_px - here.x0_px, there.y0_px - here.y0_px) == (500, 100)
    assert there.side_px == here.side_px


@given(
    st.floats(0.05, 4),
    st.floats(-800, 1500),
    st.floats(-500, 900),
    st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
    st.floats(0, 1),
)
def test_the_square_lies_inside_the_picture_wherever_the_person_is(
    scale: float, dx: float, dy: float, size_px: tuple[int, int], margin: float
) -> None:
    rng = np.random.default_rng(0)
    person = rng.uniform(0, 400, (3, NUM_KEYPOINTS, 2)) * scale + [dx, dy]
    pose = WholeBodyPose(
        keypoints=person.astype(np.float32),
        scores=np.ones((3, NUM_KEYPOINTS), dtype=np.float32),
        width_px=size_px[0],
        height_px=size_px[1],
        source="dwpose",
        model_digest="",
    )

    box = upper_body_crop(pose, margin_share=margin)

    assert box.side_px >= 1
    assert 0 <= box.x0_px <= size_px[0] - box.side_px
    assert 0 <= box.y0_px <= size_px[1] - box.side_px


def test_the_margin_widens_the_square_on_all_sides(make_pose: MakePose) -> None:
    pose = _resized(make_pose(5, size_px=WIDE), 0.8, 300, 200)
    tight, wide = (upper_body_crop(pose, margin_share=share) for share in (0.0, 0.2))
    assert wide.side_px == pytest.approx(1.2 * tight.side_px, abs=1)
    assert wide.x0_px < tight.x0_px
    assert wide.y0_px < tight.y0_px
    assert wide.x0_px + wide.side_px > tight.x0_px + tight.side_px


def test_a_few_wild_points_do_not_move_the_square(make_pose: MakePose) -> None:
    calm = make_pose(200, size_px=WIDE)
    wild = make_pose(200, size_px=WIDE)
    wild.keypoints[[50, 90, 120]] = (1279, 719)
    assert upper_body_crop(wild, margin_share=0.1) == upper_body_crop(calm, margin_share=0.1)


def test_hands_that_are_spread_for_a_while_are_kept_in(make_pose: MakePose) -> None:
    pose = make_pose(100, size_px=WIDE)
    pose.keypoints[40:60, LEFT_HAND] = (560, 260)
    box = upper_body_crop(pose, margin_share=0.0)
    assert box.x0_px + box.side_px >= 560


def test_points_the_detector_doubts_do_not_count(make_pose: MakePose) -> None:
    sure, doubted = make_pose(10, size_px=WIDE), make_pose(10, size_px=WIDE)
    doubted.keypoints[:, LEFT_HAND] = (1200, 700)
    doubted.scores[:, LEFT_HAND] = 0.3
    sure.keypoints[:, LEFT_HAND] = np.nan
    sure.scores[:, LEFT_HAND] = 0
    assert upper_body_crop(doubted, margin_share=0.1) == upper_body_crop(sure, margin_share=0.1)


def test_a_hand_out_of_the_picture_counts_as_at_its_edge(make_pose: MakePose) -> None:
    out, edge = make_pose(10, size_px=(640, 720)), make_pose(10, size_px=(640, 720))
    out.keypoints[:, RIGHT_HAND] = (-900, 300)
    edge.keypoints[:, RIGHT_HAND] = (0, 300)
    box = upper_body_crop(out, margin_share=0.0)
    assert box == upper_body_crop(edge, margin_share=0.0)
    assert box.side_px < 640


def test_legs_do_not_count(make_pose: MakePose) -> None:
    short, tall = make_pose(10, size_px=WIDE), make_pose(10, size_px=WIDE)
    tall.keypoints[:, LEFT_HIP : LEFT_HIP + 6] = (320, 710)
    tall.scores[:, LEFT_HIP : LEFT_HIP + 6] = 1
    assert upper_body_crop(tall, margin_share=0.1) == upper_body_crop(short, margin_share=0.1)


def test_hidden_hands_still_leave_the_chest_in(make_pose: MakePose) -> None:
    pose = make_pose(10, size_px=WIDE)
    for part in (slice(7, 11), LEFT_HAND, RIGHT_HAND):
        pose.scores[:, part] = 0
    box = upper_body_crop(pose, margin_share=0.0)
    assert box.y0_px + box.side_px >= 220 + 150  # shoulders, and a shoulder width below


def test_a_square_close_to_the_whole_height_takes_all_of_it(make_pose: MakePose) -> None:
    pose = make_pose(10, size_px=WIDE)
    largest = min(WIDE)
    box = upper_body_crop(pose, margin_share=0.0)
    moved = _resized(pose, 1, 0, -box.y0_px)
    almost = upper_body_crop(_resized(moved, 0.93 * largest / box.side_px, 0, 5), margin_share=0.0)
    short = upper_body_crop(_resized(moved, 0.9 * largest / box.side_px, 0, 5), margin_share=0.0)
    assert almost.side_px == largest
    assert almost.y0_px == 0
    assert short.side_px == pytest.approx(0.9 * largest, abs=2)


def test_a_body_taller_than_the_square_keeps_its_head(make_pose: MakePose) -> None:
    """An upright video: the square is as wide as the picture, the body is higher than that."""
    pose = replace(make_pose(10), width_px=200, height_px=800)
    pose = _resized(pose, 1, -220, 100)
    box = upper_body_crop(pose, margin_share=0.0)
    assert box.side_px == 200
    assert box.y0_px <= pose.keypoints[:, FACE, 1].min()
    assert _holds(box, pose.keypoints[:, NOSE : NOSE + 5])


@pytest.mark.parametrize("n_frames", [0, 1, 10])
@pytest.mark.parametrize("size_px", [(1, 1), (1280, 720), (3, 900)])
def test_nobody_gives_the_middle_of_the_picture(
    n_frames: int, size_px: tuple[int, int], make_pose: MakePose
) -> None:
    pose = make_pose(n_frames, size_px=size_px)
    pose.keypoints[:] = np.nan
    pose.scores[:] = 0
    box = upper_body_crop(pose, margin_share=0.1)
    assert box.side_px == min(size_px)
    assert box.x0_px == pytest.approx((size_px[0] - box.side_px) / 2, abs=1)


@pytest.mark.parametrize("part", [slice(0, 5), slice(5, 7), FACE, LEFT_HAND])
def test_any_part_alone_gives_a_square_around_it(part: slice, make_pose: MakePose) -> None:
    pose = make_pose(10, size_px=WIDE)
    hidden = np.ones(NUM_KEYPOINTS, dtype=bool)
    hidden[part] = False
    pose.keypoints[:, hidden] = np.nan
    pose.scores[:, hidden] = 0
    assert _holds(upper_body_crop(pose, margin_share=0.1), pose.keypoints[:, part])


def test_a_normalised_box_is_a_share_of_each_side() -> None:
    box = CropBox(x0_px=320, y0_px=90, side_px=540)
    assert box.normalised(1280, 720) == (0.25, 0.125, 0.671875, 0.875)
