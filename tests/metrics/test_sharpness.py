from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import convolve

from tpbench.metrics.appearance import laplacian_variance


def reference_scipy_laplacian_variance(image: np.ndarray) -> float:
    luma = image @ np.array([0.299, 0.587, 0.114])
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    return float(convolve(luma, kernel, mode="mirror").var())


def noise(height_px: int, width_px: int, *, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


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
