from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.metrics.scoring.clips import (
    pairing_of,
    pictures,
    scored,
    worse,
    write_set,
)
from tpbench.metrics.bootstrap import mean_over_identities
from tpbench.metrics.registry import METRICS, protocol
from tpbench.metrics.scoring.records import ClipRecord
from tpbench.metrics.scoring.reduce import ScoredClip, mean_score, score_clip_record
from tpbench.metrics.scoring.report import MetricScore

V2 = protocol("tpbench-v2")


def scored_clip(
    name: str, psnr: float | Sequence[float], identity: str | None, *, n_frames: int = 4
) -> ScoredClip:
    curve = np.broadcast_to(np.asarray(psnr, dtype=np.float64), n_frames).copy()
    record = ClipRecord(
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
