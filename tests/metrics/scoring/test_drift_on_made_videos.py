"""Videos whose damage is known, scored as anybody's would be: each drift comes out as it was made.

All are made from one clip, a textured card that pans, and written without loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import ndimage, stats
from skimage.color import lab2rgb, rgb2lab

from tpbench import score
from tpbench.metrics.registry import METRICS, protocol
from tpbench.metrics.temporal import LAGS, WINDOW_FRAMES
from tpbench.video import LOSSLESS_X264, PREVIEW, Encoding, VideoWriter, read_frames

Picture = NDArray[np.uint8]
Curve = NDArray[np.float64]

FRAMES = 200
SIDE_PX = 96
BREAK = 117
"""The frame at which clips freeze or change person; in the middle of a window."""

ENDS = 30
"""Frames in 15 % of a clip."""

LIGHTNESS_A_FRAME = 0.05
DECIBELS_A_FRAME = 0.04

LOCAL_METRICS = [
    name
    for name in protocol("tpbench-v2").metrics
    if not METRICS[name].weights and not METRICS[name].needs
]
"""All that need neither model files nor skeletons."""

DRIFT_METRICS = [name for name in LOCAL_METRICS if name.startswith("drift_")]


def window_means(curve: Curve) -> Curve:
    whole = curve[: curve.size // WINDOW_FRAMES * WINDOW_FRAMES]
    return np.asarray(np.nanmean(whole.reshape(-1, WINDOW_FRAMES), axis=1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """What scoring says of one clip, and the pictures it was asked about."""

    real: Sequence[Picture]
    made: Sequence[Picture]
    values: Mapping[str, float]
    curves: Mapping[str, Curve]

    def damage_begins(self, column: str, *, at_most: float) -> int:
        """First window of a curve whose mean is above what it was before."""
        return int(np.argmax(np.nan_to_num(window_means(self.curves[column])) > at_most))


def person(seed: int, *, mean: tuple[int, int, int]) -> list[Picture]:
    """A card that pans by a pixel a frame and never comes back."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(size=(SIDE_PX, SIDE_PX + FRAMES, 4)), (0, 0), 2.0)
    noise /= noise.std()
    grey, colour = noise[..., :1], noise[..., 1:]
    card = np.clip(22 * grey + 5 * colour + mean, 45, 200).round().astype(np.uint8)
    return [card[:, t : t + SIDE_PX].copy() for t in range(FRAMES)]


def rounded(picture: NDArray[np.float64]) -> Picture:
    assert picture.min() > -0.5, "the damage would be clipped"
    assert picture.max() < 255.5, "the damage would be clipped"
    return np.round(picture).astype(np.uint8)


def brighter(picture: Picture, by: float) -> Picture:
    return rounded(lab2rgb(rgb2lab(picture) + np.array([by, 0, 0])) * 255)


def noisy(picture: Picture, sigma: float, rng: np.random.Generator) -> Picture:
    return rounded(picture + rng.normal(scale=sigma, size=picture.shape))


def blurred(picture: Picture, t: int) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.4 + t / FRAMES), dtype=np.uint8)


def sigma_at(t: int) -> float:
    return float(2 * 10 ** (DECIBELS_A_FRAME * t / 20))


def made_videos(talk: list[Picture]) -> dict[str, list[Picture]]:
    rng = np.random.default_rng(11)
    other = person(2, mean=(105, 125, 150))
    return {
        "itself": talk,
        "brighter": [brighter(image, LIGHTNESS_A_FRAME * t) for t, image in enumerate(talk)],
        "darker": [brighter(image, -LIGHTNESS_A_FRAME * t) for t, image in enumerate(talk)],
        "blurred": [blurred(image, t) for t, image in enumerate(talk)],
        "noisy": [noisy(image, sigma_at(t), rng) for t, image in enumerate(talk)],
        "frozen": talk[:BREAK] + [talk[BREAK - 1]] * (FRAMES - BREAK),
        "swapped": [noisy(image, 3.0, rng) for image in talk[:BREAK]] + other[BREAK:],
    }


def write(path: Path, images: Sequence[Picture], encoding: Encoding) -> None:
    height_px, width_px = images[0].shape[:2]
    with VideoWriter(
        path, width_px=width_px, height_px=height_px, fps=Fraction(25), encoding=encoding
    ) as writer:
        for image in images:
            writer.write(image)


def write_pictures(folder: Path, images: Sequence[Picture]) -> None:
    folder.mkdir()
    for number, image in enumerate(images):
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        assert cv2.imwrite(str(folder / f"{number:04d}.png"), bgr)


def curves_of(frames: Path) -> dict[str, dict[str, Curve]]:
    return {
        str(name): {
            column: part[column].to_numpy(dtype=np.float64)
            for column in part.columns.drop(["clip_id", "frame"])
        }
        for name, part in pd.read_parquet(frames).groupby("clip_id", observed=True)
    }


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scored]:
    """All made videos, and copies as pictures and lossless video, against the talk."""
    root = tmp_path_factory.mktemp("made")
    real, generated = root / "real", root / "generated"
    real.mkdir()
    generated.mkdir()
    talk = person(1, mean=(125, 125, 125))
    videos = made_videos(talk)
    for name, images in videos.items():
        write(generated / f"{name}.mkv", images, LOSSLESS_X264)
    write(generated / "encoded.mp4", talk, PREVIEW)
    write(generated / "lossless.mkv", talk, LOSSLESS_X264)
    write_pictures(generated / "pictures", talk)
    names = [*videos, "encoded", "lossless", "pictures"]
    write(root / "talk.mkv", talk, LOSSLESS_X264)
    for name in names:
        (real / f"{name}.mkv").hardlink_to(root / "talk.mkv")
    report = score(real, generated, out=root / "out", metrics=LOCAL_METRICS, workers=1)
    assert report.complete
    curves = curves_of(root / "out" / "frames.parquet")
    return {
        name: Scored(
            real=talk,
            made=videos.get(name, talk),
            values=report.clips[name].values,
            curves=curves[name],
        )
        for name in names
    }


def reference_scipy_slope(curve: Curve) -> float:
    """Theil-Sen over the measured frames, per 100 frames."""
    frames = np.flatnonzero(np.isfinite(curve))
    return 100 * float(stats.theilslopes(curve[frames], frames)[0])


def reference_scipy_sharpness(image: Picture) -> float:
    """Variance of the Laplacian of luma, borders mirrored about their last pixel."""
    luma = image @ np.array([0.299, 0.587, 0.114])
    return float(ndimage.laplace(luma, mode="mirror").var())


def motion_of(images: Sequence[Picture]) -> Curve:
    stack = np.stack(images).astype(np.float64)
    return np.asarray(np.abs(stack[1:] - stack[:-1]).mean(axis=(1, 2, 3)))


@pytest.mark.parametrize("name", ["itself", "pictures", "lossless"])
def test_the_real_clip_against_itself_drifts_by_exactly_0(
    scored: dict[str, Scored], name: str
) -> None:
    clip = scored[name]
    assert {metric: clip.values[metric] for metric in DRIFT_METRICS} == dict.fromkeys(
        DRIFT_METRICS, 0.0
    )
    assert clip.values["psnr"] == 100
    perfect = ["identical_share", "ssim", "motion_ratio", "sharpness_ratio"]
    perfect += ["lasting_psnr", "lasting_ssim"]
    assert {metric: clip.values[metric] for metric in perfect} == dict.fromkeys(perfect, 1.0)
    without_error = ["l1", "delta_e", "tje_d1", "tje_d2", "tje_d5"]
    assert {m: clip.values[m] for m in without_error} == dict.fromkeys(without_error, 0.0)


@pytest.mark.parametrize(("name", "sign"), [("brighter", 1), ("darker", -1)])
def test_a_ramp_of_brightness_has_its_slope(
    scored: dict[str, Scored], name: str, sign: int
) -> None:
    values = scored[name].values

    # Rounding to 8 bits moves a mean over 9,216 px by hardly more than a hundredth.
    assert values["drift_lightness_slope"] == pytest.approx(
        sign * 100 * LIGHTNESS_A_FRAME, abs=0.02
    )
    assert values["drift_lightness_delta"] == pytest.approx(
        sign * LIGHTNESS_A_FRAME * (FRAMES - ENDS), abs=0.02
    )
    assert values["drift_colour_slope"] == pytest.approx(100 * LIGHTNESS_A_FRAME, abs=0.02)
    assert values["delta_e"] == pytest.approx(LIGHTNESS_A_FRAME * (FRAMES - 1) / 2, abs=0.02)
    assert values["drift_psnr_slope"] < -5
    assert values["drift_psnr_delta"] < -10
    assert values["drift_contrast_slope"] == pytest.approx(0, abs=0.05)
    assert values["motion_ratio"] == pytest.approx(1, abs=0.1)


def test_growing_noise_costs_the_decibels_that_it_has(scored: dict[str, Scored]) -> None:
    clip = scored["noisy"]
    sigmas = np.array([sigma_at(t) for t in range(FRAMES)])
    expected_db = 10 * np.log10(255**2 / (sigmas**2 + 1 / 12))  # rounding adds 1/12

    np.testing.assert_allclose(clip.curves["psnr"], expected_db, atol=0.25)
    slope = reference_scipy_slope(expected_db)
    assert slope == pytest.approx(-100 * DECIBELS_A_FRAME, abs=0.05)
    assert clip.values["drift_psnr_slope"] == pytest.approx(slope, abs=0.02)
    delta_db = expected_db[-ENDS:].mean() - expected_db[:ENDS].mean()
    assert clip.values["drift_psnr_delta"] == pytest.approx(delta_db, abs=0.03)
    assert clip.values["drift_psnr_slope"] == pytest.approx(
        reference_scipy_slope(clip.curves["psnr"]), rel=1e-9
    )
    assert clip.values["drift_ssim_slope"] < 0
    assert clip.values["drift_sharpness_slope"] > 0
    assert clip.values["drift_tje_d2_slope"] > 0


def test_growing_blur_costs_the_sharpness_that_it_takes(scored: dict[str, Scored]) -> None:
    clip = scored["blurred"]
    real, made = (
        np.array([reference_scipy_sharpness(image) for image in images])
        for images in (clip.real, clip.made)
    )
    ratio = made / real

    found = clip.curves["sharpness_generated"] / clip.curves["sharpness_real"]
    np.testing.assert_allclose(found, ratio, rtol=1e-5)
    assert (np.diff(window_means(found)) < 0).all()
    slope = reference_scipy_slope(ratio)
    assert clip.values["drift_sharpness_slope"] == pytest.approx(slope, rel=1e-5)
    assert clip.values["drift_sharpness_delta"] == pytest.approx(
        ratio[-ENDS:].mean() - ratio[:ENDS].mean(), rel=1e-5
    )
    assert clip.values["sharpness_ratio"] == pytest.approx(made.sum() / real.sum(), rel=1e-5)
    falling = ["drift_sharpness_slope", "drift_contrast_slope", "drift_psnr_slope"]
    for metric in [*falling, "drift_ssim_slope"]:
        assert clip.values[metric] < 0


def test_a_freeze_shows_at_its_frame(scored: dict[str, Scored]) -> None:
    clip = scored["frozen"]
    motion = motion_of(clip.real)
    window = BREAK // WINDOW_FRAMES

    moved = clip.curves["motion_generated"]
    assert (moved[1:BREAK] > 0).all()
    assert (moved[BREAK:] == 0).all()
    # Term t of `motion_of` is the motion of frame t + 1.
    assert clip.values["motion_ratio"] == pytest.approx(
        motion[: BREAK - 1].sum() / motion.sum(), rel=1e-9
    )
    for delta in (1, 2, 5):
        assert clip.damage_begins(f"tje_d{delta}", at_most=0.0) == window
    np.testing.assert_allclose(clip.curves["tje_d1"][BREAK:], motion[BREAK - 1 :], rtol=1e-9)
    assert clip.values["drift_tje_d2_delta"] > 0


def test_a_freeze_holds_the_lag_curve_up_from_its_frame_on(scored: dict[str, Scored]) -> None:
    clip = scored["frozen"]
    within = [lag for lag in LAGS if lag < FRAMES - BREAK]  # both frames can lie in the freeze
    assert within == [2, 5, 10, 20, 50]
    for lag in within:
        generated = clip.curves[f"lag_generated_{lag}"]
        more = generated - clip.curves[f"lag_real_{lag}"]
        assert int(np.flatnonzero(np.nan_to_num(more))[0]) == BREAK
        np.testing.assert_allclose(generated[BREAK + lag :], 1, atol=1e-12)
        assert clip.values[f"drift_lag_{lag}"] > 0


def test_a_freeze_ends_what_lasts_within_a_window(scored: dict[str, Scored]) -> None:
    clip = scored["frozen"]
    for metric in ("lasting_psnr", "lasting_ssim"):
        assert BREAK <= clip.values[metric] * FRAMES <= BREAK + WINDOW_FRAMES
    assert clip.values["identical_share"] == BREAK / FRAMES


def test_another_person_is_seen_at_the_frame(scored: dict[str, Scored]) -> None:
    clip = scored["swapped"]
    assert clip.values["lasting_psnr"] == BREAK / FRAMES
    assert clip.values["lasting_ssim"] == BREAK / FRAMES
    for column in ("motion_generated", "tje_d1", "tje_d2"):
        assert BREAK <= int(np.nanargmax(clip.curves[column])) <= BREAK + 1
    assert BREAK <= int(np.nanargmin(clip.curves["lag_generated_2"])) <= BREAK + 1
    for metric in ("drift_psnr_delta", "drift_ssim_delta", "drift_lag_50", "drift_lag_100"):
        assert clip.values[metric] < 0


CODEC_FLOOR = {
    "drift_psnr_slope": 1.0,
    "drift_psnr_delta": 4.0,  # x264 gives more bits to the last pictures of a short clip
    "drift_ssim_slope": 0.02,
    "drift_ssim_delta": 0.03,
    "drift_l1_slope": 0.4,
    "drift_l1_delta": 1.0,
    # TJE of an encoder follows the motion of the talk, which is not as steady as its pictures.
    "drift_tje_d2_slope": 1.5,
    "drift_tje_d2_delta": 1.5,
    "drift_colour_slope": 0.1,
    "drift_colour_delta": 0.2,
    "drift_lightness_slope": 0.1,
    "drift_lightness_delta": 0.2,
    "drift_contrast_slope": 0.1,
    "drift_contrast_delta": 0.2,
    "drift_sharpness_slope": 0.1,
    "drift_sharpness_delta": 0.4,
    **{f"drift_lag_{lag}": 0.003 for lag in LAGS},
}
"""How far a drift may be from 0 where a clip was only encoded again; a few times what is seen."""


def test_encoding_again_drifts_by_hardly_anything(scored: dict[str, Scored]) -> None:
    values = scored["encoded"].values
    assert CODEC_FLOOR.keys() == set(DRIFT_METRICS)
    beyond = {m: values[m] for m, most in CODEC_FLOOR.items() if not abs(values[m]) <= most}
    assert beyond == {}
    assert values["lasting_psnr"] == values["lasting_ssim"] == 1.0
    assert 25 < values["psnr"] < 50
    assert values["tje_d2"] > 0


@pytest.mark.shared
@pytest.mark.parametrize("name", ["vid1", "vid3"])
def test_encoding_a_real_talk_again_drifts_by_hardly_anything(
    shared_dir: Path, tmp_path: Path, name: str
) -> None:
    """The floor over whole clips: `benchmarks/bench_metrics_codec.py`."""
    sample = shared_dir / "data" / "talkingpose_samples" / f"{name}.mp4"
    images = [frame.image for frame in read_frames(sample, end_frame=128)]
    for folder, suffix, encoding in (
        ("real", ".mkv", LOSSLESS_X264),
        ("generated", ".mp4", PREVIEW),
    ):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / f"{name}{suffix}", images, encoding)

    values = (
        score(
            tmp_path / "real",
            tmp_path / "generated",
            out=tmp_path / "out",
            metrics=LOCAL_METRICS,
            workers=1,
        )
        .clips[name]
        .values
    )

    beyond = {m: values[m] for m, most in CODEC_FLOOR.items() if not abs(values[m]) <= most}
    assert beyond == {}
    assert 38 < values["psnr"] < 46
    assert 0.93 < values["ssim"] < 0.995
    assert 0.4 < values["tje_d2"] < 2
    assert 0.9 < values["motion_ratio"] < 1.1
    assert values["lasting_psnr"] == values["lasting_ssim"] == 1.0
