from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tpbench.extraction.measures import (
    FRAMES_APART,
    SECONDS_APART,
    lab_thumbnail,
    likeness,
    structure,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.extraction.conftest import MakeTexture


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
