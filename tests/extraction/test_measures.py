from __future__ import annotations

import math
from collections.abc import Callable
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
    page_share,
    person_patch,
    person_region,
    structure,
    text_mask,
)

if TYPE_CHECKING:
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


Image = NDArray[np.uint8]


WIDTH, HEIGHT = 640, 360
PAPER, INK = (250, 248, 240), (20, 20, 40)


def plain(colour: tuple[int, int, int]) -> Image:
    return np.full((HEIGHT, WIDTH, 3), colour, dtype=np.uint8)


def share(image: Image) -> float:
    return page_share(image, text_mask(image))


def with_person(image: Image, texture: Image) -> Image:
    """A person who reaches up from the lower edge, one hand on the hip: the wall shows through."""
    shape = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(shape, (320, 110), (50, 65), 0, 0, 360, 1, -1)
    cv2.ellipse(shape, (320, 340), (130, 170), 0, 180, 360, 1, -1)
    cv2.line(shape, (430, 260), (500, 300), 1, 24)
    cv2.line(shape, (500, 300), (440, 350), 1, 24)
    return np.where(shape[..., None] == 1, texture, image)


def write(image: Image, *lines: str, colour: tuple[int, int, int] = INK) -> Image:
    for number, text in enumerate(lines):
        cv2.putText(image, text, (30, 60 + 50 * number), 0, 0.8, colour, 2, cv2.LINE_AA)
    return image


@pytest.fixture
def texture(make_texture: MakeTexture) -> Image:
    return make_texture(WIDTH, HEIGHT)


BACKGROUNDS = {
    "green": (0, 177, 64),
    "blue": (20, 40, 200),
    "white": (246, 246, 244),
    "wall": (196, 190, 182),
    "black": (3, 3, 3),
}


@pytest.mark.parametrize("colour", BACKGROUNDS.values(), ids=BACKGROUNDS)
def test_a_person_before_a_plain_background_is_no_page(
    colour: tuple[int, int, int], texture: Image
) -> None:
    assert share(with_person(plain(colour), texture)) == 0


def test_a_wall_that_gets_darker_to_one_side_is_no_page(texture: Image) -> None:
    wall = np.linspace(110, 210, WIDTH).astype(np.uint8)[None, :, None]
    assert share(with_person(np.broadcast_to(wall, (HEIGHT, WIDTH, 3)).copy(), texture)) == 0


def test_marks_for_tracking_on_a_green_screen_make_no_page(texture: Image) -> None:
    screen = plain(BACKGROUNDS["green"])
    for x in range(40, WIDTH, 100):
        for y in range(40, HEIGHT, 90):
            cv2.rectangle(screen, (x, y), (x + 12, y + 12), (250, 250, 250), -1)
            cv2.line(screen, (x + 40, y), (x + 56, y), (0, 90, 30), 3)
    assert share(with_person(screen, texture)) == 0


def test_a_sign_on_a_studio_wall_makes_no_page(texture: Image) -> None:
    wall = plain(BACKGROUNDS["wall"])
    cv2.putText(wall, "ACME", (40, 60), 0, 0.7, INK, 2, cv2.LINE_AA)
    assert share(with_person(wall, texture)) == 0


@pytest.mark.parametrize("colour", [(30, 60, 140), (250, 250, 250)])
def test_bars_at_the_sides_and_frames_all_round_are_no_pages(
    colour: tuple[int, int, int], texture: Image
) -> None:
    bars, frame = plain(colour), plain(colour)
    bars[:, 200:440] = texture[:, 200:440]
    frame[60:300, 100:540] = texture[60:300, 100:540]
    assert share(bars) == 0
    assert share(frame) == 0


BULLETS = ("Results of the study", "- one point here", "- another, longer point", "- a third")


@pytest.mark.parametrize(
    ("paper", "ink"), [(PAPER, INK), ((20, 40, 110), (240, 240, 240)), ((35, 35, 40), PAPER)]
)
def test_a_slide_with_the_speaker_in_its_corner_is_a_page(
    paper: tuple[int, int, int], ink: tuple[int, int, int], texture: Image
) -> None:
    slide = write(plain(paper), *BULLETS, colour=ink)
    slide[220:, 440:] = texture[220:, 440:]
    assert share(slide) > 0.6


def test_a_title_alone_makes_a_page() -> None:
    assert share(write(plain(PAPER), "Results of the study")) > 0.8


def test_a_page_beside_the_speaker_counts_as_far_as_it_reaches(texture: Image) -> None:
    slide = write(plain(PAPER), *BULLETS)
    slide[:, 420:] = texture[:, 420:]
    assert 0.45 < share(slide) < 0.66


def test_a_diagram_and_a_chart_are_pages() -> None:
    diagram, chart = plain(PAPER), plain(PAPER)
    for number, height in enumerate((90, 160, 130, 220, 60)):
        x = 40 + 115 * number
        cv2.rectangle(diagram, (x, 120), (x + 80, 180), (90, 140, 200), -1)
        cv2.arrowedLine(diagram, (x + 80, 150), (x + 115, 150), INK, 2)
        cv2.rectangle(chart, (x, 320 - height), (x + 60, 320), (70, 110, 200), -1)
    assert share(diagram) > 0.6
    assert share(chart) > 0.6


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (3, 3)])
def test_the_smallest_pictures_are_measured(size: tuple[int, int]) -> None:
    assert share(np.full((*size, 3), 200, dtype=np.uint8)) == 0
