"""Scoring from end to end."""

from __future__ import annotations

import errno
import json
import math
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.metrics.scoring import stand_ins
from tests.metrics.scoring.clips import (
    PIXEL_METRICS,
    pairing_of,
    pictures,
    scored,
    some_clips,
    write_set,
)
from tpbench import score
from tpbench.errors import TPBenchError
from tpbench.files import sha256_of
from tpbench.metrics.registry import METRICS
from tpbench.metrics.scoring import clip_pass
from tpbench.metrics.scoring.pairing import Pairing
from tpbench.metrics.scoring.records import ScoringJob
from tpbench.metrics.scoring.report import ScoreReport
from tpbench.work.attempts import AttemptRecord

GOLDEN = Path(__file__).parents[2] / "golden" / "tje"

ALL_KINDS = (
    *PIXEL_METRICS,
    "lpips",
    "fid",
    "kid",
    "fvd",
    "delta_e",
    "sharpness_ratio",
    "face_psnr",
    "hand_lpips",
    "akd_body",
    "pck_hands",
    "drift_psnr_slope",
    "drift_lag_10",
    "lasting_ssim",
    "drift_fid_slope",
    "drift_fvd_delta",
)
"""Metrics that together use every kind of meter and reduction."""


def columns_of(out: Path) -> pd.DataFrame:
    table: pd.DataFrame = pd.read_parquet(out / "frames.parquet")
    return table.astype({"clip_id": str}).set_index(["clip_id", "frame"]).sort_index()


def values_of(report: ScoreReport) -> dict[str, float]:
    return {name: found.value for name, found in report.metrics.items()}


# --- against others ---------------------------------------------------------------------------


def test_the_golden_clips_give_the_official_values_for_every_delta(tmp_path: Path) -> None:
    """Other sizes, other lengths, sub-folders and clips without a partner are among them."""
    report = score(GOLDEN / "real", GOLDEN / "gen", out=tmp_path / "out", protocol="talkingpose")

    for delta in (1, 2, 5):
        official = json.loads((GOLDEN / f"official_delta{delta}.json").read_text())
        name = f"tje_d{delta}"
        for pair in official["pairs"]:
            clip = report.clips[pair["key"].removesuffix(".mp4")]
            assert clip.values[name] == pytest.approx(pair["avg_tje"], abs=1e-9)
            terms = columns_of(tmp_path / "out").loc[clip.clip_id][name]
            assert terms.notna().sum() == pair["n_terms"]
        overall = report.metrics[name]
        assert overall.value == pytest.approx(official["overall_avg_tje"], abs=1e-9)
        assert (overall.pooling, overall.mean_of_clips) == ("mean_of_clips", overall.value)
        weighted = official["overall_weighted_avg_tje"]
        assert overall.mean_of_frames == pytest.approx(weighted, abs=1e-9)
        assert overall.n_clips == official["num_pairs"] == 3
        assert [f"{extra}.mp4" for extra in report.coverage.extra] == official["missing_in_real"]
        missing = official["missing_in_generated"]
        assert [f"{clip}.mp4" for clip in report.coverage.missing] == missing
    assert report.coverage.share == 3 / 4
    assert not report.complete
    assert report.policies == {
        "length": "truncate",
        "resize": "area",
        "rate": "ignore",
        "first_frame": 0,
    }


@pytest.mark.usefixtures("networks")
def test_a_clip_against_itself_is_perfect_and_does_not_drift(tmp_path: Path) -> None:
    images = pictures(120, size_px=(96, 80))
    for at, image in enumerate(images):
        stand_ins.paint_person(image, 40 + at % 3, 30)
    folder = write_set(tmp_path / "real", {"a": images})

    report = score(folder, folder, out=tmp_path / "out", device="cpu", workers=1)

    values = values_of(report)
    assert {name: report.metrics[name].status for name in values} == dict.fromkeys(
        values, "measured"
    )
    for name, value in values.items():
        if name in {"psnr", "face_psnr", "hand_psnr"}:
            assert value == 100, name
        elif name.startswith("lasting") and METRICS[name].horizon_frames > 100:
            # One clip of 120 frames says nothing about more.
            assert math.isnan(value), name
        elif name.startswith("lasting") and METRICS[name].horizon_frames:
            assert value == METRICS[name].horizon_frames, name
        elif name.startswith(("ssim", "face_ssim", "hand_ssim", "lasting", "identical", "pck")) or (
            name in {"motion_ratio", "sharpness_ratio"}
        ):
            assert value == pytest.approx(1, abs=1e-6), name
        elif name != "kid":  # unbiased: a set against itself comes out below 0
            assert value == pytest.approx(0, abs=1e-6), name
    assert values["kid"] < 0
    assert report.metrics["psnr"].n_infinite == 0


# --- nothing changes a digit ------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips, one of them long enough to drift, with people painted on them."""
    folder = tmp_path_factory.mktemp("clips")
    real, generated = some_clips([114, 20, 37], size_px=(96, 80))
    for side, clips in (("real", real), ("gen", generated)):
        for images in clips.values():
            for at, image in enumerate(images):
                shift = 2 if side == "gen" else 0
                stand_ins.paint_person(image, 38 + at % 5 + shift, 28 + at % 3)
        write_set(folder / side, clips)
    return folder


@pytest.fixture
def pairing(folders: Path) -> Pairing:
    return pairing_of(folders / "real", folders / "gen")


@pytest.fixture(scope="module")
def reference(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ScoreReport]:
    """Scored one clip after the other by one thread."""
    out = tmp_path_factory.mktemp("reference")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TPBENCH_CACHE", str(out / "cache"))
        patch.setattr("tpbench.work.usable_cores", lambda: 1)
        stand_ins.put_in(patch.setattr)
        stand_ins.make_ready(patch.setattr)
        return out, scored(pairing_of(folders / "real", folders / "gen"), out, *ALL_KINDS)


def assert_same_digits(out: Path, report: ScoreReport, reference: tuple[Path, ScoreReport]) -> None:
    """Networks may differ by rounding, all else must be equal."""
    frames, expected = columns_of(out), columns_of(reference[0])
    of_networks = [name for name in expected.columns if "lpips" in name]
    pd.testing.assert_frame_equal(
        frames.drop(columns=of_networks),
        expected.drop(columns=of_networks),
        check_exact=True,
    )
    pd.testing.assert_frame_equal(frames[of_networks], expected[of_networks], rtol=1e-5, atol=0)
    assert report.clips.keys() == reference[1].clips.keys()
    for name, value in values_of(reference[1]).items():
        # A slope is a small difference of large distances: rounding is measured by those.
        curve = reference[1].metrics[name].details.get("windows", [0.0])
        near = pytest.approx(value, rel=1e-5, abs=1e-9 + 1e-5 * max(curve))
        assert report.metrics[name].value == near, name
        assert math.isfinite(value), name


@pytest.mark.usefixtures("networks")
def test_threads_change_no_digit(
    pairing: Pairing,
    reference: tuple[Path, ScoreReport],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tpbench.work.usable_cores", lambda: 2)
    seen = set()
    update = stand_ins.PaintedPeople.detect

    def spy(self: stand_ins.PaintedPeople, frames: Any) -> Any:  # noqa: ANN401 - passed through
        seen.add(threading.current_thread() is threading.main_thread())
        return update(self, frames)

    monkeypatch.setattr(stand_ins.PaintedPeople, "detect", spy)

    report = scored(pairing, tmp_path / "out", *ALL_KINDS)

    assert_same_digits(tmp_path / "out", report, reference)
    assert seen == {True, False}, "it was to be work of several threads"


@pytest.mark.usefixtures("networks")
def test_processes_change_no_digit(
    pairing: Pairing, reference: tuple[Path, ScoreReport], tmp_path: Path
) -> None:
    report = scored(pairing, tmp_path / "out", *ALL_KINDS, workers=2, factory=stand_ins.FACTORY)
    assert_same_digits(tmp_path / "out", report, reference)


def test_processes_and_threads_write_the_same_bytes(
    pairing: Pairing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = []
    for cores, workers in ((1, 1), (2, 1), (2, 2)):
        monkeypatch.setattr("tpbench.work.usable_cores", lambda cores=cores: cores)
        out = tmp_path / f"{cores} {workers}"
        scored(pairing, out, *PIXEL_METRICS, "drift_psnr_slope", "drift_lag_10", workers=workers)
        hashes.append([sha256_of(out / name) for name in ("scores.json", "frames.parquet")])
    assert hashes[0] == hashes[1] == hashes[2]


@pytest.mark.usefixtures("networks")
def test_the_order_of_clips_changes_no_digit(
    pairing: Pairing, reference: tuple[Path, ScoreReport], tmp_path: Path
) -> None:
    backwards = replace(pairing, pairs=pairing.pairs[::-1])
    report = scored(backwards, tmp_path / "out", *ALL_KINDS)
    assert_same_digits(tmp_path / "out", report, reference)


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize("frames", [1, 50])
def test_the_length_of_chunks_changes_no_digit(
    frames: int,
    pairing: Pairing,
    reference: tuple[Path, ScoreReport],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clip_pass, "CHUNK_FRAMES", frames)
    report = scored(pairing, tmp_path / "out", *ALL_KINDS)
    assert_same_digits(tmp_path / "out", report, reference)


# --- what goes wrong and is nobody's fault ----------------------------------------------------


def test_a_bug_in_a_worker_fails_its_clip_and_leaves_its_traceback(
    pairing: Pairing, tmp_path: Path
) -> None:
    factory = "tests.metrics.scoring.stand_ins:build_stumbling"
    two = replace(pairing, pairs=pairing.pairs[:2])
    report = scored(two, tmp_path / "out", "psnr", workers=2, factory=factory)
    assert report.coverage.failed == {"clip1": "LookupError: nobody thought of clip1"}
    assert (report.coverage.n_scored, report.coverage.n_expected) == (1, 2)
    log = (tmp_path / "out" / "scoring.log").read_text()
    assert "clip1:\nTraceback (most recent call last)" in log


def test_a_clip_that_kills_its_workers_is_given_up_for_later_runs_too(
    pairing: Pairing, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, factory = tmp_path / "out", "tests.metrics.scoring.stand_ins:build_killing"
    two = replace(pairing, pairs=pairing.pairs[:2])
    killed = out / ".scoring" / "killed"

    report = scored(two, out, "psnr", workers=2, factory=factory)

    reason = report.coverage.failed["clip1"]
    assert reason.startswith("the worker was lost: it was killed by SIGKILL")
    assert killed.read_text() == "\n" * 3
    again = scored(two, out, "psnr", workers=2, factory=factory)
    assert again.to_json() == report.to_json()
    assert killed.read_text() == "\n" * 3
    assert "1 clip not tried again, given up after 3 attempts (such as clip1)" in caplog.text

    (path,) = (out / ".scoring").glob("*.attempts.json")
    AttemptRecord.read(path).model_copy(update={"attempts": 2}).write(path)  # its driver was killed
    scored(two, out, "psnr", workers=2, factory=factory)
    assert killed.read_text() == "\n" * 4
    assert scored(two, out, "psnr", workers=2, retry_failed=True).complete
    assert not path.exists()


def test_a_bug_in_this_process_fails_its_clip_and_leaves_its_traceback(
    pairing: Pairing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = clip_pass.ClipPass.run

    def stumble(self: clip_pass.ClipPass, job: ScoringJob, on_frame: Any) -> int:  # noqa: ANN401 - passed on
        if job.clip_id == "clip1":
            raise LookupError("nobody thought of\nthis")
        return run(self, job, on_frame)

    monkeypatch.setattr(clip_pass.ClipPass, "run", stumble)

    report = scored(pairing, tmp_path / "out", "psnr")

    assert report.coverage.failed == {"clip1": r"LookupError: nobody thought of\nthis"}
    assert (report.coverage.n_scored, report.coverage.n_expected) == (2, 3)
    log = (tmp_path / "out" / "scoring.log").read_text()
    assert "clip1:\nTraceback (most recent call last)" in log


def test_a_full_disk_in_this_process_ends_the_scoring(
    pairing: Pairing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(clip_pass.ClipPass, "run", fill)

    with pytest.raises(TPBenchError, match="No space left"):
        scored(pairing, tmp_path / "out", "psnr")
