"""How clips become a set: a protocol says it, and holds what its source prints."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.metrics.scoring.clips import write_pictures
from tpbench.metrics.registry import METRICS
from tpbench.metrics.scoring.reduce import ScoredClip, mean_score
from tpbench.metrics.scoring.report import ClipScores, ScoreReport, load_report
from tpbench.metrics.scoring.run import score


def reference_disco_means(
    real: NDArray[np.uint8], generated: NDArray[np.uint8]
) -> dict[str, float]:
    """As DisCo's script: one list of scores over the frames of all videos, and its mean."""
    import cv2
    from skimage.metrics import structural_similarity

    def grey(image: NDArray[np.uint8]) -> Any:  # noqa: ANN401 - an array
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)

    errors = real.astype(float) - generated
    psnr = [20 * math.log10(255 / math.sqrt((error**2).mean())) for error in errors]
    ssim = [
        structural_similarity(grey(a), grey(b), data_range=255)
        for a, b in zip(real, generated, strict=True)
    ]
    l1 = np.abs(errors).mean(axis=(1, 2, 3)) / (real.shape[1] * real.shape[2])
    return {"disco_l1": l1.mean(), "disco_psnr": np.mean(psnr), "disco_ssim": np.mean(ssim)}


@pytest.fixture(scope="module")
def unequal(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """Two clips, 20 frames (sigma 3) and 90 (sigma 25), 64 x 64, and DisCo's means of them."""
    folder = tmp_path_factory.mktemp("unequal")
    draw = np.random.default_rng(0)
    sides: dict[str, list[NDArray[np.uint8]]] = {"real": [], "gen": []}
    for name, n, sigma in (("short", 20, 3), ("long", 90, 25)):
        real = draw.integers(40, 216, (n, 64, 64, 3)).astype(np.uint8)
        noisy = np.clip(real + draw.normal(0, sigma, real.shape), 0, 255).round().astype(np.uint8)
        for side, images in (("real", real), ("gen", noisy)):
            write_pictures(folder / side / name, images)
            sides[side].append(images)
    return folder, reference_disco_means(*(np.concatenate(sides[side]) for side in ("real", "gen")))


def of_disco(folder: Path) -> ScoreReport:
    return score(
        folder / "real",
        folder / "gen",
        out=folder / "out",
        protocol="disco",
        metrics=["disco_l1", "disco_psnr", "disco_ssim"],
        workers=1,
    )


def test_disco_is_the_mean_over_all_frames_of_all_clips(
    unequal: tuple[Path, dict[str, float]],
) -> None:
    folder, expected = unequal

    report = of_disco(folder)

    for name, value in expected.items():
        found = report.metrics[name]
        assert found.value == pytest.approx(value, rel=1e-6), name
        assert found.pooling == "mean_of_frames"
        assert found.value == found.mean_of_frames
        per_clip = [report.clips[clip].values[name] for clip in ("short", "long")]
        assert found.mean_of_clips == pytest.approx(np.mean(per_clip))
        assert abs(found.mean_of_clips - found.value) > 0.03 * found.value
        assert (found.n_values, found.n_clips) == (110, 2)
        assert (found.low, found.high) == (None, None)
        assert found.interval_reason == "the identities of the clips are not known"


def test_what_a_value_is_stands_in_the_scores_and_is_read_again(
    unequal: tuple[Path, dict[str, float]],
) -> None:
    report = of_disco(unequal[0])
    content = json.loads((unequal[0] / "out" / "scores.json").read_text())
    assert content["protocol"]["clips_to_set"] == "mean_of_frames"
    assert content["protocol"]["frames_to_clip"] == "reduction"
    psnr = content["metrics"]["disco_psnr"]
    assert (psnr["pooling"], psnr["n_values"]) == ("mean_of_frames", 110)
    assert content["clips"]["short"]["n_values"]["disco_psnr"] == 20
    assert load_report(unequal[0] / "out")[0].metrics == report.metrics
    row = report.to_frame().loc["disco_psnr"]
    assert row["mean_of_clips"] > row["value"] == row["mean_of_frames"]


def scored_clip(name: str, value: float, n_values: int) -> ScoredClip:
    scores = ClipScores(
        clip_id=name,
        identity=name,
        n_frames=40,
        real_sha256="",
        generated_sha256="",
        codec="pictures",
        notes=(),
        values={"tje_d2": value},
        n_values={"tje_d2": n_values} if n_values else {},
    )
    return ScoredClip(scores=scores, too_short=frozenset())


def test_both_means_stand_beside_each_other_whichever_is_the_value() -> None:
    clips = [scored_clip(*clip) for clip in (("a", 1.0, 30), ("b", 4.0, 10), ("c", math.nan, 0))]
    of_clips = mean_score(METRICS["tje_d2"], clips)
    of_frames = mean_score(METRICS["tje_d2"], clips, "mean_of_frames")
    assert (of_clips.value, of_clips.mean_of_clips, of_clips.mean_of_frames) == (2.5, 2.5, 1.75)
    assert (of_frames.value, of_frames.mean_of_clips, of_frames.n_missing) == (1.75, 2.5, 1)
    assert of_clips.n_values == of_frames.n_values == 40


def test_an_interval_weighs_clips_as_the_mean_does() -> None:
    """Long clips are worse: the mean over clips lies outside, that over frames within."""
    draw = np.random.default_rng(0)
    clips = []
    for at in range(30):
        long = at % 3 == 0
        value = (9.0 if long else 1.0) + draw.normal(0, 0.3)
        clips.append(scored_clip(f"person {at}", value, 900 if long else 20))

    of_frames = mean_score(METRICS["tje_d2"], clips, "mean_of_frames")
    of_clips = mean_score(METRICS["tje_d2"], clips)

    assert of_frames.value == pytest.approx(of_clips.mean_of_frames)
    assert of_frames.low is not None
    assert of_frames.high is not None
    assert of_clips.value < of_frames.low < of_frames.value < of_frames.high
    assert (of_frames.level, of_frames.n_identities) == (0.95, 30)


def test_a_set_without_any_value_is_blank_under_either_mean() -> None:
    nothing = mean_score(METRICS["tje_d2"], [scored_clip("a", math.nan, 0)], "mean_of_frames")
    assert math.isnan(nothing.value)
    assert nothing.reason is not None


def test_what_is_no_mean_over_frames_keeps_the_mean_over_clips() -> None:
    """A ratio has no mean over frames: `--metrics` may ask for it under any protocol."""
    clip = scored_clip("a", 1.0, 1)
    ratio = replace(clip, scores=replace(clip.scores, values={"motion_ratio": 0.5}))
    found = mean_score(METRICS["motion_ratio"], [ratio], "mean_of_frames")
    assert (found.pooling, found.value) == ("mean_of_clips", 0.5)
    assert math.isnan(found.mean_of_frames)
