"""Stopped anywhere and started again, scoring goes on, and ends as if it had never stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.metrics.scoring import stand_ins
from tests.metrics.scoring.clips import (
    STRICT,
    pairing_of,
    scored,
    some_clips,
    worse,
    write_set,
    write_video,
)
from tests.metrics.scoring.dying_scorer import POINTS
from tests.processes import assert_none_outlives, started
from tpbench.errors import ConfigError
from tpbench.files import sha256_of
from tpbench.metrics.scoring import meters
from tpbench.metrics.scoring.clip_pass import ClipPass
from tpbench.metrics.scoring.pairing import Pairing
from tpbench.metrics.scoring.records import ScoringJob
from tpbench.work import Progress
from tpbench.work.locks import InUseError

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

LENGTHS = (18, 103, 33)

PLAIN = ("psnr", "ssim", "akd_body", "face_psnr", "drift_psnr_slope")
METRICS = (*PLAIN, "fid", "fvd")

pytestmark = pytest.mark.usefixtures("networks")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for side, clips in zip(("real", "gen"), some_clips(LENGTHS, size_px=(96, 80)), strict=True):
        for images in clips.values():
            for image in images:
                stand_ins.paint_person(image, 40 if side == "real" else 42, 30)
        write_set(folder / side, clips)
    return folder


@pytest.fixture
def pairing(folders: Path) -> Pairing:
    return pairing_of(folders / "real", folders / "gen")


@pytest.fixture(scope="module")
def undisturbed(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scored_aside(folders, tmp_path_factory.mktemp("undisturbed"), METRICS)


@pytest.fixture(scope="module")
def plain(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without networks."""
    return scored_aside(folders, tmp_path_factory.mktemp("plain"), PLAIN)


def scored_aside(folders: Path, folder: Path, metrics: Sequence[str]) -> Path:
    """Score with a cache beside the results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TPBENCH_CACHE", str(folder / "cache"))
        stand_ins.put_in(patch.setattr)
        stand_ins.make_ready(patch.setattr)
        scored(pairing_of(folders / "real", folders / "gen"), folder / "out", *metrics)
    return folder / "out"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[str, ...]]]:
    """What is measured in this process: clip ids and their meters."""
    passes: list[tuple[str, tuple[str, ...]]] = []
    run = ClipPass.run

    def spy(self: ClipPass, job: ScoringJob, on_frame: object = None) -> int:
        passes.append((job.clip_id, tuple(job.keys)))
        return run(self, job, on_frame)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(ClipPass, "run", spy)
    return passes


ALL_METERS = ("psnr", "ssim", "regions", "pose", "inception", "i3d")


def stamps(out: Path) -> dict[str, tuple[int, int]]:
    """Time of change and inode of each finished record: what is written again has others."""
    return {
        path.name: (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in sorted((out / ".scoring").glob("*.npz"))
        if not path.name.startswith(".")
    }


def content(out: Path) -> dict[str, str]:
    return {name: sha256_of(out / name) for name in ("scores.json", "frames.parquet")}


def assert_no_leftovers(out: Path) -> None:
    assert list(out.rglob("*.tmp")) == []


# --- killed -----------------------------------------------------------------------------------


NETWORKS_AT = {"a chunk is measured", "features lie there, no record"}
TIMES = {
    "a chunk is measured": 5,
    "features lie there, no record": 2,
    "half a record is written": 4,
}


def die(
    folders: Path, out: Path, point: str, metrics: Sequence[str], *, times: int, workers: int = 1
) -> None:
    what = (point, str(times), str(workers), ",".join(metrics))
    paths = (str(folders / "real"), str(folders / "gen"), str(out))
    search = os.pathsep.join([str(ROOT), *sys.path])
    command = (str(HERE / "dying_scorer.py"), *what, *paths)
    with started(*command, environment={"PYTHONPATH": search}) as process:
        assert process.wait(120) == -signal.SIGKILL, process.communicate()
    assert_none_outlives(out)


@pytest.mark.parametrize("point", POINTS)
def test_a_scoring_killed_at_any_point_ends_as_an_undisturbed_one(
    point: str, folders: Path, pairing: Pairing, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with_networks = point in NETWORKS_AT
    expected: Path = request.getfixturevalue("undisturbed" if with_networks else "plain")
    metrics = METRICS if with_networks else PLAIN
    out = tmp_path / "out"
    die(folders, out, point, metrics, times=TIMES.get(point, 1))
    before = stamps(out)
    if point == "a clip is done":
        assert len(before) == 1
    scored(pairing, out, *metrics)
    assert content(out) == content(expected)
    assert before.items() <= stamps(out).items(), "something was measured twice"
    assert_no_leftovers(out)


def test_a_scoring_of_several_processes_killed_with_them_ends_as_an_undisturbed_one(
    folders: Path, pairing: Pairing, plain: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    die(folders, out, "a clip is done", PLAIN, times=2, workers=2)
    before = stamps(out)
    assert len(before) >= 2
    scored(pairing, out, *PLAIN, workers=2, factory=stand_ins.FACTORY)
    assert content(out) == content(plain)
    assert before.items() <= stamps(out).items(), "something was measured twice"
    assert_no_leftovers(out)


# --- what counts as finished ------------------------------------------------------------------


@pytest.fixture
def out(undisturbed: Path, own_cache: Path, tmp_path: Path) -> Iterator[Path]:
    """All is scored."""
    shutil.copytree(undisturbed, tmp_path / "out")
    shutil.copytree(undisturbed.parent / "cache", own_cache)
    yield tmp_path / "out"
    assert_no_leftovers(tmp_path)


Measured = list[tuple[str, tuple[str, ...]]]


def test_a_second_scoring_measures_nothing(
    out: Path, pairing: Pairing, measured: Measured, undisturbed: Path
) -> None:
    before = stamps(out)
    news: list[Progress] = []
    scored(pairing, out, *METRICS, on_progress=news.append)
    assert measured == []
    assert stamps(out) == before
    assert content(out) == content(undisturbed)
    assert [(entry.done, entry.total, entry.frames) for entry in news] == [(3, 3, 0)]


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "of another clip"])
def test_a_damaged_record_is_made_again(
    damage: str, out: Path, pairing: Pairing, measured: Measured, undisturbed: Path
) -> None:
    first, second, _ = sorted((out / ".scoring").glob("*.npz"))
    data = bytearray(first.read_bytes())
    match damage:
        case "flipped":
            for at in range(len(data) // 2, len(data) // 2 + 150):
                data[at] ^= 0x55
            first.write_bytes(data)
        case "cut":
            first.write_bytes(data[:-50])
        case "gone":
            first.unlink()
        case _:
            first.write_bytes(second.read_bytes())

    scored(pairing, out, *METRICS)

    assert measured == [("clip0", ALL_METERS)]
    assert content(out) == content(undisturbed)


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_damaged_features_are_made_again(
    damage: str, out: Path, pairing: Pairing, measured: Measured, undisturbed: Path
) -> None:
    (path,) = (out / ".scoring").glob("clip2-*.i3d.npy")
    data = bytearray(path.read_bytes())
    data[-100] ^= 0x55
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flipped" else data[:-1])
    scored(pairing, out, *METRICS)
    assert measured == [("clip2", ("i3d",))]
    assert content(out) == content(undisturbed)


def test_whole_features_of_another_run_are_not_the_records(
    out: Path, pairing: Pairing, measured: Measured, undisturbed: Path
) -> None:
    """Killed between its features and its record, an other scoring leaves such a pair."""
    (features,) = (out / ".scoring").glob("clip2-*.i3d.npy")
    (real,) = {
        path
        for path in (out.parent / "cache").glob("features/i3d/*/*.npy")
        if path.stat().st_size == features.stat().st_size
    }
    features.write_bytes(real.read_bytes())
    scored(pairing, out, *METRICS)
    assert measured == [("clip2", ("i3d",))]
    assert content(out) == content(undisturbed)


@pytest.mark.parametrize(
    "change", [{"length": "truncate"}, {"resize": "area"}, {"rate": "ignore"}, {"first_frame": 1}]
)
def test_another_policy_measures_again(
    change: dict[str, object], out: Path, pairing: Pairing, measured: Measured
) -> None:
    policies = replace(STRICT, **change)  # type: ignore[arg-type]  # fields of policies
    report = scored(pairing, out, *METRICS, policies=policies)
    assert measured == [(f"clip{at}", ALL_METERS) for at in range(3)]
    n_frames = [clip.n_frames for clip in report.clips.values()]
    assert n_frames == [n - bool(change.get("first_frame")) for n in LENGTHS]


def test_a_changed_clip_is_measured_again_and_no_other(
    folders: Path, out: Path, measured: Measured, tmp_path: Path
) -> None:
    _, generated = some_clips(LENGTHS, size_px=(96, 80))
    for side in ("real", "gen"):
        (tmp_path / side).mkdir()
        for path in (folders / side).iterdir():
            (tmp_path / side / path.name).symlink_to(path)
    (tmp_path / "gen" / "clip2.avi").unlink()
    write_video(tmp_path / "gen" / "clip2.avi", worse(generated["clip2"], by=40))
    before = json.loads((out / "scores.json").read_text())["clips"]
    report = scored(pairing_of(tmp_path / "real", tmp_path / "gen"), out, *METRICS)
    assert measured == [("clip2", ALL_METERS)]
    assert report.clips["clip2"].values["psnr"] < before["clip2"]["values"]["psnr"]
    assert report.clips["clip1"].values["psnr"] == before["clip1"]["values"]["psnr"]


def test_a_new_version_of_a_meter_measures_again_what_it_measures(
    out: Path, pairing: Pairing, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tuple(
        replace(row, version=row.version + 1) if row.name == "ssim" else row for row in meters._ROWS
    )
    monkeypatch.setattr(meters, "_ROWS", rows)
    scored(pairing, out, *METRICS)
    assert measured == [(f"clip{at}", ("ssim",)) for at in range(3)]


def test_other_weights_measure_again_what_stands_on_them(
    out: Path, pairing: Pairing, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tpbench.metrics.scoring import records

    monkeypatch.setattr(records, "_digest", lambda name, **_: f"new {name}")
    monkeypatch.setattr(records, "_skeleton_digest", lambda *_, **__: "new people")
    scored(pairing, out, *METRICS)
    assert measured == [(f"clip{at}", ("regions", "pose", "inception", "i3d")) for at in range(3)]


def test_only_the_meters_of_new_metrics_run(
    out: Path, pairing: Pairing, measured: Measured, tmp_path: Path
) -> None:
    expected = scored(pairing, tmp_path / "fresh", *METRICS, "l1", "tje_d1", "kid", "hand_lpips")
    measured.clear()
    found = scored(pairing, out, *METRICS, "l1", "tje_d1", "kid", "hand_lpips")
    assert measured == [(f"clip{at}", ("l1", "tje_d1", "region_lpips")) for at in range(3)]
    assert found.metrics.keys() == expected.metrics.keys()
    assert content(out) == content(tmp_path / "fresh")


def test_metrics_that_were_left_out_in_between_are_still_there(
    out: Path, pairing: Pairing, measured: Measured, undisturbed: Path
) -> None:
    scored(pairing, out, "psnr", "l1")
    scored(pairing, out, *METRICS)
    assert [meters for _, meters in measured] == [("l1",)] * 3
    assert content(out) == content(undisturbed)


def test_a_clip_that_failed_is_tried_again(
    folders: Path, measured: Measured, tmp_path: Path
) -> None:
    write_set(tmp_path / "gen", {})
    (tmp_path / "gen").mkdir()
    broken = tmp_path / "gen" / "clip0.avi"
    whole = (folders / "gen" / "clip0.avi").read_bytes()
    broken.write_bytes(whole[:300])

    before = scored(pairing_of(folders / "real", tmp_path / "gen"), tmp_path / "out", "psnr")
    broken.write_bytes(whole)
    after = scored(pairing_of(folders / "real", tmp_path / "gen"), tmp_path / "out", "psnr")

    assert before.coverage.failed.keys() == {"clip0"}
    assert "clip0.avi" in before.coverage.failed["clip0"]
    assert before.metrics["psnr"].reason == "no clip could be scored"
    assert before.clips_frame().empty
    assert after.coverage.failed == {}
    assert [clip for clip, _ in measured] == ["clip0", "clip0"]
    assert after.clips["clip0"].n_frames == LENGTHS[0]


# --- two at once ------------------------------------------------------------------------------


def test_two_processes_can_not_score_into_one_folder(
    pairing: Pairing, tmp_path: Path, measured: Measured
) -> None:
    complaints = []

    def score_too(_: Progress) -> None:
        with pytest.raises(InUseError) as caught:
            scored(pairing, tmp_path / "out", "psnr")
        complaints.append(str(caught.value))

    scored(pairing, tmp_path / "out", "psnr", on_progress=score_too)

    assert len(set(complaints)) == 1
    assert f"in use by process {os.getpid()}" in complaints[0]
    assert len(measured) == 3
    scored(pairing, tmp_path / "out", "psnr")


def test_a_folder_that_can_not_be_made_is_one_clear_line(pairing: Pairing, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"file/out: can't be used for results \(Not a directory"):
        scored(pairing, tmp_path / "file" / "out", "psnr")


def test_progress_counts_clips_and_frames(pairing: Pairing, tmp_path: Path) -> None:
    news: list[Progress] = []
    scored(pairing, tmp_path / "out", "psnr", on_progress=news.append)
    frames = [entry.frames for entry in news]
    assert frames == sorted(frames)
    assert (news[0].done, news[0].total, news[0].frames) == (0, 3, 0)
    assert (news[-1].done, news[-1].frames) == (3, sum(LENGTHS))
    assert Counter(entry.done for entry in news)[1] > 1, "the long clip tells on its way"
