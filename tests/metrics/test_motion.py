from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import rgb2lab

from tpbench.metrics.motion import (
    LAGS,
    EarlierPairs,
    LagCosines,
    frame_motion,
    jitter_error,
    unit_thumbnail,
)
from tpbench.video import read_frames


def test_frame_motion_is_exact_and_refuses_two_sizes() -> None:
    dark = np.zeros((300, 400, 3), np.uint8)
    assert frame_motion(dark, ~dark) == 255.0
    with pytest.raises(ValueError, match="one size"):
        frame_motion(dark, dark[1:])


@pytest.mark.parametrize("delta", [1, 5])
def test_no_more_frames_are_held_than_delta_plus_one(delta: int) -> None:
    earlier = EarlierPairs(delta)
    made: list[weakref.ref[np.ndarray]] = []

    def feed(number: int) -> None:
        image = np.full((4, 4, 3), number, np.uint8)
        made.append(weakref.ref(image))
        before = earlier.before(image, image)
        assert (before is None) == (number < delta)
        assert before is None or (before[0] == number - delta).all()

    for number in range(40):
        feed(number)

    held = [reference() is not None for reference in made]
    assert held == [False] * (39 - delta) + [True] * (delta + 1)


GOLDEN = Path(__file__).parents[1] / "golden" / "tje"
DELTAS = (1, 2, 5)


def images(path: Path) -> Iterator[np.ndarray]:
    return (frame.image for frame in read_frames(path))


def opencv_images(path: Path) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    while True:
        found, image = capture.read()
        if not found:
            return
        yield image[..., ::-1]


def reference_numpy_tje(real: np.ndarray, generated: np.ndarray, delta: int) -> np.ndarray:
    """Terms of whole videos, (T, H, W, 3) each."""
    real_change = np.abs(real[delta:].astype(np.int64) - real[:-delta])
    generated_change = np.abs(generated[delta:].astype(np.int64) - generated[:-delta])
    terms: np.ndarray = np.abs(real_change - generated_change).mean(axis=(1, 2, 3))
    return terms


def video(n: int, *, seed: int = 0, size: tuple[int, int] = (9, 7)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *size, 3), dtype=np.uint8)


def terms_of(
    real: Iterable[np.ndarray], generated: Iterable[np.ndarray], delta: int = 1
) -> list[float]:
    earlier, terms = EarlierPairs(delta), []
    for pair in zip(real, generated, strict=False):
        before = earlier.before(*pair)
        terms += [jitter_error(pair[0], before[0], pair[1], before[1])] if before else []
    return terms


def tje_of(real: np.ndarray, generated: np.ndarray, delta: int = 1) -> float:
    return float(np.mean(terms_of(real, generated, delta)))


@pytest.mark.parametrize("path", sorted(GOLDEN.rglob("*.mp4")), ids=lambda path: path.stem)
def test_our_reader_gives_what_the_script_reads(path: Path) -> None:
    for ours, theirs in zip(images(path), opencv_images(path), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.shared
def test_real_samples_equal_the_official_script(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "talkingpose_samples"
    terms = [
        terms_of(images(folder / "vid1.mp4"), images(folder / "vid3.mp4"), delta)
        for delta in (1, 2)
    ]
    assert [len(one) for one in terms] == [642, 641]
    means = pytest.approx([3.3390018665159245, 5.166870938448378], abs=1e-9)
    assert [np.mean(one) for one in terms] == means


@given(st.integers(1, 8), st.sampled_from(DELTAS), st.integers(0, 2**32 - 1))
def test_terms_equal_numpy(n: int, delta: int, seed: int) -> None:
    real, generated = video(n, seed=seed), video(n, seed=seed + 1)
    np.testing.assert_allclose(
        terms_of(real, generated, delta),
        reference_numpy_tje(real, generated, delta),
        rtol=0,
        atol=1e-12,
    )


def test_pictures_of_many_strips_equal_numpy() -> None:
    real, generated = video(2, size=(333, 257)), video(2, seed=1, size=(333, 257))
    term = jitter_error(real[1], real[0], generated[1], generated[0])
    assert term == pytest.approx(reference_numpy_tje(real, generated, 1)[0], abs=1e-12)


def test_hand_worked_term() -> None:
    """|R| = 10 -> 40: 30; |G| = 200 -> 180: 20; they differ by 10 in one of two pixels."""
    real = np.array([[[[10] * 3, [5] * 3]], [[[40] * 3, [5] * 3]]], np.uint8)
    generated = np.array([[[[200] * 3, [9] * 3]], [[[180] * 3, [9] * 3]]], np.uint8)
    assert tje_of(real, generated) == 5.0


def test_tje_is_blind_to_the_sign_and_kind_to_a_frozen_video() -> None:
    real = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.full((1, 4, 4, 3), 3, np.uint8)
    frozen = np.broadcast_to(real[:1], real.shape)
    assert tje_of(real, real) == 0.0
    assert tje_of(real, real[::-1]) == 0.0
    assert tje_of(real, frozen) == 3.0 == frame_motion(real[1], real[0])


@given(st.sampled_from(DELTAS))
def test_tje_has_no_preferred_order(delta: int) -> None:
    real, generated = video(8), video(8, seed=1)
    assert tje_of(real, generated, delta) == tje_of(generated, real, delta)
    assert tje_of(real[::-1], generated[::-1], delta) == pytest.approx(
        tje_of(real, generated, delta), abs=1e-12
    )


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
