"""Clips whose damage is known: each measure gives back its slope, its sign or its frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tpbench.metrics.curves import contrast, on_frames, window_means
from tpbench.metrics.drift import ClipDrift, clip_drift, summarise_drift, window_drift
from tpbench.metrics.failure import time_to_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Pictures = NDArray[np.float64]

NAN, INF = float("nan"), float("inf")
FRAMES = 240
SIDE_PX = 24
BREAK = 150
WINDOW = 16


@pytest.fixture(scope="module")
def talk() -> Pictures:
    """A textured patch that sways, `(T, H, W, 3)` float64 in 0..255, with room above and below."""
    return person(seed=1)


def person(seed: int) -> Pictures:
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.uniform(0, 255, size=(SIDE_PX, 3 * SIDE_PX, 3)), (0, 0), 1.0)
    texture = 60 + 120 * (texture - texture.min()) / np.ptp(texture)
    shifts = np.round(8 * np.sin(np.arange(FRAMES) / 7.0)).astype(int)
    return np.stack([np.roll(texture, shift, axis=1)[:, :SIDE_PX] for shift in shifts])


def each_frame(pictures: Pictures, damage: Callable[[Pictures, int], Pictures]) -> Pictures:
    return np.stack([damage(picture, t) for t, picture in enumerate(pictures)])


def psnr_curve(real: Pictures, generated: Pictures) -> NDArray[np.float64]:
    errors = ((real - generated) ** 2).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(255**2 / errors))


def brightness_curve(real: Pictures, generated: Pictures) -> NDArray[np.float64]:
    return np.asarray((generated - real).mean(axis=(1, 2, 3)))


def sharpness_curve(real: Pictures, generated: Pictures) -> NDArray[np.float64]:
    def sharpness(picture: Pictures) -> float:
        return float(cv2.Laplacian(picture.mean(axis=2), cv2.CV_64F).var())

    return np.array(
        [sharpness(made) / sharpness(true) for true, made in zip(real, generated, strict=True)]
    )


def tje_terms(real: Pictures, generated: Pictures, delta: int) -> NDArray[np.float64]:
    moved, made = (np.abs(side[delta:] - side[:-delta]) for side in (real, generated))
    return np.asarray(np.abs(moved - made).mean(axis=(1, 2, 3)))


def drift_of(curve: Sequence[float] | NDArray[np.float64]) -> ClipDrift:
    drift = clip_drift(curve)
    assert drift is not None
    return drift


def test_a_clip_against_itself_drifts_by_exactly_0(talk: Pictures) -> None:
    for curve in (
        psnr_curve(talk, talk),
        brightness_curve(talk, talk),
        sharpness_curve(talk, talk),
        on_frames(tje_terms(talk, talk, 2), 2),
    ):
        drift = drift_of(curve)
        assert drift.slope_per_100_frames == 0.0
        assert drift.ends.end_minus_start == 0.0
        assert contrast(window_means(curve), window_means(curve)).tolist() == [0.0] * 15


def test_a_ramp_of_brightness_has_its_slope(talk: Pictures) -> None:
    ramp = each_frame(talk, lambda picture, t: picture + 0.1 * t)
    drift = drift_of(brightness_curve(talk, ramp))

    assert drift.slope_per_100_frames == pytest.approx(10.0, abs=1e-9)
    assert drift.ends.end_minus_start == pytest.approx(0.1 * (FRAMES - 36), abs=1e-9)


def test_growing_noise_lowers_psnr_by_its_slope(talk: Pictures) -> None:
    """Noise whose decibels grow by 0.05 a frame costs as much PSNR."""
    rng = np.random.default_rng(3)
    noisy = each_frame(
        talk, lambda picture, t: picture + 10 ** (0.05 * t / 20) * rng.normal(size=picture.shape)
    )
    drift = drift_of(psnr_curve(talk, noisy))

    assert drift.slope_per_100_frames == pytest.approx(-5.0, abs=0.1)
    assert drift.ends.end_minus_start == pytest.approx(-0.05 * (FRAMES - 36), abs=0.2)


def test_growing_blur_costs_sharpness_and_psnr(talk: Pictures) -> None:
    blurred = each_frame(
        talk, lambda picture, t: cv2.GaussianBlur(picture, (0, 0), 0.4 + t / FRAMES)
    )
    for curve in (sharpness_curve(talk, blurred), psnr_curve(talk, blurred)):
        drift = drift_of(curve)
        assert drift.slope_per_100_frames < 0
        assert drift.ends.end_minus_start < 0


def test_a_clip_that_gets_better_has_the_other_sign(talk: Pictures) -> None:
    rng = np.random.default_rng(4)
    clearing = each_frame(
        talk, lambda picture, t: picture + 10 ** (-0.05 * t / 20) * rng.normal(size=picture.shape)
    )

    assert drift_of(psnr_curve(talk, clearing)).slope_per_100_frames == pytest.approx(5.0, abs=0.1)


def test_steady_damage_is_no_drift(talk: Pictures) -> None:
    rng = np.random.default_rng(5)
    steady = talk + rng.normal(scale=8.0, size=talk.shape)
    drift = drift_of(psnr_curve(talk, steady))

    assert abs(drift.slope_per_100_frames) < 0.05


def test_a_freeze_is_found_within_a_window(talk: Pictures) -> None:
    rng = np.random.default_rng(6)
    frozen = talk + rng.normal(scale=2.0, size=talk.shape)
    frozen[BREAK:] = frozen[BREAK]

    curve = on_frames(tje_terms(talk, frozen, 1), 1)
    windows = window_means(curve)

    jump = int(np.argmax(np.diff(windows))) + 1
    assert abs(jump * WINDOW - BREAK) <= WINDOW
    found = time_to_failure(psnr_curve(talk, frozen), 30.0, failing="below", hold_frames=2)
    assert found is not None
    assert abs(found - BREAK) <= WINDOW
    assert drift_of(curve).ends.end_minus_start > 0


def test_another_person_is_found_at_the_frame(talk: Pictures) -> None:
    rng = np.random.default_rng(7)
    swapped = talk + rng.normal(scale=3.0, size=talk.shape)
    swapped[BREAK:] = person(seed=99)[BREAK:]
    curve = psnr_curve(talk, swapped)

    assert time_to_failure(curve, 25.0, failing="below") == BREAK
    drift = drift_of(curve)
    assert drift.slope_per_100_frames < 0
    assert drift.ends.end_minus_start < -10


@pytest.mark.parametrize(("frames", "is_long"), [(1, False), (100, False), (101, True)])
def test_drift_begins_after_100_frames(frames: int, *, is_long: bool) -> None:
    assert (clip_drift(np.arange(float(frames))) is not None) == is_long


def test_what_was_not_measured_is_counted() -> None:
    curve = np.arange(150.0)
    curve[:10], curve[140:145] = INF, NAN
    drift = drift_of(curve)

    assert (drift.n_frames, drift.n_finite, drift.n_infinite) == (150, 135, 10)
    assert drift.slope_per_100_frames == pytest.approx(100.0)


def test_short_clips_are_left_out_of_the_mean_and_counted() -> None:
    slopes = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    clips: list[ClipDrift | None] = [drift_of(k / 100 * np.arange(200.0)) for k in slopes]
    clips.insert(2, clip_drift(9.0 * np.arange(100.0)))
    identities = ["ada", "ben", "nobody", "cyd", "dov", "eva", "fay"]

    found = summarise_drift(clips, identities)

    assert (found.n_used, found.n_left_out) == (6, 1)
    assert found.slope_per_100_frames.mean == pytest.approx(3.5)
    assert found.end_minus_start.mean == pytest.approx(0.035 * 170)
    interval = found.slope_per_100_frames.interval
    assert interval.n_identities == 6
    assert interval.low is not None
    assert interval.high is not None
    assert 0.0 < interval.low < 3.5 < interval.high < 7.0


def test_only_short_clips_have_no_drift() -> None:
    found = summarise_drift([None, None], ["ada", "ben"])

    assert (found.n_used, found.n_left_out) == (0, 2)
    assert math.isnan(found.slope_per_100_frames.mean)
    assert found.slope_per_100_frames.interval.reason == "no clip has a finite value"


def test_a_clip_whose_contrast_is_infinite_still_gives_its_slope() -> None:
    copy_at_first = np.concatenate([np.full(60, INF), 30 - 0.1 * np.arange(140.0)])
    clips = [drift_of(copy_at_first), drift_of(30 - 0.1 * np.arange(200.0))]

    found = summarise_drift(clips, None)

    assert found.slope_per_100_frames.mean == pytest.approx(-10.0)
    assert (found.end_minus_start.n_used, found.end_minus_start.n_infinite) == (1, 1)


def test_identities_must_match_the_clips() -> None:
    with pytest.raises(ValueError, match="2 clips, 1 identities"):
        summarise_drift([None, None], ["ada"])


def test_a_distance_per_window_has_its_slope_per_100_frames() -> None:
    values = 50 + 8.0 * np.arange(10)
    found = window_drift(values, [40] * 10)

    assert found.minus_first.tolist() == [8.0 * k for k in range(10)]
    assert found.slope_per_100_frames == pytest.approx(8.0 * 100 / 16)
    assert found.ends is not None
    assert found.ends.end_minus_start == pytest.approx(72.0)
    assert (found.n_used, found.n_left_out) == (10, 0)


def test_windows_that_lost_clips_are_left_out() -> None:
    """A Frechet distance rises with fewer samples: that is no drift."""
    found = window_drift([5.0] * 8 + [9.0, 20.0], [40] * 8 + [20, 3])

    assert found.slope_per_100_frames == 0.0
    assert found.minus_first.tolist() == [0.0] * 8
    assert (found.n_used, found.n_left_out) == (8, 2)


@pytest.mark.parametrize(("windows", "is_long"), [(6, False), (7, True)])
def test_windows_over_100_frames_or_fewer_have_no_drift(windows: int, *, is_long: bool) -> None:
    found = window_drift(np.arange(float(windows)), [9] * windows)

    assert (found.ends is not None) == is_long
    assert math.isnan(found.slope_per_100_frames) != is_long
    assert found.minus_first.tolist() == list(range(windows))


def test_windows_of_the_same_sets_do_not_drift() -> None:
    found = window_drift([0.0] * 20, [5] * 20)

    assert found.slope_per_100_frames == 0.0
    assert found.ends is not None
    assert found.ends.end_minus_start == 0.0


def test_windows_without_counts_or_with_growing_ones_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2,\) values, \(1,\) counts"):
        window_drift([1.0, 2.0], [3])
    with pytest.raises(ValueError, match=r"\(0,\) values"):
        window_drift([], [])
    with pytest.raises(ValueError, match=r"\[3, 4\]"):
        window_drift([1.0, 2.0], [3, 4])
