from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from tpbench.metrics.pixels import disco_ssim, ssim
from tpbench.video import read_frames

if TYPE_CHECKING:
    from pathlib import Path

Pair = tuple[np.ndarray, np.ndarray]


def reference_skimage_ssim(real: np.ndarray, generated: np.ndarray) -> float:
    return float(
        structural_similarity(
            real,
            generated,
            channel_axis=-1,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def reference_skimage_grey_ssim(real: np.ndarray, generated: np.ndarray) -> float:
    """As the evaluation of the TikTok tables has it: OpenCV's BGR, its grey, the defaults."""
    grey = [cv2.cvtColor(image[..., ::-1], cv2.COLOR_BGR2GRAY) for image in (real, generated)]
    return float(structural_similarity(*grey))


def noise(height_px: int, width_px: int, *, levels: int = 256, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, levels, (height_px, width_px, 3), dtype=np.uint8)


def halves(level: int) -> np.ndarray:
    picture = np.zeros((150, 160, 3), np.uint8)
    picture[:, 80:] = level
    return picture


def smooth(seed: int) -> np.ndarray:
    blurred = cv2.GaussianBlur(noise(150, 200, seed=seed).astype(np.float32), (0, 0), 6)
    picture: np.ndarray = np.clip((blurred - 127.5) * 8 + 127.5, 0, 255).astype(np.uint8)
    return picture


CASES: dict[str, Pair] = {
    "random": (noise(120, 130), noise(120, 130, seed=1)),
    "near-constant 250 and 251": (
        np.full((90, 100, 3), 250, np.uint8),
        np.full((90, 100, 3), 251, np.uint8),
    ),
    "near-constant, noisy": (
        250 + noise(90, 100, levels=2),
        250 + noise(90, 100, levels=2, seed=1),
    ),
    "black and white halves, noisy": (
        halves(249) + noise(150, 160, levels=6),
        halves(249) + noise(150, 160, levels=6, seed=1),
    ),
    "black and white halves, opposed": (
        halves(250) + (opposed := noise(150, 160, levels=6)),
        halves(250) + (5 - opposed),
    ),
    "smooth and noisy": (picture := smooth(0), cv2.add(picture, noise(150, 200, levels=20))),
    "smooth and blurred": (picture, cv2.GaussianBlur(picture, (0, 0), 2)),
    "odd size": (noise(97, 33), noise(97, 33, seed=1)),
    "more than one tile each way": (noise(150, 530), noise(150, 530, seed=1)),
    "one row over a tile": (noise(75, 523), noise(75, 523, seed=1)),
    "11 px": (noise(11, 11), noise(11, 11, seed=1)),
    "11 px high": (noise(11, 300), noise(11, 300, seed=1)),
}


@pytest.mark.parametrize("name", CASES)
def test_ssim_equals_scikit_image(name: str) -> None:
    real, generated = CASES[name]

    assert ssim(real, generated) == pytest.approx(reference_skimage_ssim(real, generated), abs=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_disco_ssim_equals_scikit_images_grey_default(name: str) -> None:
    real, generated = CASES[name]

    expected = reference_skimage_grey_ssim(real, generated)
    assert disco_ssim(real, generated) == pytest.approx(expected, abs=1e-6)


def test_flat_cards_far_apart_are_the_worst_case() -> None:
    real, generated = np.zeros((2, 100, 120, 3), np.uint8)
    generator = np.random.default_rng(0)
    for _ in range(20):
        for picture in (real, generated):
            picture[:50], picture[50:] = generator.integers(0, 256, 2)
            picture[:, 60:] = generator.integers(0, 256)

        expected = reference_skimage_ssim(real, generated)
        assert ssim(real, generated) == pytest.approx(expected, abs=2.5e-5)


@pytest.mark.shared
def test_ssim_equals_scikit_image_on_real_pictures(shared_dir: Path) -> None:
    path = shared_dir / "data" / "talkingpose_samples" / "vid1.mp4"
    first, later = (frame.image for frame in read_frames(path, start_frame=200, end_frame=202))

    for generated in (later, cv2.GaussianBlur(first, (0, 0), 2), cv2.add(first, 12)):
        expected = reference_skimage_ssim(first, generated)
        assert ssim(first, generated) == pytest.approx(expected, abs=1e-6)
        expected_grey = reference_skimage_grey_ssim(first, generated)
        assert disco_ssim(first, generated) == pytest.approx(expected_grey, abs=1e-9)


@given(st.integers(11, 40), st.integers(11, 40), st.integers(0, 2**32 - 1), st.integers(1, 256))
def test_ssim_has_its_range_and_no_preferred_order(
    height_px: int, width_px: int, seed: int, levels: int
) -> None:
    real = noise(height_px, width_px, levels=levels, seed=seed)
    generated = noise(height_px, width_px, seed=seed + 1)

    for metric in (ssim, disco_ssim):
        value = metric(real, generated)

        assert -1 <= value <= 1
        assert metric(generated, real) == pytest.approx(value, abs=1e-6)
        assert metric(real, real.copy()) == 1.0
        # Mirroring, turning and BGR move windows and channels, nothing else.
        assert metric(real[:, ::-1], generated[:, ::-1]) == pytest.approx(value, abs=1e-6)
        assert metric(np.rot90(real), np.rot90(generated)) == pytest.approx(value, abs=1e-6)
    assert ssim(real[..., ::-1], generated[..., ::-1]) == pytest.approx(
        ssim(real, generated), abs=1e-6
    )


def test_constant_pictures_are_worked_by_hand() -> None:
    """No variance: SSIM = (2 x y + C1) / (x^2 + y^2 + C1), C1 = 6.5025."""
    real, generated = np.full((20, 20, 3), 100, np.uint8), np.full((20, 20, 3), 50, np.uint8)
    expected = (2 * 100 * 50 + 6.5025) / (100**2 + 50**2 + 6.5025)

    assert ssim(real, generated) == pytest.approx(expected, abs=1e-6)
    assert disco_ssim(real, generated) == pytest.approx(expected, abs=1e-12)


def test_a_border_of_five_px_counts_only_through_its_neighbours() -> None:
    """Windows must lie inside: the corner pixel is seen by one window only, and hardly."""
    real = np.full((40, 40, 3), 128, np.uint8)
    generated = real.copy()
    generated[0, 0] = 255

    assert ssim(real, generated) == pytest.approx(1.0, abs=1e-6)
    assert ssim(real[:11, :11], generated[:11, :11]) < ssim(real, generated)


@pytest.mark.parametrize(("metric", "side_px"), [(ssim, 11), (disco_ssim, 7)])
def test_pictures_smaller_than_the_window_are_refused(metric: object, side_px: int) -> None:
    assert callable(metric)
    metric(noise(side_px, side_px), noise(side_px, side_px))

    told = rf"at least {side_px} x {side_px} px.*are {side_px - 1} x {side_px + 4}"
    with pytest.raises(ValueError, match=told):
        metric(noise(side_px + 4, side_px - 1), noise(side_px + 4, side_px - 1))


def test_colour_alone_is_invisible_to_the_grey_variant() -> None:
    """(120, 60, 60) and (30, 106, 60) have one luma."""
    real, generated = np.zeros((2, 20, 20, 3), np.uint8)
    real[:], generated[:] = (120, 60, 60), (30, 106, 60)

    assert disco_ssim(real, generated) == 1.0
    assert ssim(real, generated) < 0.9
