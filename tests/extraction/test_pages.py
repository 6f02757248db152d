from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tpbench.extraction import pages
from tpbench.extraction.pages import page_share, text_mask

if TYPE_CHECKING:
    from tests.extraction.conftest import MakeTexture


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


def test_a_slide_is_mostly_flat(slide: NDArray[np.uint8]) -> None:
    assert pages.flat_mask(slide).mean() > 0.6


@pytest.mark.parametrize("grey", [0, 16, 24])
def test_black_is_not_flat(grey: int) -> None:
    assert not pages.flat_mask(np.full((90, 160, 3), grey, np.uint8)).any()


def test_a_half_white_picture_is_half_flat() -> None:
    image = np.zeros((100, 200, 3), dtype=np.uint8)
    image[:, 100:] = 255
    assert pages.flat_mask(image).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (176, 144)])
def test_a_photograph_is_neither_flat_nor_text(
    size: tuple[int, int], make_texture: MakeTexture
) -> None:
    image = make_texture(*size)
    assert pages.flat_mask(image).mean() < 0.05
    assert not pages.text_mask(image).any()


@pytest.mark.parametrize("sigma", [0, 1, 3])
def test_noise_is_neither_flat_nor_text(sigma: float) -> None:
    image = np.random.default_rng(1).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    if sigma:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    assert pages.flat_mask(image).mean() < 0.01
    assert pages.text_mask(image).mean() < 0.002


def test_the_lines_of_a_slide_are_text(slide: NDArray[np.uint8]) -> None:
    mask = pages.text_mask(slide)
    assert mask.mean() > 0.05
    rows = np.flatnonzero(mask.any(axis=1)) / mask.shape[0]
    assert rows[0] < 0.2
    assert rows[-1] > 0.7
    assert not mask[: round(0.08 * mask.shape[0])].any()


def test_a_caption_is_found_where_it_stands(make_texture: MakeTexture) -> None:
    image = make_texture(640, 360)
    _write(image, "this is a caption of one line", (40, 330), 0.9)
    mask = pages.text_mask(image)
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
    assert not pages.text_mask(image).any()


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
    assert not pages.text_mask(image).any()


def test_the_same_strokes_in_the_shape_of_a_line_are_text() -> None:
    image = _strokes(slice(100, 116), slice(100, 400, 6), dark=True)
    assert pages.text_mask(image)[101:116, 102:396].mean() > 0.95


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
