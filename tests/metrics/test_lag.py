from __future__ import annotations

import math
import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import rgb2lab

from tpbench.metrics.motion import LAGS, LagCosines, unit_thumbnail


def reference_skimage_lag_curve(video: np.ndarray, lags: tuple[int, ...]) -> list[float]:
    """Everything held at once: (T, H, W, 3)."""
    thumbnails = np.stack(
        [
            rgb2lab(cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA)).ravel()
            for image in video
        ]
    )
    unit = thumbnails / np.linalg.norm(thumbnails, axis=1, keepdims=True)
    return [
        float((unit[lag:] * unit[:-lag]).sum(axis=1).mean()) if lag < len(video) else math.nan
        for lag in lags
    ]


def curve_of(video: np.ndarray) -> np.ndarray:
    """Mean cosine at each lag; NaN where no pair is so far apart."""
    follower = LagCosines()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of means of nothing
        return np.asarray(np.nanmean([follower.update(image) for image in video], axis=0))


def noise(n: int, *, seed: int = 0, size: tuple[int, int] = (40, 36)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *size, 3), dtype=np.uint8)


def turning(n: int, px_per_frame: int) -> np.ndarray:
    """A smooth picture that moves sideways."""
    picture = cv2.GaussianBlur(noise(1, size=(64, 64))[0].astype(np.float32), (0, 0), 5)
    picture = np.clip((picture - 127.5) * 8 + 127.5, 0, 255).astype(np.uint8)
    return np.stack([np.roll(picture, at * px_per_frame, axis=1) for at in range(n)])


@pytest.mark.parametrize("n", [1, 2, 3, 30, 101, 130])
def test_curve_equals_scikit_image_on_the_whole_video(n: int) -> None:
    video = noise(n)

    curve = curve_of(video)

    np.testing.assert_allclose(curve, reference_skimage_lag_curve(video, LAGS), rtol=0, atol=1e-5)


def test_a_still_video_is_1_at_every_lag() -> None:
    curve = curve_of(np.broadcast_to(noise(1), (101, 40, 36, 3)))

    np.testing.assert_allclose(curve, 1, rtol=0, atol=1e-12)


def test_a_short_video_has_no_long_lags() -> None:
    curve = curve_of(noise(20))

    assert list(np.isnan(curve)) == [False, False, False, True, True, True]


def test_hand_worked_cosines() -> None:
    """Red and blue are 53.24, 80.09, 67.20 and 32.30, 79.19, -107.86 in CIELAB."""
    red, blue, black = (
        np.full((8, 8, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255), (0, 0, 0))
    )
    lab = np.array([[53.24, 80.09, 67.20], [32.30, 79.19, -107.86]])
    expected = lab[0] @ lab[1] / np.linalg.norm(lab[0]) / np.linalg.norm(lab[1])

    r, b, k = (unit_thumbnail(image) for image in (red, blue, black))

    assert r @ b == pytest.approx(expected, abs=1e-4)
    assert [b @ k, k @ k, k @ r] == [0, 1, 0]


@given(st.integers(0, 2**32 - 1))
def test_cosines_are_within_their_range(seed: int) -> None:
    first, second = (unit_thumbnail(image) for image in noise(2, seed=seed, size=(5, 70)))

    assert abs(first @ second) <= 1 + 1e-12


def test_a_video_that_drifts_is_less_alike_and_a_frozen_one_more() -> None:
    real = turning(60, 1)
    # From red to blue, at the same lightness or so.
    tints = np.linspace([60, 0, -60], [-60, 0, 60], 60)
    tinted = np.clip(real + tints[:, None, None], 0, 255).astype(np.uint8)
    frozen = np.broadcast_to(real[:1], real.shape)
    curve = curve_of(real)

    assert (curve_of(tinted)[2:5] < curve[2:5] - 1e-3).all()
    assert (curve_of(frozen)[:5] > curve[:5]).all()


def test_thumbnails_and_not_frames_are_held() -> None:
    accumulator = LagCosines()
    for image in noise(110, size=(60, 60)):
        accumulator.update(image)

    assert [held.nbytes for held in accumulator._thumbnails] == [3073 * 8] * 101


def test_a_thumbnail_has_length_1_and_ignores_the_size() -> None:
    large = np.repeat(np.repeat(noise(1, size=(32, 32))[0], 4, axis=0), 3, axis=1)

    assert np.linalg.norm(unit_thumbnail(large)) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(unit_thumbnail(large), unit_thumbnail(large[::4, ::3]), atol=1e-12)
