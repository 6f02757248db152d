from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.metrics.scoring.clips import (
    pairing_of,
    pictures,
    scored,
    worse,
    write_pictures,
    write_set,
)
from tpbench import score
from tpbench.metrics.bootstrap import mean_over_identities
from tpbench.metrics.registry import METRICS, protocol
from tpbench.metrics.scoring.records import ClipMeasurement
from tpbench.metrics.scoring.reduce import ScoredClip, mean_score, score_clip_record
from tpbench.metrics.scoring.report import ClipScores, MetricScore, ScoreReport, load_report

V2 = protocol("tpbench-v2")


def scored_clip(
    name: str, psnr: float | Sequence[float], identity: str | None, *, n_frames: int = 4
) -> ScoredClip:
    curve = np.broadcast_to(np.asarray(psnr, dtype=np.float64), n_frames).copy()
    record = ClipMeasurement(
        clip_id=name,
        real_sha256="",
        generated_sha256="",
        n_frames=n_frames,
        first_frame=0,
        width_px=64,
        height_px=48,
        fps=None,
        codec="pictures",
        notes=(),
        keys={},
        features={},
        real_features={},
        columns={"psnr": curve},
    )
    return score_clip_record(record, ["psnr", "drift_psnr_slope", "fid"], V2, identity)


def mean_of(values: Sequence[float], identities: Sequence[str | None]) -> MetricScore:
    clips = [
        scored_clip(f"clip{at}", value, identity)
        for at, (value, identity) in enumerate(zip(values, identities, strict=True))
    ]
    return mean_score(METRICS["psnr"], clips)


VALUES = (30.0, 31.0, 28.0, 33.0, 29.5, 30.5, 27.0)


def test_every_clip_weighs_the_same_however_long() -> None:
    clips = [scored_clip("a", 20, "x", n_frames=5), scored_clip("b", 30, "y", n_frames=500)]
    assert mean_score(METRICS["psnr"], clips).value == 25


def test_six_identities_give_an_interval_over_identities() -> None:
    identities = ["a", "b", "c", "d", "e", "f", "f"]
    found = mean_of(VALUES, identities)
    expected = mean_over_identities(VALUES, identities)
    assert found.value == expected.mean == pytest.approx(np.mean(VALUES))
    assert (found.low, found.high) == (expected.interval.low, expected.interval.high)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert (found.level, found.n_identities, found.interval_reason) == (0.95, 6, None)


@pytest.mark.parametrize(
    ("identities", "reason"),
    [
        (["a", "b", "c", "d", "d", "d", "d"], "4 identities: an interval needs at least 5"),
        ([None] * 7, "the identities of the clips are not known"),
        (["a", "b", "c", "d", "e", "f", None], "the identities of the clips are not known"),
    ],
)
def test_without_enough_known_identities_the_interval_is_blank_with_a_reason(
    identities: list[str | None], reason: str
) -> None:
    found = mean_of(VALUES, identities)
    assert (found.low, found.high, found.level) == (None, None, None)
    assert found.interval_reason == reason
    assert found.value == pytest.approx(np.mean(VALUES))
    assert found.reason is None


def test_clips_without_a_number_are_left_out_and_counted() -> None:
    values = [30, math.inf, math.nan, 32]
    found = mean_of(values, [None] * 4)
    assert (found.value, found.n_clips, found.n_infinite, found.n_missing) == (31, 2, 1, 1)


def test_nothing_measured_is_a_blank() -> None:
    nothing = mean_of([math.nan] * 2, "ab")
    assert math.isnan(nothing.value)
    assert (nothing.reason, nothing.n_missing) == ("no clip has a value: no frame has a value", 2)
    assert nothing.interval_reason == "no clip has a finite value"


def test_a_blank_says_why_and_so_do_clips_that_lack_a_value_others_have(tmp_path: Path) -> None:
    """Two still videos, and a plain wall; beside one that moves and has edges."""
    moving, still = pictures(6), np.repeat(pictures(1, seed=3), 6, axis=0)
    wall = np.full_like(moving, 90)
    real = {"moving": moving, "still": still, "still too": still, "wall": wall}
    generated = {name: worse(images) for name, images in real.items()}
    for name in ("all", "blank"):
        chosen = list(real) if name == "all" else ["still", "wall"]
        write_set(tmp_path / name / "real", {clip: real[clip] for clip in chosen})
        write_set(tmp_path / name / "gen", {clip: generated[clip] for clip in chosen})
    found = {
        name: scored(
            pairing_of(tmp_path / name / "real", tmp_path / name / "gen"),
            tmp_path / name / "out",
            *("motion_ratio", "sharpness_ratio", "drift_psnr_slope", "drift_lag_10"),
        ).metrics
        for name in ("all", "blank")
    }

    still_real = "the real clip does not change from frame to frame"
    some, none = found["all"]["motion_ratio"], found["blank"]["motion_ratio"]
    assert (some.n_missing, some.reason, some.missing_reason) == (3, None, still_real)
    assert (none.reason, none.missing_reason) == (f"no clip has a value: {still_real}", None)
    edges = found["all"]["sharpness_ratio"]
    assert (edges.n_missing, edges.missing_reason) == (1, "the real frames have no edges")
    short = found["all"]["drift_psnr_slope"]
    assert short.reason == "4 clips of 100 frames or fewer left out, and no other has a value"
    lag = found["all"]["drift_lag_10"]
    assert lag.reason == "no clip has a value: no two of the frames scored are 10 apart"


def test_drift_leaves_out_100_frames_takes_101_and_counts() -> None:
    row = METRICS["drift_psnr_slope"]
    falling = {n: 40 - 0.1 * np.arange(n) for n in (100, 101)}
    short, long = (
        scored_clip(str(n), list(curve), "x", n_frames=n) for n, curve in falling.items()
    )
    both, one = mean_score(row, [short, long]), mean_score(row, [short])
    assert both.value == pytest.approx(-10)
    assert (both.n_clips, both.n_too_short, both.n_missing) == (1, 1, 0)
    assert math.isnan(one.value)
    assert (one.n_clips, one.n_too_short) == (0, 1)
    assert one.reason == "1 clip of 100 frames or fewer left out, and no other has a value"
    assert "drift_psnr_slope" in short.too_short


def test_a_clip_has_no_value_of_a_metric_over_all_clips() -> None:
    assert scored_clip("a", 30, None).scores.values.keys() == {"psnr", "drift_psnr_slope"}


def test_direction_unit_and_version_are_the_registrys() -> None:
    found, row = mean_of([30], "x"), METRICS["psnr"]
    assert (found.direction, found.unit, found.version) == (row.direction, row.unit, row.version)


# --- through the engine -----------------------------------------------------------------------


# --- how clips become a set


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


def clip_of(name: str, value: float, n_values: int) -> ScoredClip:
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
    clips = [clip_of(*clip) for clip in (("a", 1.0, 30), ("b", 4.0, 10), ("c", math.nan, 0))]
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
        clips.append(clip_of(f"person {at}", value, 900 if long else 20))

    of_frames = mean_score(METRICS["tje_d2"], clips, "mean_of_frames")
    of_clips = mean_score(METRICS["tje_d2"], clips)

    assert of_frames.value == pytest.approx(of_clips.mean_of_frames)
    assert of_frames.low is not None
    assert of_frames.high is not None
    assert of_clips.value < of_frames.low < of_frames.value < of_frames.high
    assert (of_frames.level, of_frames.n_identities) == (0.95, 30)


def test_a_set_without_any_value_is_blank_under_either_mean() -> None:
    nothing = mean_score(METRICS["tje_d2"], [clip_of("a", math.nan, 0)], "mean_of_frames")
    assert math.isnan(nothing.value)
    assert nothing.reason is not None


def test_what_is_no_mean_over_frames_keeps_the_mean_over_clips() -> None:
    """A ratio has no mean over frames: `--metrics` may ask for it under any protocol."""
    clip = clip_of("a", 1.0, 1)
    ratio = replace(clip, scores=replace(clip.scores, values={"motion_ratio": 0.5}))
    found = mean_score(METRICS["motion_ratio"], [ratio], "mean_of_frames")
    assert (found.pooling, found.value) == ("mean_of_clips", 0.5)
    assert math.isnan(found.mean_of_frames)
