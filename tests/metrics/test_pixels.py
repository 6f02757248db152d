from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import convolve
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tpbench.metrics.pixels import (
    CAP_DB,
    capped,
    check_pair,
    check_picture,
    colour_shift,
    disco_l1,
    disco_ssim,
    lab_statistics,
    laplacian_variance,
    mean_absolute_error,
    mean_squared_error,
    psnr,
    rgb_to_lab,
    row_strips,
    ssim,
)
from tpbench.video import read_frames


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused_with_what_came(image: np.ndarray) -> None:
    good = np.zeros((4, 4, 3), np.uint8)
    told = rf"generated one is {image.shape} {image.dtype}".replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=told):
        check_picture(image, "generated")
    with pytest.raises(ValueError, match=told):
        check_pair(good, image)
    with pytest.raises(ValueError, match="the real one is"):
        check_pair(image, good)


def test_a_pair_of_two_sizes_is_refused_with_both() -> None:
    with pytest.raises(ValueError, match=r"real one is \(4, 6, 3\), the generated one \(6, 4, 3\)"):
        check_pair(np.zeros((4, 6, 3), np.uint8), np.zeros((6, 4, 3), np.uint8))


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 300))
def test_strips_cover_each_row_once_and_hold_no_more_than_asked(
    height_px: int, width_px: int, values: int
) -> None:
    image = np.zeros((height_px, width_px, 3), np.uint8)
    strips = list(row_strips(image, values=values))
    assert [row for s in strips for row in range(s.start, s.stop)] == list(range(height_px))
    assert all(image[s].size <= max(values, 3 * width_px) for s in strips)
    assert len({s.stop - s.start for s in strips[:-1]}) <= 1


@pytest.mark.parametrize("metric", [psnr, ssim, disco_ssim, mean_absolute_error, disco_l1])
def test_every_metric_refuses_two_sizes(metric: Callable[..., float]) -> None:
    with pytest.raises(ValueError, match="one size"):
        metric(np.zeros((14, 14, 3), np.uint8), np.zeros((14, 15, 3), np.uint8))


SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=12).map(lambda shape: (*shape, 3))
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(arrays(np.uint8, shape), arrays(np.uint8, shape)))


def reference_skimage_psnr(real: np.ndarray, generated: np.ndarray) -> float:
    return float(peak_signal_noise_ratio(real, generated, data_range=255))


def noise(height_px: int, width_px: int, *, levels: int = 256, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, levels, (height_px, width_px, 3), dtype=np.uint8)


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


def test_one_wrong_value_in_a_large_picture_is_not_better_than_none() -> None:
    real = np.zeros((1200, 1200, 3), np.uint8)
    one_off = real.copy()
    one_off[4, 5, 1] = 1
    assert psnr(real, one_off) > CAP_DB
    assert capped(psnr(real, one_off)) == capped(psnr(real, real)) == CAP_DB


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
    "smooth and noisy": (
        picture := smooth(0),
        cv2.add(picture, noise(150, 200, levels=20)),
    ),
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
        assert ssim(real, generated) == pytest.approx(expected, abs=5e-6)


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


@pytest.mark.parametrize(("metric", "side_px"), [(ssim, 11), (disco_ssim, 7)])
def test_pictures_smaller_than_the_window_are_refused(metric: object, side_px: int) -> None:
    assert callable(metric)
    metric(noise(side_px, side_px), noise(side_px, side_px))
    told = rf"at least {side_px} x {side_px} px.*are {side_px - 1} x {side_px + 4}"
    with pytest.raises(ValueError, match=told):
        metric(noise(side_px + 4, side_px - 1), noise(side_px + 4, side_px - 1))


def reference_numpy_l1(real: np.ndarray, generated: np.ndarray) -> float:
    return float(np.abs(real.astype(np.int64) - generated.astype(np.int64)).mean())


@given(PAIRS)
def test_l1_equals_numpy_and_its_own_mirror(pair: tuple[np.ndarray, np.ndarray]) -> None:
    real, generated = pair
    value = mean_absolute_error(real, generated)
    assert value == pytest.approx(reference_numpy_l1(real, generated), abs=1e-12)
    assert value == mean_absolute_error(generated, real)
    # Views that OpenCV can't walk over directly: BGR, and every other column.
    assert mean_absolute_error(real[..., ::-1], generated[..., ::-1]) == value
    assert mean_absolute_error(real[:, ::2], generated[:, ::2]) == pytest.approx(
        reference_numpy_l1(real[:, ::2], generated[:, ::2]), abs=1e-12
    )


def test_disco_l1_is_divided_by_the_pixels_once_more() -> None:
    """17.4 grey levels are what the tables print as 2.66e-4 at 256 x 256."""
    real = np.zeros((256, 256, 3), np.uint8)
    generated = np.full((256, 256, 3), 17, np.uint8)
    generated[: 256 * 2 // 5] = 18
    assert mean_absolute_error(real, generated) == pytest.approx(17.4, abs=0.01)
    assert disco_l1(real, generated) == pytest.approx(2.66e-4, abs=1e-6)
    assert disco_l1(real[:128], generated[:128]) > 1.9 * disco_l1(real, generated)


# --- colour and sharpness ---------------------------------------------------------------------


def reference_skimage_lab(image: np.ndarray) -> np.ndarray:
    lab: np.ndarray = rgb2lab(image)
    return lab


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


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (333, 257), (2, 20000)])
def test_statistics_equal_scikit_image_and_numpy(size: tuple[int, int]) -> None:
    image = noise(*size)
    lab = reference_skimage_lab(image)
    mean, spread = lab_statistics(image)
    np.testing.assert_allclose(mean, lab.mean(axis=(0, 1)), rtol=0, atol=1e-3)
    np.testing.assert_allclose(spread, lab.std(axis=(0, 1)), rtol=0, atol=1e-3)


def test_one_colour_has_no_spread() -> None:
    _, spread = lab_statistics(np.full((100, 300, 3), (201, 7, 96), np.uint8))
    np.testing.assert_allclose(spread, 0, atol=1e-3)


def test_brighter_and_redder_show_with_their_sign() -> None:
    grey = uniform(100, 100, 100)
    brighter = colour_shift(grey, uniform(130, 130, 130))
    redder = colour_shift(grey, uniform(130, 100, 100))
    assert brighter[0] > 5
    assert brighter[1:3] == pytest.approx([0, 0], abs=1e-2)
    assert redder[1] > 5
    assert brighter[6] == pytest.approx(brighter[0], abs=1e-3)
    assert redder[6] == pytest.approx(math.hypot(*redder[:3]), abs=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_identical_frames_do_not_shift_and_swapping_turns_the_sign(seed: int) -> None:
    real, generated = noise(9, 11, seed=seed), noise(9, 11, seed=seed + 1)
    assert colour_shift(real, real) == [0.0] * 7
    there, back = colour_shift(real, generated), colour_shift(generated, real)
    assert there[:6] == [-value for value in back[:6]]


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


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_one_colour_has_no_sharpness_at_all(colour: tuple[int, int, int]) -> None:
    assert laplacian_variance(np.full((12, 9, 3), colour, np.uint8)) == 0.0


@given(st.integers(0, 2**32 - 1))
def test_mirroring_and_turning_change_nothing(seed: int) -> None:
    image = noise(11, 14, seed=seed)
    expected = pytest.approx(laplacian_variance(image), rel=1e-9)
    assert laplacian_variance(np.ascontiguousarray(image[:, ::-1])) == expected
    assert laplacian_variance(np.rot90(image)) == expected
