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
from numpy.typing import NDArray
from scipy import stats
from skimage.color import rgb2lab

from tpbench.metrics.temporal import (
    LAGS,
    EarlierPairs,
    LagCosines,
    as_curve,
    end_minus_start,
    jitter_error,
    theil_sen_per_100_frames,
    unit_thumbnail,
)
from tpbench.video import read_frames


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


@pytest.mark.parametrize("n", [1, 2, 3, 30, 101, 130])
def test_curve_equals_scikit_image_on_the_whole_video(n: int) -> None:
    video = noise(n)
    curve = curve_of(video)
    np.testing.assert_allclose(curve, reference_skimage_lag_curve(video, LAGS), rtol=0, atol=1e-5)


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


def test_thumbnails_and_not_frames_are_held() -> None:
    accumulator = LagCosines()
    for image in noise(110, size=(60, 60)):
        accumulator.update(image)
    assert [held.nbytes for held in accumulator._thumbnails] == [3073 * 8] * 101


def test_a_thumbnail_has_length_1_and_ignores_the_size() -> None:
    large = np.repeat(np.repeat(noise(1, size=(32, 32))[0], 4, axis=0), 3, axis=1)
    assert np.linalg.norm(unit_thumbnail(large)) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(unit_thumbnail(large), unit_thumbnail(large[::4, ::3]), atol=1e-12)


# --- curves -----------------------------------------------------------------------------------


NAN, INF = float("nan"), float("inf")
Curve = NDArray[np.float64]
numbers = st.floats(-1e6, 1e6)
curves = st.lists(st.one_of(numbers, st.just(NAN), st.just(INF)), min_size=1, max_size=60)
values_of_frames = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40)


def test_pictures_are_no_curve() -> None:
    with pytest.raises(ValueError, match=r"got shape \(2, 3\)"):
        as_curve(np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("frames", "part"),
    [(1, 1), (6, 1), (13, 1), (14, 2), (20, 3), (140, 21), (260, 39), (674, 101)],
)
def test_a_part_is_15_percent_rounded_down_but_a_frame(frames: int, part: int) -> None:
    assert end_minus_start(np.arange(float(frames))) == frames - part


def test_a_clip_that_equals_the_real_one_only_at_first_falls_without_end() -> None:
    curve = np.concatenate([np.full(40, INF), np.full(60, 30.0)])
    assert end_minus_start(curve) == -INF


@given(curves)
def test_a_curve_backwards_ends_where_it_started(values: list[float]) -> None:
    forth, back = end_minus_start(values), end_minus_start(values[::-1])
    assert forth == pytest.approx(-back, nan_ok=True)


def test_no_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="0 frames"):
        end_minus_start([])


def reference_scipy_theil_sen(curve: Curve) -> float:
    frames = np.flatnonzero(np.isfinite(curve))
    return 100 * float(stats.theilslopes(curve[frames], frames).slope)


def autoregression(rng: np.random.Generator, frames: int, rho: float) -> Curve:
    """First-order, unit innovations, run in until it has forgotten its start."""
    noise = rng.normal(size=frames + 200)
    values = np.zeros(noise.size)
    for t in range(1, noise.size):
        values[t] = rho * values[t - 1] + noise[t]
    return values[200:]


@pytest.mark.parametrize("frames", [2, 3, 17, 101, 707])
def test_slope_equals_scipy(frames: int) -> None:
    rng = np.random.default_rng(frames)
    curve = 30 - 0.02 * np.arange(frames) + rng.normal(size=frames)
    assert theil_sen_per_100_frames(curve) == pytest.approx(
        reference_scipy_theil_sen(curve), abs=1e-9
    )


def test_slope_equals_scipy_where_frames_are_missing() -> None:
    rng = np.random.default_rng(4)
    curve = 0.5 * np.arange(150.0) + rng.normal(size=150)
    curve[[3, 4, 5, 80]] = NAN
    curve[[20, 149]] = INF
    assert theil_sen_per_100_frames(curve) == pytest.approx(
        reference_scipy_theil_sen(curve), abs=1e-9
    )


def test_a_longer_curve_is_thinned_and_stays_close_to_all_pairs() -> None:
    rng = np.random.default_rng(5)
    curve = -0.01 * np.arange(1500.0) + autoregression(rng, 1500, 0.8)
    found = theil_sen_per_100_frames(curve)
    assert found == theil_sen_per_100_frames(curve)
    assert found != reference_scipy_theil_sen(curve)
    assert found == pytest.approx(reference_scipy_theil_sen(curve), abs=0.02)


@given(values_of_frames, st.floats(-10, 10), st.floats(-100, 100), st.floats(0.1, 10))
def test_slope_follows_an_added_trend_and_a_scale(
    values: list[float], added: float, offset: float, scale: float
) -> None:
    curve = np.array(values)
    moved = scale * curve + added * np.arange(curve.size) + offset
    expected = scale * theil_sen_per_100_frames(curve) + 100 * added
    assert theil_sen_per_100_frames(moved) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(values_of_frames)
def test_a_curve_backwards_has_the_opposite_slope(values: list[float]) -> None:
    back = theil_sen_per_100_frames(values[::-1])
    assert theil_sen_per_100_frames(values) == pytest.approx(-back, abs=1e-9)


@pytest.mark.parametrize("same", [0.0, 1.0, 35.0, INF, -INF])
def test_a_constant_curve_has_slope_0(same: float) -> None:
    assert theil_sen_per_100_frames([same] * 120) == 0.0
    assert theil_sen_per_100_frames([NAN, *[same] * 120]) == 0.0


@pytest.mark.parametrize("values", [[], [1.0], [INF], [NAN, 1.0, INF], [INF, -INF], [NAN] * 50])
def test_fewer_than_two_comparable_frames_have_no_slope(values: list[float]) -> None:
    assert math.isnan(theil_sen_per_100_frames(values))
