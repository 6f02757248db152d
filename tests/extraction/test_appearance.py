from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tpbench.extraction.measures import hellinger, looks, person_patch, person_region

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.extraction.conftest import MakeTexture

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
