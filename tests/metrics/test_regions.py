from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tpbench.metrics.pose import REGIONS, Box, Region, region_box, region_crop, region_scores
from tpbench.video import read_frames
from tpbench.wholebody import FACE, LEFT_HAND, RIGHT_HAND

WIDTH_PX, HEIGHT_PX = 640, 480


def box_of(
    region: Region,
    keypoints: np.ndarray,
    scores: np.ndarray,
    size_px: tuple[int, int] = (WIDTH_PX, HEIGHT_PX),
) -> Box | None:
    return region_box(region, keypoints, scores, width_px=size_px[0], height_px=size_px[1])


def nobody() -> tuple[np.ndarray, np.ndarray]:
    return np.full((133, 2), np.nan, np.float32), np.zeros(133, np.float32)


def spread(
    part: slice, x0: float, y0: float, x1: float, y1: float
) -> tuple[np.ndarray, np.ndarray]:
    """A pose of which only this part is seen, along the diagonal of a box."""
    keypoints, scores = nobody()
    keypoints[part] = np.linspace((x0, y0), (x1, y1), part.stop - part.start)
    scores[part] = 0.9
    return keypoints, scores


def noise(height_px: int, width_px: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


def test_a_face_is_grown_by_a_quarter_of_its_longer_side_and_made_square() -> None:
    pose = spread(FACE, 200, 100, 260, 180)
    # 60 x 80 around (230, 140): a side of 80 + 2 * 20, from the pixel edge at 230.5 - 60.
    assert box_of("face", *pose) == Box(171, 81, 291, 201)


@pytest.mark.parametrize("region", ["hand_left", "hand_right"])
def test_each_hand_has_its_own_box(region: Region) -> None:
    pose = spread(REGIONS[region], 300, 200, 340, 230)
    found = {other: box for other in REGIONS if (box := box_of(other, *pose)) is not None}
    assert found == {region: Box(291, 186, 351, 246)}


def test_a_box_at_the_edge_is_pushed_inwards_and_stays_square() -> None:
    bottom_right = box_of("hand_left", *spread(LEFT_HAND, 600, 440, 639, 479))
    top_left = box_of("hand_left", *spread(LEFT_HAND, 0, 0, 40, 40))
    assert bottom_right == Box(581, 421, 640, 480)
    assert top_left == Box(0, 0, 60, 60)


def test_a_box_sits_on_its_points_to_half_a_pixel() -> None:
    pose = spread(LEFT_HAND, 300, 200.25, 340.5, 241)
    # 61.1 and so 62 px around (320.25, 220.625): from 289.75 and 190.125, to the nearest edge.
    assert box_of("hand_left", *pose) == Box(290, 190, 352, 252)


def test_a_face_larger_than_the_picture_fills_it() -> None:
    pose = spread(FACE, 50, 10, 550, 470)
    assert box_of("face", *pose) == Box(0, 0, 640, 480)


@pytest.mark.parametrize(("region", "needed"), [("face", 34), ("hand_left", 11)])
def test_half_of_the_points_must_be_seen(region: Region, needed: int) -> None:
    part = REGIONS[region]
    keypoints, scores = spread(part, 200, 100, 260, 160)
    scores[part.start + needed : part.stop] = 0.3
    assert box_of(region, keypoints, scores) is not None
    scores[part.start + needed - 1] = 0.3
    assert box_of(region, keypoints, scores) is None


def test_doubtful_points_and_those_outside_the_picture_do_not_widen_the_box() -> None:
    keypoints, scores = spread(LEFT_HAND, 300, 200, 340, 240)
    expected = box_of("hand_left", keypoints, scores)
    keypoints[95], scores[95] = (100, 100), 0.2
    keypoints[96] = (641, 220)
    keypoints[97] = np.nan
    assert box_of("hand_left", keypoints, scores) == expected


def test_a_box_below_16_px_is_none() -> None:
    def box(side_px: float) -> Box | None:
        pose = spread(RIGHT_HAND, 300, 200, 300 + side_px, 200)
        return box_of("hand_right", *pose)

    assert box(10.1) == Box(298, 193, 314, 209)
    assert box(10) is None
    assert box_of("hand_right", *spread(RIGHT_HAND, 300, 5, 340, 5), (640, 15)) is None


@given(
    st.lists(
        st.tuples(st.floats(-0.5, WIDTH_PX - 0.5), st.floats(-0.5, HEIGHT_PX - 0.5)),
        min_size=21,
        max_size=21,
    )
)
def test_a_box_lies_in_the_picture_and_holds_every_point(points: list[tuple[float, float]]) -> None:
    keypoints, scores = nobody()
    keypoints[LEFT_HAND], scores[LEFT_HAND] = points, 1.0

    box = box_of("hand_left", keypoints, scores)

    longer_px = np.ptp(keypoints[LEFT_HAND].astype(float), axis=0).max()
    if box is None:
        assert 1.5 * longer_px <= 15
        return
    assert box.right_px <= WIDTH_PX
    assert box.bottom_px <= HEIGHT_PX
    low, high = keypoints[LEFT_HAND].min(axis=0), keypoints[LEFT_HAND].max(axis=0)
    assert (low >= np.array([box.left_px, box.top_px]) - 0.5).all()
    assert (high <= np.array([box.right_px, box.bottom_px]) - 0.5).all()
    side_px = math.ceil(1.5 * longer_px)
    assert box.right_px - box.left_px == min(side_px, WIDTH_PX)
    assert box.bottom_px - box.top_px == min(side_px, HEIGHT_PX)


@given(st.integers(-100, 100), st.integers(-100, 100))
def test_a_box_moves_with_the_points(dx: int, dy: int) -> None:
    keypoints, scores = spread(LEFT_HAND, 300, 200.5, 340, 240.75)
    still = box_of("hand_left", keypoints, scores)
    moved = box_of("hand_left", keypoints + np.array([dx, dy], np.float32), scores)
    assert still is not None
    left_px, top_px, right_px, bottom_px = still
    assert moved == (left_px + dx, top_px + dy, right_px + dx, bottom_px + dy)


def test_scores_are_those_of_scikit_image_inside_the_box() -> None:
    real, generated = noise(60, 90), noise(60, 90, seed=1)
    box = Box(11, 7, 52, 40)
    pieces = real[7:40, 11:52], generated[7:40, 11:52]

    found = region_scores(real, generated, box)

    psnr_db = peak_signal_noise_ratio(*pieces, data_range=255)
    reference_skimage_ssim = structural_similarity(
        *pieces,
        channel_axis=-1,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert found[0] == pytest.approx(psnr_db, abs=1e-9)
    assert found[1] == pytest.approx(reference_skimage_ssim, abs=1e-6)


def test_only_what_lies_in_the_box_counts() -> None:
    real, box = noise(40, 50), Box(10, 12, 30, 32)
    outside = np.ones((40, 50), bool)
    outside[12:32, 10:30] = False
    generated = real.copy()
    generated[outside] = ~generated[outside]
    assert list(region_scores(real, generated, box)) == pytest.approx([math.inf, 1], abs=1e-6)
    for y, x in itertools.product((12, 31), (10, 29)):
        corner = real.copy()
        corner[y, x] ^= 0x80
        assert region_scores(real, corner, box)[0] < math.inf


def test_a_crop_of_the_box_at_its_own_size_is_a_copy() -> None:
    image, box = noise(200, 300), Box(100, 50, 228, 178)
    crop = region_crop(image, box)
    np.testing.assert_array_equal(crop, image[50:178, 100:228])
    assert not np.shares_memory(crop, image)


def test_a_large_box_is_shrunk_by_area() -> None:
    image, box = noise(300, 300), Box(20, 30, 276, 286)
    crop = region_crop(image, box)
    blocks = image[30:286, 20:276].reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
    assert np.abs(crop - blocks).max() <= 0.5


def test_a_small_box_is_blown_up_bilinearly() -> None:
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 21:] = 200
    box = Box(20, 0, 22, 2)
    crop = region_crop(image, box, side_px=4)
    np.testing.assert_array_equal(crop[0, :, 0], [0, 50, 150, 200])
    assert crop.shape == (4, 4, 3)


def test_a_box_that_grows_one_way_and_shrinks_the_other_is_bilinear() -> None:
    image = np.zeros((2, 12, 3), np.uint8)
    image[:, 1::3] = 90  # in the middle of each third column: the mean by area would be 30
    crop = region_crop(image, Box(0, 0, 12, 2), side_px=4)
    np.testing.assert_array_equal(crop, 90)


@pytest.mark.parametrize(("width_px", "height_px"), [(16, 16), (129, 640), (400, 20)])
def test_every_crop_has_one_size(width_px: int, height_px: int) -> None:
    box = Box(0, 0, width_px, height_px)
    crop = region_crop(noise(640, 640), box)
    assert crop.shape == (128, 128, 3)
    assert crop.dtype == np.uint8


@pytest.mark.parametrize("edges", [(51, 40), (50, 41)])
def test_a_box_over_the_edge_is_refused(edges: tuple[int, int]) -> None:
    image = noise(40, 50)
    box = Box(0, 0, edges[0], edges[1])
    with pytest.raises(ValueError, match="over the edge of a picture of 50 x 40 px"):
        region_scores(image, image, box)
    with pytest.raises(ValueError, match="over the edge"):
        region_crop(image, box)


def test_what_is_no_picture_or_no_pair_is_refused() -> None:
    box = Box(0, 0, 16, 16)
    with pytest.raises(ValueError, match="one size"):
        region_scores(noise(20, 20), noise(20, 21), box)
    with pytest.raises(ValueError, match="uint8"):
        region_crop(noise(20, 20).astype(np.float32), box)


@pytest.mark.shared
def test_face_and_hands_of_a_talk_are_in_their_boxes(shared_dir: Path) -> None:
    from tpbench.detectors.base import build_suite

    suite = build_suite(skeleton="mediapipe", device="cpu", offline=False)
    video = shared_dir / "data" / "talkingpose_samples" / "vid1.mp4"
    (frame,) = itertools.islice(read_frames(video), 1)
    person = suite.detect([frame])[0].people[0]
    suite.close()
    pose = person.keypoints_px, person.scores

    boxes = [box_of(region, *pose, (512, 512)) for region in REGIONS]

    # Face below the hairline, left hand, right hand: outlined by eye in a print of the frame.
    outlines = [(243, 58, 330, 158), (239, 241, 305, 304), (158, 243, 206, 300)]
    for box, (x0, y0, x1, y1) in zip(boxes, outlines, strict=True):
        assert box is not None
        assert box.left_px <= x0
        assert box.top_px <= y0
        assert box.right_px >= x1
        assert box.bottom_px >= y1
        assert box.right_px - box.left_px <= 2 * max(x1 - x0, y1 - y0)
