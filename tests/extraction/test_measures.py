from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tpbench.extraction import measures
from tpbench.extraction.measures import (
    FRAMES_APART,
    SECONDS_APART,
    hellinger,
    lab_thumbnail,
    likeness,
    looks,
    person_patch,
    person_region,
    structure,
)
from tpbench.extraction.pages import flat_mask, text_mask

if TYPE_CHECKING:
    from tests.extraction.conftest import MakeTexture


WHOLE = np.array([0, 0, 100000, 100000], dtype=np.float32)


def test_a_thumbnail_keeps_the_aspect() -> None:
    assert measures.lab_thumbnail(np.zeros((90, 160, 3), np.uint8)).shape == (36, 64, 3)
    assert measures.lab_thumbnail(np.zeros((1, 500, 3), np.uint8)).shape == (1, 64, 3)
    assert measures.lab_thumbnail(np.zeros((1, 1, 3), np.uint8)).shape == (64, 64, 3)


@pytest.mark.parametrize(("width", "height"), [(64, 48), (65, 49), (130, 97)])
def test_shrinking_averages_areas(width: int, height: int) -> None:
    """An odd last row or column is left out; of the rest, each pixel is the mean of its area."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    across, down = width // 8, height // 8
    parts = image[: 8 * down, : 8 * across].reshape(down, 8, across, 8, 3)
    small = measures.shrunk(image[: 8 * down + 1, : 8 * across + 1], (across, down))
    # Halving rounds half a level up, so the mean of sixteen halves is a quarter of a level off.
    assert np.abs(small - parts.mean(axis=(1, 3))).max() <= 1.0


@pytest.mark.parametrize("size_px", [(64, 64), (100, 80), (180, 110)])
def test_shrinking_hardly_differs_from_averaging(
    size_px: tuple[int, int], make_texture: MakeTexture
) -> None:
    image = cv2.GaussianBlur(make_texture(320, 200), (0, 0), 2)
    exact = cv2.resize(image, size_px, interpolation=cv2.INTER_AREA)
    assert np.abs(measures.shrunk(image, size_px).astype(float) - exact).mean() < 1.0


def test_the_distance_of_black_and_white_is_a_third_of_255() -> None:
    """They differ by 255 in L and not at all in a and b."""
    black, white = (
        measures.lab_thumbnail(np.full((20, 20, 3), grey, np.uint8)) for grey in (0, 255)
    )
    assert measures.lab_distance(black, white) == pytest.approx(85, abs=0.5)
    assert measures.lab_distance(black, black) == 0


@pytest.mark.parametrize(
    ("colour", "luma"),
    [((255, 0, 0), 76.2), ((0, 255, 0), 149.7), ((0, 0, 255), 29.1), ((255, 255, 255), 255)],
)
def test_luminance_weighs_the_colours(colour: tuple[int, int, int], luma: float) -> None:
    assert measures.luminance(np.full((5, 7, 3), colour, np.uint8)) == pytest.approx(luma, abs=0.1)


def test_sharpness_falls_with_every_blur(make_texture: MakeTexture) -> None:
    image = make_texture(400, 400)
    blurred = [image, *(cv2.GaussianBlur(image, (0, 0), sigma) for sigma in (1, 2, 4, 8))]
    values = [measures.sharpness(one, WHOLE, side_px=128) for one in blurred]
    assert all(sharper > 1.2 * softer for sharper, softer in pairwise(values))


@pytest.mark.parametrize("factor", [0.5, 1.5, 2])
def test_sharpness_is_about_the_same_at_any_size_above_the_patch(
    factor: float, make_texture: MakeTexture
) -> None:
    image = make_texture(512, 512)
    resized = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    assert measures.sharpness(resized, WHOLE, side_px=128) == pytest.approx(
        measures.sharpness(image, WHOLE, side_px=128), rel=0.25
    )


def test_a_small_face_blown_up_counts_as_blurred(make_texture: MakeTexture) -> None:
    image = make_texture(256, 256)
    blown_up = cv2.resize(cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA), (256, 256))
    assert (
        measures.sharpness(blown_up, WHOLE, side_px=128)
        < measures.sharpness(image, WHOLE, side_px=128) / 3
    )


def test_a_darker_picture_is_about_as_sharp(make_texture: MakeTexture) -> None:
    image = make_texture(256, 256)
    assert measures.sharpness(image // 2, WHOLE, side_px=128) == pytest.approx(
        measures.sharpness(image, WHOLE, side_px=128), rel=0.25
    )


def test_sharpness_looks_at_the_box_alone(make_texture: MakeTexture) -> None:
    image = np.full((200, 400, 3), 90, dtype=np.uint8)
    image[:, 200:] = make_texture(200, 200)
    assert measures.sharpness(image, np.array([0, 0, 190, 200]), side_px=64) == 0
    assert measures.sharpness(image, np.array([210, 0, 400, 200]), side_px=64) > 0


def test_a_box_over_the_border_is_clipped(make_texture: MakeTexture) -> None:
    image = make_texture(100, 100)
    over = measures.sharpness(image, np.array([60.0, 60, 300, 300]), side_px=64)
    assert over == measures.sharpness(image, np.array([60.0, 60, 100, 100]), side_px=64)


@pytest.mark.parametrize(
    "box",
    [
        (200, 10, 300, 50),
        (-90, 10, -20, 50),
        (10, 10, 13, 50),
        (50, 50, 10, 10),
        (math.nan,) * 4,
    ],
    ids=["right", "left", "narrow", "inside_out", "unknown"],
)
def test_a_box_without_a_picture_has_no_sharpness(box: tuple[float, ...]) -> None:
    image = np.zeros((100, 100, 3), dtype=np.uint8)
    assert math.isnan(measures.sharpness(image, np.array(box), side_px=64))


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (3, 3)])
def test_the_smallest_pictures_are_measured_without_a_warning(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 255, dtype=np.uint8)
    assert measures.luminance(image) == pytest.approx(255)
    assert flat_mask(image).all()
    assert not text_mask(image).any()


BOX = np.array([140, 60, 180, 100], dtype=np.float32)


def _person(shirt: tuple[int, int, int], *, wall: int = 90) -> NDArray[np.uint8]:
    """Paint a face in BOX and a shirt below it, before a grey wall: (240, 320, 3)."""
    image = np.full((240, 320, 3), wall, dtype=np.uint8)
    image[60:100, 140:180] = (200, 160, 140)
    image[100:, 110:210] = shirt
    return image


def _looks(image: NDArray[np.uint8], box: NDArray[np.float32] = BOX) -> NDArray[np.float32]:
    patch = person_patch(image, box)
    assert patch is not None
    return looks(patch)


def test_the_region_is_head_and_chest() -> None:
    np.testing.assert_allclose(person_region(BOX), [112, 40, 208, 180], atol=1e-9)


def test_the_same_picture_looks_the_same() -> None:
    assert hellinger(_looks(_person((180, 20, 30))), _looks(_person((180, 20, 30)))) < 0.001


def test_a_person_who_moves_or_comes_closer_looks_the_same() -> None:
    image = _person((180, 20, 30))
    moved = np.roll(image, (20, -50), axis=(0, 1))
    closer = cv2.resize(image, None, fx=1.5, fy=1.5)
    there = _looks(moved, BOX + np.array([-50, 20, -50, 20], dtype=np.float32))
    near = _looks(closer, BOX * np.float32(1.5))
    assert hellinger(_looks(image), there) < 0.1
    assert hellinger(_looks(image), near) < 0.1


def test_a_little_less_light_is_less_of_a_change_than_another_shirt() -> None:
    red = _looks(_person((180, 20, 30)))
    dimmed = _looks((_person((180, 20, 30)) * 0.9).astype(np.uint8))
    blue = _looks(_person((20, 30, 160)))
    assert hellinger(red, dimmed) < 0.5
    assert hellinger(red, blue) > 0.65


def test_no_bin_edge_makes_a_small_change_of_light_a_large_one() -> None:
    greys = [_looks(np.full((240, 320, 3), grey, dtype=np.uint8)) for grey in range(40, 240, 4)]
    assert max(hellinger(first, second) for first, second in pairwise(greys)) < 0.6


def test_another_person_before_another_wall_shares_little() -> None:
    assert (
        hellinger(_looks(_person((180, 20, 30))), _looks(_person((20, 30, 160), wall=200))) > 0.75
    )


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255)])
def test_the_loudest_colours_count(colour: tuple[int, int, int]) -> None:
    """Stage light fills a picture with them: two people in it must not differ for that."""
    looks = _looks(np.full((240, 320, 3), colour, dtype=np.uint8))
    assert looks.sum() == pytest.approx(1, abs=1e-5)
    assert hellinger(looks, looks) < 0.001


def test_looks_are_a_histogram(make_texture: MakeTexture) -> None:
    looks = _looks(make_texture(320, 240))
    assert looks.shape == (384,)
    assert looks.dtype == np.float32
    assert looks.min() >= 0
    assert looks.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "box", [(-400, 0, -360, 40), (900, 0, 940, 40), (100, 800, 140, 840), (50, 50, 50, 50)]
)
def test_a_face_off_the_picture_has_no_looks(box: tuple[int, ...]) -> None:
    assert person_patch(_person((1, 2, 3)), np.array(box, dtype=np.float32)) is None


def test_a_person_half_out_of_the_picture_has_looks() -> None:
    assert person_patch(_person((1, 2, 3)), np.array([-20, 60, 20, 100], np.float32)) is not None


def test_a_picture_of_one_pixel_has_no_looks() -> None:
    assert person_patch(np.zeros((1, 1, 3), np.uint8), np.array([0, 0, 1, 1], np.float32)) is None


_histograms = arrays(np.float64, 12, elements=st.floats(0.01, 1)).map(lambda h: h / h.sum())


@given(_histograms, _histograms)
def test_hellinger_is_a_distance_up_to_one(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> None:
    distance = hellinger(first, second)
    assert 0 <= distance <= 1
    assert distance == pytest.approx(hellinger(second, first))
    assert hellinger(first, first) < 1e-6
    expected = np.sqrt(((np.sqrt(first) - np.sqrt(second)) ** 2).sum() / 2)
    assert distance == pytest.approx(expected, abs=1e-6)


def test_histograms_that_share_nothing_are_at_one() -> None:
    assert hellinger(np.array([1.0, 0]), np.array([0, 1.0])) == 1


def alike(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    return likeness(*(structure(lab_thumbnail(image)) for image in (first, second)))


@pytest.fixture
def scene(make_texture: MakeTexture) -> NDArray[np.uint8]:
    return make_texture(256, 192) // 2 + 40


@pytest.mark.parametrize("gain", [0.3, 0.6, 1.0, 1.5])
def test_a_scene_in_another_light_is_the_same_scene(gain: float, scene: NDArray[np.uint8]) -> None:
    assert alike(scene, (scene * gain).clip(0, 255).astype(np.uint8)) > FRAMES_APART


def test_a_scene_moved_a_little_is_the_same_scene(make_texture: MakeTexture) -> None:
    wide = make_texture(280, 192)
    assert alike(wide[:, :256], wide[:, 16:272]) > 0.8


@pytest.mark.parametrize("seed", range(1, 6))
def test_two_scenes_are_not_one(
    seed: int, scene: NDArray[np.uint8], make_texture: MakeTexture
) -> None:
    assert alike(scene, make_texture(256, 192, seed=seed)) < SECONDS_APART


@pytest.mark.parametrize("level", [0, 60, 255])
def test_a_picture_without_shapes_is_no_scene(level: int, scene: NDArray[np.uint8]) -> None:
    empty = np.full_like(scene, level)
    assert alike(scene, empty) == alike(empty, scene) == alike(empty, empty) == 0


@pytest.mark.parametrize("size", [(1, 1), (2, 256)])
def test_the_narrowest_pictures_tell_nothing(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert alike(image, image) == 0
