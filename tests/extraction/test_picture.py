from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tpbench.extraction import measures

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tests.extraction.conftest import MakeTexture

WHOLE = np.array([0, 0, 100000, 100000], dtype=np.float32)


def _write(image: NDArray[np.uint8], text: str, at: tuple[int, int], size: float) -> None:
    """Draw a caption: white with a black edge."""
    for colour, width in (((0, 0, 0), 6), ((255, 255, 255), 2)):
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, width, cv2.LINE_AA)


@pytest.fixture(params=[(640, 360), (1280, 720), (480, 360)], ids=str)
def slide(request: pytest.FixtureRequest) -> NDArray[np.uint8]:
    """A page with a title and four lines."""
    width, height = request.param
    page = np.full((360, 640, 3), 245, dtype=np.uint8)
    cv2.putText(page, "Results of the study", (40, 70), 0, 1.2, (20, 20, 60), 3, cv2.LINE_AA)
    for line in range(4):
        text = f"- point number {line} of the list"
        cv2.putText(page, text, (60, 130 + 50 * line), 0, 0.8, (30, 30, 30), 2, cv2.LINE_AA)
    resized: NDArray[np.uint8] = cv2.resize(page, (width, height), interpolation=cv2.INTER_AREA)
    return resized


def test_a_thumbnail_keeps_the_aspect() -> None:
    assert measures.lab_thumbnail(np.zeros((90, 160, 3), np.uint8)).shape == (36, 64, 3)
    assert measures.lab_thumbnail(np.zeros((1, 500, 3), np.uint8)).shape == (1, 64, 3)
    assert measures.lab_thumbnail(np.zeros((1, 1, 3), np.uint8)).shape == (64, 64, 3)


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


def test_a_slide_is_mostly_flat(slide: NDArray[np.uint8]) -> None:
    assert measures.flat_mask(slide).mean() > 0.6


@pytest.mark.parametrize("grey", [0, 16, 24])
def test_black_is_not_flat(grey: int) -> None:
    assert not measures.flat_mask(np.full((90, 160, 3), grey, np.uint8)).any()


def test_a_half_white_picture_is_half_flat() -> None:
    image = np.zeros((100, 200, 3), dtype=np.uint8)
    image[:, 100:] = 255

    assert measures.flat_mask(image).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (176, 144)])
def test_a_photograph_is_neither_flat_nor_text(
    size: tuple[int, int], make_texture: MakeTexture
) -> None:
    image = make_texture(*size)

    assert measures.flat_mask(image).mean() < 0.05
    assert not measures.text_mask(image).any()


@pytest.mark.parametrize("sigma", [0, 1, 3])
def test_noise_is_neither_flat_nor_text(sigma: float) -> None:
    image = np.random.default_rng(1).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    if sigma:
        image = cv2.GaussianBlur(image, (0, 0), sigma)

    assert measures.flat_mask(image).mean() < 0.01
    assert measures.text_mask(image).mean() < 0.002


def test_the_lines_of_a_slide_are_text(slide: NDArray[np.uint8]) -> None:
    mask = measures.text_mask(slide)

    assert mask.mean() > 0.05
    rows = np.flatnonzero(mask.any(axis=1)) / mask.shape[0]
    assert rows[0] < 0.2
    assert rows[-1] > 0.7
    assert not mask[: round(0.08 * mask.shape[0])].any()


def test_a_caption_is_found_where_it_stands(make_texture: MakeTexture) -> None:
    image = make_texture(640, 360)
    _write(image, "this is a caption of one line", (40, 330), 0.9)

    mask = measures.text_mask(image)

    assert 0.01 < mask.mean() < 0.08
    rows = np.flatnonzero(mask.any(axis=1)) / mask.shape[0]
    assert rows.min() > 300 / 360
    assert rows.max() < 345 / 360


@pytest.mark.parametrize(
    "paint",
    [
        lambda image: cv2.rectangle(image, (100, 50), (500, 300), (255, 255, 255), 4),
        lambda image: cv2.circle(image, (320, 180), 90, (255, 255, 255), -1),
        lambda image: cv2.line(image, (0, 200), (640, 200), (255, 255, 255), 12),
    ],
    ids=["frame", "disc", "table_edge"],
)
def test_bold_shapes_are_no_text(
    paint: Callable[[NDArray[np.uint8]], object], make_texture: MakeTexture
) -> None:
    image = make_texture(640, 360)
    paint(image)

    assert not measures.text_mask(image).any()


def _strokes(rows: slice, columns: slice, *, dark: bool) -> NDArray[np.uint8]:
    """Draw white posts, and black ones between them if so wanted, on grey."""
    image = np.full((270, 480, 3), 128, dtype=np.uint8)
    image[rows, columns] = 255
    if dark:
        image[rows, columns.start + columns.step // 2 : columns.stop : columns.step] = 0
    return image


@pytest.mark.parametrize(
    "image",
    [
        _strokes(slice(60, 200), slice(40, 440, 6), dark=True),
        _strokes(slice(100, 120), slice(200, 224, 6), dark=True),
        _strokes(slice(100, 116), slice(100, 400, 12), dark=False),
    ],
    ids=["blinds_higher_than_text", "a_badge_no_wider_than_high", "a_fence_of_sparse_posts"],
)
def test_strokes_in_another_shape_are_no_text(image: NDArray[np.uint8]) -> None:
    assert not measures.text_mask(image).any()


def test_the_same_strokes_in_the_shape_of_a_line_are_text() -> None:
    image = _strokes(slice(100, 116), slice(100, 400, 6), dark=True)

    assert measures.text_mask(image)[101:116, 102:396].mean() > 0.95


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (3, 3)])
def test_the_smallest_pictures_are_measured_without_a_warning(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 255, dtype=np.uint8)

    assert measures.luminance(image) == pytest.approx(255)
    assert measures.flat_mask(image).all()
    assert not measures.text_mask(image).any()
