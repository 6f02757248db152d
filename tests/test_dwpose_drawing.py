from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tpbench.dwpose_drawing import PoseDrawer, draw_pose, mean_body_scores
from tpbench.wholebody import FACE, FEET, LEFT_HAND, LEFT_SHOULDER, RIGHT_SHOULDER

GOLDEN = Path(__file__).parent / "golden" / "dwpose_drawing"
CASES = range(12)


def golden_input(case: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    with np.load(GOLDEN / "keypoints.npz") as data:
        people = int(data["num_people"][case])
        height_px, width_px = (int(value) for value in data["height_width"][case])
        return (
            data["keypoints"][case, :people],
            data["scores"][case, :people],
            height_px,
            width_px,
        )


def one_person(points: dict[int, tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    keypoints = np.full((1, 133, 2), np.nan)
    scores = np.zeros((1, 133))
    for index, point in points.items():
        keypoints[0, index] = point
        scores[0, index] = 1.0
    return keypoints, scores


@pytest.mark.parametrize("case", CASES)
def test_drawing_equals_the_released_one_in_every_pixel(case: int) -> None:
    expected = cv2.imread(str(GOLDEN / f"{case:02}.png"))
    assert expected is not None
    drawn = draw_pose(*golden_input(case))
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn, expected[..., ::-1])


@pytest.mark.parametrize("case", CASES)
def test_an_absent_second_person_and_the_order_of_people_change_nothing(case: int) -> None:
    keypoints, scores, height_px, width_px = golden_input(case)
    expected = draw_pose(keypoints, scores, height_px, width_px)
    nobody = np.full((1, 133, 2), np.nan)
    more = np.concatenate([nobody, keypoints[::-1]])
    for absent in (0.0, np.nan):
        more_scores = np.concatenate([np.full((1, 133), absent), scores[::-1]])
        drawn = draw_pose(more, more_scores, height_px, width_px)
        np.testing.assert_array_equal(drawn, expected)


def test_nobody_is_a_black_picture() -> None:
    drawn = draw_pose(np.empty((0, 133, 2)), np.empty((0, 133)), 48, 64)
    assert drawn.shape == (48, 64, 3)
    assert not drawn.any()


def test_the_person_with_the_best_mean_body_score_is_drawn_alone() -> None:
    keypoints, scores, height_px, width_px = golden_input(0)
    assert len(keypoints) == 2
    best = int(mean_body_scores(scores).argmax())
    alone = draw_pose(keypoints[[best]], scores[[best]], height_px, width_px)
    other = draw_pose(keypoints[[1 - best]], scores[[1 - best]], height_px, width_px)
    both = draw_pose(keypoints, scores, height_px, width_px)
    np.testing.assert_array_equal(both, alone)
    assert (both != other).any()


def test_the_neck_counts_one_where_both_shoulders_are_seen_and_else_nothing() -> None:
    scores = np.zeros((3, 133))
    scores[0, [LEFT_SHOULDER, RIGHT_SHOULDER]] = 0.31
    scores[1, [LEFT_SHOULDER, RIGHT_SHOULDER]] = [0.3, 0.9]
    scores[2, FACE] = 1.0
    np.testing.assert_allclose(mean_body_scores(scores), [1.62 / 18, 1.2 / 18, 0.0])


def test_a_lone_face_point_is_a_white_dot_of_radius_3() -> None:
    drawn = draw_pose(*one_person({FACE.start: (20.9, 10.2)}), 32, 40)
    rows, columns = np.nonzero(drawn.any(axis=-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 13, 17, 23)
    assert (drawn[rows, columns] == 255).all()


@pytest.mark.parametrize("point", [(0.9, 10.0), (10.0, 0.9), (-5.0, 10.0), (10.0, -5.0)])
def test_hand_and_face_points_before_pixel_1_are_left_out(point: tuple[float, float]) -> None:
    for index in (FACE.start, LEFT_HAND.start):
        assert not draw_pose(*one_person({index: point}), 32, 32).any()


def test_a_hand_edge_is_drawn_only_between_points_past_pixel_1() -> None:
    wrist, thumb = LEFT_HAND.start, LEFT_HAND.start + 1
    inside = draw_pose(*one_person({wrist: (1.0, 16.0), thumb: (25.0, 16.0)}), 32, 32)
    on_the_rim = draw_pose(*one_person({wrist: (0.9, 16.0), thumb: (25.0, 16.0)}), 32, 32)
    assert inside[16, 12].tolist() == [255, 0, 0]
    assert not on_the_rim[16, 12].any()


def test_coordinates_are_cut_after_the_rounding_error_of_the_released_code() -> None:
    assert int(13 / 23 * 23) == 12
    drawn = draw_pose(*one_person({FACE.start: (13.0, 13.0)}), 23, 23)
    rows, columns = np.nonzero(drawn.any(axis=-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (9, 15, 9, 15)


def test_feet_are_never_drawn() -> None:
    points = dict.fromkeys(range(FEET.start, FEET.stop), (16.0, 16.0))
    assert not draw_pose(*one_person(points), 32, 32).any()


def test_a_body_point_needs_more_than_the_score_that_suffices_for_the_face() -> None:
    body, scores = one_person({0: (16.0, 16.0)})
    assert not draw_pose(body, scores * 0.3, 32, 32).any()
    assert draw_pose(body, scores * 0.31, 32, 32).any()
    face, scores = one_person({FACE.start: (16.0, 16.0)})
    assert draw_pose(face, scores * 0.3, 32, 32).any()
    assert not draw_pose(face, scores * 0.29, 32, 32).any()


def test_arrays_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"want \(N, 133, 2\)"):
        draw_pose(np.zeros((1, 18, 2)), np.zeros((1, 18)), 32, 32)


wild = st.one_of(
    st.floats(-80, 120),
    st.sampled_from([np.nan, np.inf, -np.inf, 1e9, -1e18, 1e38, 511.999, -1000.0, 2047.0]),
)


@given(
    keypoints=arrays(np.float64, (2, 133, 2), elements=wild),
    scores=arrays(np.float64, (2, 133), elements=st.sampled_from([0.0, 0.3, 0.9, 1.0, np.nan])),
    height_px=st.integers(1, 64),
    width_px=st.integers(1, 64),
)
def test_no_point_anywhere_is_an_error_or_changes_its_arguments(
    keypoints: np.ndarray, scores: np.ndarray, height_px: int, width_px: int
) -> None:
    before = keypoints.copy(), scores.copy()
    drawn = draw_pose(keypoints, scores, height_px, width_px)
    assert drawn.shape == (height_px, width_px, 3)
    np.testing.assert_array_equal(keypoints, before[0])
    np.testing.assert_array_equal(scores, before[1])


def test_points_far_outside_are_as_good_as_not_found() -> None:
    keypoints, scores, height_px, width_px = golden_input(0)
    far, nowhere = keypoints.copy(), keypoints.copy()
    far[:, [4, 9, 40, 100]] = 1e12
    nowhere[:, [4, 9, 40, 100]] = np.nan
    np.testing.assert_array_equal(
        draw_pose(far, scores, height_px, width_px), draw_pose(nowhere, scores, height_px, width_px)
    )


def test_a_poster_sized_picture_can_be_drawn() -> None:
    keypoints, scores, height_px, width_px = golden_input(0)
    large = draw_pose(keypoints * 8, scores, height_px * 8, width_px * 8)
    assert large.shape == (height_px * 8, width_px * 8, 3)
    assert large.any()


def test_frames_drawn_one_after_the_other_are_those_drawn_alone() -> None:
    generator = np.random.default_rng(5)
    keypoints = generator.uniform(-20, 90, (60, 133, 2)).astype(np.float32)
    scores = generator.choice([0, 0.29, 0.3, 0.31, 1], (60, 133)).astype(np.float32)
    keypoints[generator.random((60, 133)) < 0.1] = np.nan
    drawer = PoseDrawer(keypoints, scores, 64, 72)
    for frame in [*range(60), 0]:
        alone = draw_pose(keypoints[[frame]], scores[[frame]], 64, 72)
        np.testing.assert_array_equal(drawer.draw(frame), alone)


@pytest.mark.parametrize(
    ("point", "radius_px", "colour"),
    [(FACE.start, 3, (255, 255, 255)), (LEFT_HAND.start, 4, (0, 0, 255))],
)
@pytest.mark.parametrize("size", [(12, 17), (5, 20), (7, 7)])
def test_a_dot_is_opencvs_circle_wherever_it_lies(
    point: int, radius_px: int, colour: tuple[int, int, int], size: tuple[int, int]
) -> None:
    for x, y in np.ndindex(size[1] + 6, size[0] + 6):
        expected = np.zeros((*size, 3), np.uint8)
        if x >= 1 and y >= 1:
            cv2.circle(expected, (x, y), radius_px, colour, thickness=-1)
        drawn = draw_pose(*one_person({point: (x + 0.5, y + 0.5)}), *size)
        np.testing.assert_array_equal(drawn, expected)
