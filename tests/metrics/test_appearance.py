from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import convolve
from skimage.color import rgb2lab

from tpbench.metrics.appearance import colour_shift, lab_statistics, laplacian_variance, rgb_to_lab


def reference_skimage_lab(image: np.ndarray) -> np.ndarray:
    lab: np.ndarray = rgb2lab(image)
    return lab


def noise(height_px: int, width_px: int, *, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


def uniform(red: int, green: int, blue: int) -> np.ndarray:
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (8, 8, 3))


def test_conversion_equals_scikit_image_all_over_the_cube() -> None:
    """Every 5th level of each channel, the darkest ones all."""
    levels = [*range(16), *range(20, 256, 5)]
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).astype(np.uint8)
    image = cube.reshape(-1, len(levels), 3)
    lab = rgb_to_lab(image)
    assert lab.dtype == np.float32
    np.testing.assert_allclose(lab, reference_skimage_lab(image), rtol=0, atol=1e-3)


def test_published_values_of_the_primaries() -> None:
    """sRGB red, green, blue and white, as tables have them (to 0.1)."""
    image = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    expected: list[list[float]] = [
        [53.2, 80.1, 67.2],
        [87.7, -86.2, 83.2],
        [32.3, 79.2, -107.9],
        [100, 0, 0],
    ]
    np.testing.assert_allclose(rgb_to_lab(image)[0], expected, atol=0.1)


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (333, 257), (2, 20000)])
def test_statistics_equal_scikit_image_and_numpy(size: tuple[int, int]) -> None:
    image = noise(*size)
    lab = reference_skimage_lab(image)
    statistics = lab_statistics(image)
    np.testing.assert_allclose(statistics.mean, lab.mean(axis=(0, 1)), rtol=0, atol=1e-3)
    np.testing.assert_allclose(statistics.spread, lab.std(axis=(0, 1)), rtol=0, atol=1e-3)


def test_one_colour_has_no_spread() -> None:
    statistics = lab_statistics(np.full((100, 300, 3), (201, 7, 96), np.uint8))
    np.testing.assert_allclose(statistics.spread, 0, atol=1e-3)


def test_brighter_and_redder_show_with_their_sign() -> None:
    grey = lab_statistics(uniform(100, 100, 100))
    brighter = colour_shift(grey, lab_statistics(uniform(130, 130, 130)))
    redder = colour_shift(grey, lab_statistics(uniform(130, 100, 100)))
    assert brighter.mean[0] > 5
    np.testing.assert_allclose(brighter.mean[1:], 0, atol=1e-2)
    assert redder.mean[1] > 5
    assert brighter.delta_e == pytest.approx(brighter.mean[0], abs=1e-3)
    assert redder.delta_e == pytest.approx(math.hypot(*redder.mean), abs=1e-9)


def test_less_contrast_shows_as_less_spread() -> None:
    image = noise(30, 40)
    paler = (image // 2 + 64).astype(np.uint8)
    shift = colour_shift(lab_statistics(image), lab_statistics(paler))
    assert (shift.spread < 0).all()


@given(st.integers(0, 2**32 - 1))
def test_identical_frames_do_not_shift_and_swapping_turns_the_sign(seed: int) -> None:
    real, generated = (lab_statistics(noise(9, 11, seed=number)) for number in (seed, seed + 1))
    assert colour_shift(real, real).delta_e == 0.0
    there, back = colour_shift(real, generated), colour_shift(generated, real)
    np.testing.assert_array_equal(there.mean, -back.mean)
    np.testing.assert_array_equal(there.spread, -back.spread)


def test_wrong_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="float64"):
        rgb_to_lab(np.zeros((4, 4, 3)))  # type: ignore[arg-type]  # the mistake under test


def reference_scipy_laplacian_variance(image: np.ndarray) -> float:
    luma = image @ np.array([0.299, 0.587, 0.114])
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    return float(convolve(luma, kernel, mode="mirror").var())


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (33, 97), (333, 257), (3, 20000)])
def test_variance_equals_scipy(size: tuple[int, int]) -> None:
    image = noise(*size)
    expected = reference_scipy_laplacian_variance(image)
    assert laplacian_variance(image) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_one_bright_pixel_is_worked_by_hand() -> None:
    """Grey 100 in the middle of 5 x 5: Laplacian -400 once and 100 four times, mean 0."""
    image = np.zeros((5, 5, 3), np.uint8)
    image[2, 2] = 100
    assert laplacian_variance(image) == pytest.approx((400**2 + 4 * 100**2) / 25, rel=1e-12)


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_one_colour_has_no_sharpness_at_all(colour: tuple[int, int, int]) -> None:
    assert laplacian_variance(np.full((12, 9, 3), colour, np.uint8)) == 0.0


@given(st.integers(0, 2**32 - 1))
def test_mirroring_and_turning_change_nothing(seed: int) -> None:
    image = noise(11, 14, seed=seed)
    expected = pytest.approx(laplacian_variance(image), rel=1e-9)
    assert laplacian_variance(np.ascontiguousarray(image[:, ::-1])) == expected
    assert laplacian_variance(np.rot90(image)) == expected


def test_blur_lowers_and_noise_raises_it() -> None:
    real = cv2.GaussianBlur(noise(60, 80), (0, 0), 1)
    blurred = [cv2.GaussianBlur(real, (0, 0), sigma) for sigma in (0.5, 1, 2)]
    grainy = cv2.add(real, noise(60, 80, seed=1) // 4)
    found = [laplacian_variance(image) for image in (grainy, real, *blurred)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.1 * found[1]
