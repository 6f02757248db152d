"""How far a run is, told while its drivers work, have ended, or were killed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.benchmark.evaluating import Evaluator
from tests.cli.conftest import invoke
from tests.extraction import racing_driver
from tests.processes import started, wait_while_running
from tpbench.benchmark import status
from tpbench.benchmark.status import FolderStatus, status_of, total_of
from tpbench.errors import ConfigError
from tpbench.work.progress import ProgressCounter
from tpbench.work.signs import DriverState, signs

DRIVER = racing_driver.__file__


def refuse_to_wait(_: float) -> None:
    pytest.fail("a disk of this machine needs no second look")


def command(folder: Path, *more: str) -> list[str]:
    return [
        DRIVER, "extract", str(folder / "talks"), "--out", str(folder / "dataset"),
        "--skeleton", "mediapipe", "--preset", "demo", "--workers", "1", *more,
    ]  # fmt: skip


def with_talks(folder: Path, words: dict[str, str]) -> Path:
    (folder / "talks").mkdir()
    for name, text in words.items():
        (folder / "talks" / f"{name}.mp4").write_text(text)
    return folder / "dataset"


def run_driver(folder: Path, *more: str) -> str:
    """Run the command to its end and return what it printed."""
    with started(*command(folder, *more)) as driver:
        out, _ = driver.communicate(timeout=120)
    return out


def states(found: FolderStatus) -> dict[str, str]:
    return {part.part: part.state for part in found.parts}


def test_a_shard_at_work_a_killed_one_and_the_last_run_are_told(tmp_path: Path) -> None:
    # One long video, and more than the other shard can have without any of its own.
    dataset = with_talks(tmp_path, {name: name for name in "abcdef"} | {"long": "sleep"})
    for number in (1, 2):
        with started(*command(tmp_path, "--shard", f"{number}/2")) as driver:
            path = dataset / f".records/driver.shard{number}of2.json"
            wait_while_running(driver, path.exists)
            alive = status_of(dataset, sleep=refuse_to_wait)
            assert states(alive)[f"{number}/2"] == "working"
            assert alive.step == "extract"
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            minute_ago_s = time.time() - 60
            os.utime(path, (minute_ago_s, minute_ago_s))
    dead = status_of(dataset, sleep=refuse_to_wait)
    assert states(dead) == {"1/2": "silent", "2/2": "silent"}
    total = total_of(dead.parts)
    assert (total["total"], total["left_s"]) == (7, None), "nobody does what is left"

    (tmp_path / "talks/long.mp4").write_text("short")
    with started(*command(tmp_path)) as driver:
        driver.communicate(timeout=120)
    ended = status_of(dataset, sleep=refuse_to_wait)
    assert states(ended) == {"": "finished"}, "what shards said is of yesterday"
    assert total_of(ended.parts)["counts"]["kept"] == 7
    assert "manifest: 7 clips kept of 7" in ended.notes

    for path in dataset.glob(".records/driver*"):
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    told = status_of(dataset)
    assert "7 videos with a record: 7 done" in told.notes
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before


def test_a_shard_with_nothing_to_do_leaves_what_a_finished_run_has_said(tmp_path: Path) -> None:
    dataset = with_talks(tmp_path, {name: name for name in "abc"})
    run_driver(tmp_path, "--shard", "1/1")
    run_driver(tmp_path)
    assert states(status_of(dataset)) == {"": "finished"}
    idle = run_driver(tmp_path, "--shard", "2/3")
    assert "shard 2/3: 0 videos processed" in idle
    assert "frames/s" not in idle, "another run's speed"
    found = status_of(dataset)
    assert states(found) == {"": "finished"}
    assert total_of(found.parts)["left"] == 0

    (tmp_path / "talks/new.mp4").write_text("new")
    more = run_driver(tmp_path, "--shard", "1/1")
    assert "shard 1/1: 1 video processed, 3 before" in more
    assert states(status_of(dataset)) == {"1/1": "finished"}


def test_that_a_run_has_worked_since_is_told_until_the_manifest_has_its_clips(
    tmp_path: Path,
) -> None:
    dataset = with_talks(tmp_path, {name: name for name in "abc"})
    run_driver(tmp_path)
    since = "a run has worked since"
    assert since not in str(status_of(dataset).notes)
    (tmp_path / "talks/new.mp4").write_text("new")
    run_driver(tmp_path, "--shard", "1/1")
    assert since in str(status_of(dataset).notes)
    assert invoke("split", dataset).exit_code == 0
    assert since in str(status_of(dataset).notes)
    run_driver(tmp_path)
    assert status_of(dataset).notes == ("manifest: 4 clips kept of 4",)


@pytest.fixture
def on_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "is_network_share", lambda _: True)


def leave_a_sign(folder: Path) -> Path:
    """Leave what a killed driver leaves in a folder of scores."""
    (folder / ".scoring").mkdir()
    path = folder / ".driver.json"
    with signs(path, ProgressCounter("score", total=5, before=1, listener=None)):
        killed = path.read_bytes()
    path.write_bytes(killed)
    return path


@pytest.mark.usefixtures("on_a_share")
def test_on_a_share_a_driver_is_alive_whose_sign_moves_whatever_the_clocks_say(
    tmp_path: Path,
) -> None:
    path = leave_a_sign(tmp_path)
    os.utime(path, (0, 0))
    pauses_s: list[float] = []

    def silence(pause_s: float) -> None:
        pauses_s.append(pause_s)

    assert states(status_of(tmp_path, sleep=silence)) == {"": "silent"}
    assert 15.0 < sum(pauses_s) < 17.0, "three signs are missing"

    def sign(_: float) -> None:
        state = DriverState.read(path)
        path.write_text(state.model_copy(update={"beat": state.beat + 1}).text())

    assert states(status_of(tmp_path, sleep=sign)) == {"": "working"}


def test_a_run_in_parts_and_merged_and_a_folder_of_scores(talks: Path, tmp_path: Path) -> None:
    run_it = Evaluator(data=talks, out=tmp_path / "runs")
    (part,) = run_it(shard="1/2").runs
    found = status_of(part.folder.path)
    assert found.kind == "run"
    assert states(found) == {"1/2": "finished", "2/2": "not started"}
    (whole,) = run_it().runs
    assert states(status_of(whole.folder.path)) == {"": "finished"}
    assert status_of(whole.folder.path).step == "score"

    scores = tmp_path / "scores"
    shutil.copytree(whole.folder.path / ".scoring", scores / ".scoring")
    assert status_of(scores).kind == "scores"
    shutil.copy(whole.folder.path / "run.json", scores)
    assert status_of(scores).kind == "scores", "`score` writes a run.json, too"
    with pytest.raises(ConfigError, match=r"name one below it, such as .*seed42"):
        status_of(tmp_path / "runs")


def test_other_folders_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="no dataset, run or scores of tpbench"):
        status_of(tmp_path)
    (tmp_path / ".records").mkdir()
    for name in ("settings.json", "run.json"):
        (tmp_path / ".records" / name).touch()
    monkeypatch.chdir(tmp_path / ".records")
    for records in (tmp_path / ".records", "."):
        with pytest.raises(
            ConfigError, match=f"records of a dataset; name the dataset, {tmp_path}$"
        ):
            status_of(records)
    with pytest.raises(ConfigError, match="no such folder"):
        status_of(tmp_path / "nowhere")


def test_the_command_prints_a_table_and_json(tmp_path: Path) -> None:
    path = leave_a_sign(tmp_path)
    shown = invoke("status", tmp_path)
    assert shown.exit_code == 0
    assert "working" in shown.output
    assert "0 clips measured" in shown.output
    os.utime(path, (0, 0))
    assert "no sign of life" in invoke("status", tmp_path).output
    assert invoke("status", tmp_path, "--watch", "1e300").exit_code == 2
    assert invoke("status", tmp_path, "--watch", "nan").exit_code == 2
    assert '"left": 4' in invoke("status", tmp_path, "--json").output


def test_signs_that_no_driver_gave_are_named_and_ignored(tmp_path: Path) -> None:
    home = tmp_path / ".records"
    home.mkdir()
    state = DriverState(step="extract", start="t", beat=1, every_s=5.0, ending="finished")
    (home / "driver.shard1of2.json").write_text(state.text())
    (home / "driver.shard2of2.json").symlink_to(home / "driver.shard1of2.json")
    names = ["3of2", "0of0", "1of9999999999", f"1of{'9' * 200}", "01of2"]
    named = [f"driver.shard{name}.json" for name in names] + ["driver-old.json"]
    for name in named:
        (home / name).write_text(state.text())
    (home / "driver.json").write_text(state.text().replace("5.0", "1e300"))
    found = status_of(tmp_path, sleep=refuse_to_wait)
    assert states(found) == {"1/2": "finished", "2/2": "not started"}
    notes = "\n".join(found.notes)
    for name in [*named, "driver.shard2of2.json: a link", "driver.json: every_s"]:
        assert name in notes
    assert notes.count("no sign of a driver, ignored") == 8
    assert invoke("status", tmp_path).exit_code == 0
