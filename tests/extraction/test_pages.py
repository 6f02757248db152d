from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tpbench.extraction.measures import page_share, text_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.extraction.conftest import MakeTexture

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
