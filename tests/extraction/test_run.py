"""Whole runs: disturbed ones end as undisturbed ones do, and nothing is done twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.extraction.dying_driver import POINTS
from tests.processes import assert_none_outlives, descendants, started, wait_while_running
from tests.talks import N_FRAMES, darkness, mirrored, short_settings, write_talk
from tpbench.dataset import Dataset
from tpbench.dataset.folder import RECORDS_FOLDER
from tpbench.errors import ConfigError, DatasetError
from tpbench.extraction import run
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.records import WORKER_LOG, SourceRecord, open_records, read_records
from tpbench.extraction.run import ExtractionRequest, extract, run_shard
from tpbench.extraction.thumbnails import read_thumbnails
from tpbench.extraction.worker import build
from tpbench.files import sha256_of
from tpbench.work import InThisProcess, TaskSpec, pool
from tpbench.work.records import Shard

HERE = Path(__file__).parent
SETTINGS = short_settings()
EPOCH_S = 1_700_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Talks:
    """Two folders of sources: two talks, a dark video, and a file that is no video."""

    one: Path
    two: Path
    preset: Path

    def command(self, out: Path, *inputs: Path, workers: int = 2) -> list[str]:
        """The arguments of `tpbench extract`."""
        given = [str(path) for path in inputs or (self.one, self.two)]
        options = ["--skeleton", "mediapipe", "--workers", str(workers)]
        return ["extract", *given, "--out", str(out), "--preset", str(self.preset), *options]


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Talks:
    """Tests that change a source put it back."""
    folder = tmp_path_factory.mktemp("talks")
    made = Talks(one=folder / "one", two=folder / "two", preset=folder / "short.yaml")
    write_talk(made.one / "a.mp4")
    write_talk(made.one / "b.mp4", mirrored())
    (made.one / "a.info.json").write_text(json.dumps({"license": "CC BY", "epoch": EPOCH_S}))
    write_talk(made.two / "c.mp4", darkness())
    (made.two / "d.mp4").write_text("no video\n")
    made.preset.write_text(yaml.safe_dump(SETTINGS.model_dump(mode="json")))
    return made


@pytest.fixture(scope="module")
def undisturbed(talks: Talks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset that every run should end with. Tests copy it and leave it as it is."""
    out = tmp_path_factory.mktemp("undisturbed") / "dataset"
    extracted(out, [talks.one, talks.two])
    return out


@pytest.fixture
def copy(undisturbed: Path, tmp_path: Path) -> Path:
    """A finished dataset to go on with."""
    return shutil.copytree(undisturbed, tmp_path / "dataset")


@pytest.fixture
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker can be started."""

    def refuse(*_: object) -> None:
        pytest.fail("a worker was started")

    monkeypatch.setattr(pool, "WorkerHandle", refuse)


def extracted(
    out: Path,
    inputs: Sequence[Path],
    *,
    settings: ExtractionConfig = SETTINGS,
    workers: int = 2,
    redo: bool = False,
) -> Dataset:
    return extract(
        inputs, out, preset=settings, skeleton="mediapipe", workers=workers, redo=redo, name="talks"
    )


def gone_on(out: Path, *inputs: Path) -> Dataset:
    """Go on with a run in this process: what a worker does is the same, without its start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_pool", lambda _: InThisProcess(build=build))
        return extracted(out, inputs)


def entries(out: Path) -> dict[str, SourceRecord]:
    """The records by file name."""
    return {Path(record.item).name: record for record in read_records(out)}


def finished(out: Path) -> dict[str, SourceRecord]:
    return {k: e for k, e in entries(out).items() if e.state in {"done", "failed", "quarantined"}}


def begun(out: Path) -> set[int]:
    """Marks of the sources that workers are at, or were when they were killed; each is new."""
    times = set()
    for path in out.glob(".work/*"):
        with suppress(FileNotFoundError):
            times.add(path.stat().st_ctime_ns)
    return times


def rows(out: Path) -> dict[str, dict[str, Any]]:
    """The manifest: source file -> row, all columns."""
    table = Dataset.open(out).manifest()
    return {
        Path(row["source_path"]).name: row for row in json.loads(table.to_json(orient="records"))
    }


def content(out: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """All that must be equal: manifest rows in order, and the files with their checksums.

    Left out are the records, and what tells of times: dataset.json and the pages made from it.
    """
    table = Dataset.open(out).manifest()
    timed = {"dataset.json", "README.md", "croissant.json", "report.html", "manifest.parquet"}
    files = {
        str(path.relative_to(out)): "" if path.name in timed else sha256_of(path)
        for path in sorted(out.rglob("*"))
        if path.is_file() and RECORDS_FOLDER not in path.parts
    }
    return json.loads(table.to_json(orient="records")), files


@contextmanager
def replaced(path: Path, other: Path) -> Iterator[None]:
    """Put another file in a source's place for a while."""
    aside = path.with_name("aside")
    path.rename(aside)
    shutil.copy(other, path)
    try:
        yield
    finally:
        aside.replace(path)


def test_the_undisturbed_run_is_what_the_others_are_held_against(
    undisturbed: Path, talks: Talks
) -> None:
    found = rows(undisturbed)

    assert {name: row["status"] for name, row in found.items()} == {
        "a.mp4": "kept",
        "b.mp4": "kept",
        "c.mp4": "rejected",
        "d.mp4": "failed",
    }
    assert found["a.mp4"]["retrieved_at"] == "2023-11-14T22:13:20+00:00"
    assert found["d.mp4"]["error"].startswith("two/d.mp4: is not a video")
    assert str(talks.one.parent) not in (undisturbed / "manifest.parquet").read_bytes().decode(
        "latin-1"
    )
    assert Dataset.open(undisturbed).verify() == []
    assert not (undisturbed / ".work").exists()
    (pictured,) = undisturbed.glob(".thumbnails/*/*")
    (shown,) = read_thumbnails(undisturbed, pictured.stem).items()
    assert shown[0] == found["c.mp4"]["clip_id"]
    assert 0 <= shown[1].frame < N_FRAMES


@pytest.mark.parametrize("point", POINTS)
def test_a_run_killed_at_any_point_ends_as_an_undisturbed_one(
    point: str, talks: Talks, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    with started(str(HERE / "dying_driver.py"), point, *talks.command(out, workers=1)) as process:
        assert process.wait(120) == -signal.SIGKILL
    assert_none_outlives(out)
    before = finished(out)
    gone_on(out, talks.one, talks.two)
    assert content(out) == content(undisturbed)
    assert {name: finished(out)[name] for name in before} == before, "something was done twice"
    assert {entry.attempts for entry in finished(out).values()} == {1}


def test_a_run_killed_in_the_middle_of_a_source_again_and_again_ends_well(
    talks: Talks, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    before: dict[str, SourceRecord] = {}
    for num_done in (0, 0, 1, 1):
        left = begun(out)

        def in_the_middle(least: int = num_done, left: set[int] = left) -> bool:
            return bool(begun(out) - left) and len(finished(out)) >= least

        with started("-m", "tpbench", *talks.command(out, workers=1)) as process:
            wait_while_running(process, in_the_middle)
            process.kill()
        assert_none_outlives(out)
        assert {name: finished(out)[name] for name in before} == before
        before = finished(out)

    gone_on(out, talks.one, talks.two)

    assert content(out) == content(undisturbed)
    assert {name: finished(out)[name] for name in before} == before
    assert {entry.attempts for entry in finished(out).values()} == {1}, "that was no failed attempt"


def test_a_killed_worker_costs_one_attempt_and_nothing_else(
    talks: Talks, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    with started("-m", "tpbench", *talks.command(out, workers=1)) as process:
        wait_while_running(process, lambda: any(out.glob(".work/*")))
        (worker,) = descendants(process)
        worker.kill()
        assert process.wait(120) == 3
        assert process.stdout is not None
        assert "2 clips" in process.stdout.read()
    assert content(out) == content(undisturbed)
    attempts = sorted(entry.attempts for entry in finished(out).values())
    assert attempts == [1, 1, 1, 2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_publishes_what_it_has_and_goes_on_later(
    number: signal.Signals, talks: Talks, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    with started("-m", "tpbench", *talks.command(out, talks.one, workers=1)) as process:
        wait_while_running(process, lambda: len(finished(out)) == 1 and any(out.glob(".work/*")))
        process.send_signal(number)
        said, complained = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")
    assert complained == "interrupted: the same command continues where it stopped\n"
    assert_none_outlives(out)
    before = finished(out)

    assert rows(out).keys() == before.keys() == {"a.mp4"}
    assert Dataset.open(out).info.sources_pending == 1
    assert Dataset.open(out).verify() == []
    assert not (out / ".work").exists()

    gone_on(out, talks.one, talks.two)

    assert finished(out)["a.mp4"] == before["a.mp4"]
    assert content(out) == content(undisturbed)
    assert Dataset.open(out).info.sources_pending == 0


@pytest.mark.usefixtures("no_workers")
def test_a_second_run_does_nothing(copy: Path, undisturbed: Path, talks: Talks) -> None:
    extracted(copy, [talks.one, talks.two])
    assert finished(copy) == finished(undisturbed)
    assert sha256_of(copy / "manifest.parquet") == sha256_of(undisturbed / "manifest.parquet")
    assert content(copy) == content(undisturbed)


def test_only_what_is_new_is_done(copy: Path, talks: Talks, tmp_path: Path) -> None:
    before = finished(copy)
    new = write_talk(tmp_path / "new" / "e.mp4", darkness(20))
    shutil.copy(talks.one / "b.mp4", tmp_path / "new" / "again.mp4")
    gone_on(copy, talks.one, talks.two, tmp_path / "new")
    after = finished(copy)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {new.name, "again.mp4"}
    found = rows(copy)
    assert found["again.mp4"]["reject_codes"] == ["source.duplicate"]
    assert found["again.mp4"]["error"] == "same bytes as one/b.mp4"
    assert len(found) == 6


def test_a_source_that_changed_is_done_again_and_its_old_clip_goes(
    copy: Path, talks: Talks, tmp_path: Path
) -> None:
    before = finished(copy)
    old = rows(copy)["a.mp4"]["clip_id"]
    other = write_talk(tmp_path / "other.mp4", mirrored()[::-1])

    with replaced(talks.one / "a.mp4", other):
        dataset = gone_on(copy, talks.one, talks.two)

    new = rows(copy)["a.mp4"]
    assert new["status"] == "kept"
    assert new["source_sha256"] == sha256_of(other)
    assert old not in {clip.clip_id for clip in dataset.clips(None)}
    assert dataset.verify() == []
    assert list(copy.rglob(f"{old}.*")) == []
    assert {name: finished(copy)[name] for name in "bcd" for name in [f"{name}.mp4"]} == {
        name: entry for name, entry in before.items() if name != "a.mp4"
    }


def test_sources_that_moved_are_known_again(copy: Path, talks: Talks, tmp_path: Path) -> None:
    before, kept_rows = finished(copy), rows(copy)
    talks.one.rename(tmp_path / "moved")
    try:
        extracted(copy, [tmp_path / "moved", talks.two])
    finally:
        (tmp_path / "moved").rename(talks.one)
    assert finished(copy) == before
    assert rows(copy) == kept_rows


def test_the_content_hangs_neither_on_the_workers_nor_on_the_order_of_inputs(
    undisturbed: Path, talks: Talks, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    dataset = extracted(out, [talks.two, talks.one], workers=1)
    assert content(out) == content(undisturbed)
    assert dataset.digest == Dataset.open(undisturbed).digest


@pytest.mark.usefixtures("no_workers")
def test_other_settings_are_refused_and_the_difference_is_named(copy: Path, talks: Talks) -> None:
    before = content(copy)
    settings = short_settings(**{"face.too_small": 40})
    with pytest.raises(DatasetError) as refused:
        extracted(copy, [talks.one], settings=settings)
    assert "filters.face.too_small null is now 40" in str(refused.value)
    assert "--redo" in str(refused.value)
    assert content(copy) == before


def test_redo_with_other_settings_leaves_no_clip_of_the_old_ones(copy: Path, talks: Talks) -> None:
    settings = short_settings(**{"clip.too_short": 1000})
    dataset = extracted(copy, [talks.one, talks.two], settings=settings, redo=True)
    assert dataset.info.counts.kept == 0
    assert rows(copy)["a.mp4"]["reject_codes"] == ["clip.too_short"]
    assert dataset.verify() == []
    assert [
        path for name in ("clips", "keypoints", "poses") for path in (copy / name).glob("*/*")
    ] == []
    assert dataset.info.config["filters"] == settings.model_dump(mode="json")["filters"]


@pytest.mark.usefixtures("no_workers")
def test_two_drivers_at_once_are_refused(copy: Path, talks: Talks) -> None:
    with (
        open_records(copy, settings="0", config={}, redo=True),
        pytest.raises(DatasetError, match=r"in use by process \d+ on .*; wait for it"),
    ):
        extracted(copy, [talks.one, talks.two])


@pytest.mark.usefixtures("no_workers")
def test_leftovers_are_cleared_and_strangers_left_alone(copy: Path, talks: Talks) -> None:
    ours = [
        copy / ".work" / "a-12345678" / "clips" / ".x.mp4.0123abcd.part",
        copy / ".manifest.parquet.4242.tmp",
        copy / "splits" / ".test.csv.4242.tmp",
        copy / "clips" / "gone-12345678_00000000_00001200.mp4",
    ]
    foreign = [copy / "notes.txt", copy / ".notes.tmp", copy / "clips" / "thumbnail.mp4"]
    for path in (*ours, *foreign):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")

    extracted(copy, [talks.one, talks.two])

    assert [path for path in ours if path.exists()] == []
    assert [path for path in foreign if not path.exists()] == []
    assert not (copy / ".work").exists()


def test_a_bug_and_a_crash_name_their_source_and_where_there_is_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("bug.mp4", "crash.mp4"):
        (tmp_path / "talks" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "talks" / name).write_text(name)
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setattr(run, "_task", lambda *_, **__: TaskSpec(factory="faulty_worker:build"))

    dataset = extracted(tmp_path / "out", [tmp_path / "talks"])

    bug, crash = rows(dataset.folder)["bug.mp4"], rows(dataset.folder)["crash.mp4"]
    assert (bug["status"], crash["status"]) == ("failed", "quarantined")
    more = f"(more on it: {WORKER_LOG})"
    assert bug["error"] == f"talks/bug.mp4: LookupError: nobody thought of bug.mp4 {more}"
    assert crash["error"].startswith(
        "talks/crash.mp4: the worker was lost: it was killed by SIGSEGV"
    )
    assert crash["error"].endswith(more)
    assert {record.getMessage() for record in caplog.records} >= {bug["error"], crash["error"]}
    log = (dataset.folder / WORKER_LOG).read_text()
    assert "talks/bug.mp4:\nTraceback (most recent call last)" in log
    assert "Fatal Python error: Segmentation fault" in log


def test_two_shards_at_once_one_of_them_killed_end_as_a_whole_run(
    talks: Talks, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    commands = [[*talks.command(out, workers=1), "--shard", f"{number}/2"] for number in (1, 2)]
    with (
        started("-m", "tpbench", *commands[0]) as one,
        started("-m", "tpbench", *commands[1]) as two,
    ):
        wait_while_running(one, lambda: any(out.glob(".work/*")))
        one.kill()
        assert two.wait(120) in {0, 3}
    assert not (out / "manifest.parquet").exists()
    before = finished(out)
    assert before, "the second shard did its part"
    with started("-m", "tpbench", *commands[0]) as again:
        assert again.wait(120) in {0, 3}
    assert finished(out).keys() == {"a.mp4", "b.mp4", "c.mp4", "d.mp4"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "WorkerHandle", lambda *_: pytest.fail("a worker was started"))
        extracted(out, [talks.one, talks.two])

    assert content(out) == content(undisturbed)
    assert {name: finished(out)[name] for name in before} == before


def test_redo_is_no_matter_of_a_shard(talks: Talks, tmp_path: Path) -> None:
    request = ExtractionRequest(inputs=[talks.one], out=tmp_path / "out", redo=True)
    with pytest.raises(ConfigError, match="no single shard can do"):
        run_shard(request, Shard(number=1, count=2))


def test_clips_and_records_are_on_the_disk_before_they_have_their_names(
    talks: Talks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut keeps what was synced, in the order in which it was."""
    events: list[tuple[str, str]] = []
    real_sync, real_replace = os.fsync, Path.replace

    def fsync(fd: int) -> None:
        events.append(("sync", str(Path(f"/proc/self/fd/{fd}").readlink())))
        real_sync(fd)

    def replace(self: Path, target: Path) -> Path:
        events.append(("rename", f"{self} {target}"))
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(run, "_pool", lambda _: InThisProcess(build=build))
    out = tmp_path / "out"
    extracted(out, [talks.one / "a.mp4"], workers=1)

    renames = [event[1].split() for event in events if event[0] == "rename"]
    clips = [(old, new) for old, new in renames if "/.work/" in old and "/.work/" not in new]
    (record,) = [(old, new) for old, new in renames if f"{out}/.records/sources/" in new]
    at = {event: place for place, event in enumerate(events)}
    assert len(clips) == 3
    for old, new in (*clips, record):
        named = at["rename", f"{old} {new}"]
        assert at["sync", old] < named, "the content comes before the name"
        folder = max(i for i, e in enumerate(events) if e == ("sync", str(Path(new).parent)))
        assert named < folder, "and the name is brought to the disk, too"
        if new != record[1]:
            assert folder < at["sync", record[0]], "the record comes after its clips"


@pytest.mark.parametrize("workers", [0, -1])
def test_a_run_needs_a_worker(workers: int, talks: Talks, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"at least 1, got {workers}"):
        extracted(tmp_path / "out", [talks.one], workers=workers)
    assert not (tmp_path / "out").exists()
