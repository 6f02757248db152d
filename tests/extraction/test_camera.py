from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tpbench.extraction.camera import CameraShift

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.extraction.conftest import MakeTexture

WIDTH, HEIGHT = 640, 360
DIAGONAL = math.hypot(WIDTH, HEIGHT)


@pytest.fixture
def wall(make_texture: MakeTexture) -> NDArray[np.uint8]:
    """A busy background, larger than the picture by 160 px on all sides."""
    return make_texture(WIDTH + 320, HEIGHT + 320)


def _view(wall: NDArray[np.uint8], dx: float, dy: float) -> NDArray[np.uint8]:
    """Look at the wall `dx`, `dy` px right and down of its middle part."""
    centre = (160 + dx + (WIDTH - 1) / 2, 160 + dy + (HEIGHT - 1) / 2)
    view: NDArray[np.uint8] = cv2.getRectSubPix(wall, (WIDTH, HEIGHT), centre)
    return view


@pytest.mark.parametrize(
    ("dx", "dy"), [(1, 0), (0.5, 0.5), (4, 0), (-4, 3), (0, 7), (10, -5), (20, 10), (40, 0)]
)
def test_a_known_shift_is_measured(dx: float, dy: float, wall: NDArray[np.uint8]) -> None:
    camera = CameraShift()

    shifts = [camera.push(_view(wall, k * dx, k * dy), None) for k in range(4)]

    assert math.isnan(shifts[0])
    assert shifts[1:] == pytest.approx([math.hypot(dx, dy) / DIAGONAL] * 3, rel=0.1)


@pytest.mark.parametrize("factor", [0.5, 2])
def test_the_share_does_not_depend_on_the_size_of_the_picture(
    factor: float, wall: NDArray[np.uint8]
) -> None:
    camera = CameraShift()

    views = [cv2.resize(_view(wall, x, 0), None, fx=factor, fy=factor) for x in (0, 8)]
    shifts = [camera.push(view, None) for view in views]

    assert shifts[1] == pytest.approx(8 / DIAGONAL, rel=0.1)


@pytest.mark.parametrize("seen_frames", [6, 1])
def test_a_person_who_walks_past_a_still_background_moves_no_camera(
    seen_frames: int, wall: NDArray[np.uint8], make_texture: MakeTexture
) -> None:
    person, camera = make_texture(150, 300, seed=5), CameraShift()

    shifts = []
    for k in range(6):
        image, x = _view(wall, 0, 0), 200 + 12 * k
        image[60:, x : x + 150] = person
        box = np.array([x + 45, 80, x + 105, 150], dtype=np.float32)
        shifts.append(camera.push(image, box if k < seen_frames else None))

    assert max(shifts[1:]) < 0.1 / DIAGONAL


def test_a_pan_behind_a_person_who_fills_the_middle_is_measured(
    wall: NDArray[np.uint8], make_texture: MakeTexture
) -> None:
    """The person stands still in the picture, as when the camera follows: only the wall counts."""
    person, camera = make_texture(300, 340, seed=5), CameraShift()
    box = np.array([285, 60, 355, 140], dtype=np.float32)

    shifts = []
    for k in range(3):
        image = _view(wall, 6 * k, 0)
        image[20:, 170:470] = person
        shifts.append(camera.push(image, box))

    assert shifts[1:] == pytest.approx([6 / DIAGONAL] * 2, rel=0.1)


def test_a_plain_wall_tells_nothing() -> None:
    camera, image = CameraShift(), np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)

    assert all(math.isnan(camera.push(image, None)) for _ in range(3))


def test_a_face_that_leaves_no_background_tells_nothing(wall: NDArray[np.uint8]) -> None:
    camera, box = CameraShift(), np.array([150, 50, 490, 350], dtype=np.float32)

    assert all(math.isnan(camera.push(_view(wall, k, 0), box)) for k in range(3))


@pytest.mark.parametrize(
    "box", [(-900, -900, -800, -800), (5000, 10, 5100, 200), (-30, 100, 40, 200)]
)
def test_a_face_at_or_beyond_the_border_is_no_trouble(
    box: tuple[int, ...], wall: NDArray[np.uint8]
) -> None:
    camera = CameraShift()

    shifts = [camera.push(_view(wall, x, 0), np.array(box, dtype=np.float32)) for x in (0, 5)]

    assert shifts[1] == pytest.approx(5 / DIAGONAL, rel=0.1)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_the_smallest_pictures_tell_nothing_and_raise_nothing(size: tuple[int, int]) -> None:
    camera, image = CameraShift(), np.full((*size, 3), 90, dtype=np.uint8)

    assert all(math.isnan(camera.push(image, None)) for _ in range(2))
