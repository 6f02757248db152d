from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.metrics import peak_signal_noise_ratio

from tpbench.metrics.pixels import (
    CAP_DB,
    capped,
    mean_squared_error,
    psnr,
)
from tpbench.video import read_frames

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=12).map(lambda shape: (*shape, 3))
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(arrays(np.uint8, shape), arrays(np.uint8, shape)))


def reference_skimage_psnr(real: np.ndarray, generated: np.ndarray) -> float:
    return float(peak_signal_noise_ratio(real, generated, data_range=255))


def wrapped_psnr(real: np.ndarray, generated: np.ndarray) -> float:
    """The mistake of a published script: difference and square in uint8."""
    difference = real - generated
    return float(10 * np.log10(255**2 / (difference * difference).mean()))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@given(PAIRS)
def test_psnr_equals_scikit_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    real, generated = pair
    assume((real != generated).any())

    value = psnr(real, generated)

    assert value == pytest.approx(reference_skimage_psnr(real, generated), abs=1e-9)
    assert value == psnr(generated, real)
    assert value == psnr(real[..., ::-1], generated[..., ::-1])


@pytest.mark.parametrize("size", [(720, 1280), (33, 97), (1, 1)])
def test_psnr_equals_scikit_image_at_any_size(size: tuple[int, int]) -> None:
    real, generated = noise(*size), noise(*size, seed=1)

    expected = reference_skimage_psnr(real, generated)
    assert psnr(real, generated) == pytest.approx(expected, abs=1e-9)


def test_hand_worked_values() -> None:
    real = np.zeros((10, 10, 3), np.uint8)
    one_off = real.copy()
    one_off[4, 5, 1] = 1

    assert mean_squared_error(real, one_off) == 1 / 300
    assert psnr(real, one_off) == pytest.approx(48.1308 + 24.7712, abs=1e-4)
    assert psnr(real, np.full_like(real, 255)) == 0.0
    assert psnr(real, real.copy()) == math.inf


def test_the_largest_error_of_a_large_picture_is_exact() -> None:
    dark = np.zeros((2160, 3840, 3), np.uint8)

    assert mean_squared_error(dark, ~dark) == 255.0**2


@pytest.mark.shared
def test_differences_of_real_videos_do_not_wrap_around(shared_dir: Path) -> None:
    """Two unrelated talks are 9.43 dB apart over 64 frames; in uint8 it would be 28.28."""
    folder = shared_dir / "data" / "talkingpose_samples"
    found, wrapped = [], []
    pairs = zip(read_frames(folder / "vid1.mp4"), read_frames(folder / "vid3.mp4"), strict=False)
    for real, generated in itertools.islice(pairs, 64):
        found.append(psnr(real.image, generated.image))
        wrapped.append(wrapped_psnr(real.image, generated.image))

    assert np.mean(found) == pytest.approx(9.43, abs=0.005)
    assert np.mean(wrapped) == pytest.approx(28.28, abs=0.005)


def test_one_wrong_value_in_a_large_picture_is_not_better_than_none() -> None:
    real = np.zeros((1200, 1200, 3), np.uint8)
    one_off = real.copy()
    one_off[4, 5, 1] = 1

    assert psnr(real, one_off) > CAP_DB
    assert capped(psnr(real, one_off)) == capped(psnr(real, real)) == CAP_DB


def test_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        psnr(noise(4, 4), noise(4, 5))
