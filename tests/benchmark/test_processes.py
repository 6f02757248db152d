"""Runs by worker processes: killed, interrupted, and with generators that kill them."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.benchmark.conftest import Maker, births, content, write_dataset
from tests.benchmark.generators import HEALED, HURRY, MODULE
from tests.in_process import without_processes
from tests.processes import assert_none_outlives, started, wait_while_running
from tpbench.benchmark.run_folder import Run
from tpbench.errors import ConfigError, MissingWeightsError
from tpbench.work.attempts import AttemptRecord

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).parent / "slow_run.py"
MODEL = f"{MODULE}:Numbered"
OPTIONS = {"pause_s": "0.003", "shade": "0"}


@pytest.fixture(scope="module")
def undisturbed(talks: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What killed runs are held against."""
    make = Maker(data=talks, out=tmp_path_factory.mktemp("undisturbed"))
    return make(model=MODEL, options={"shade": "0"}, workers=1)


def records_below(out: Path) -> dict[str, tuple[int, int]]:
    """Clip -> time and file of its record, in the only run of a folder."""
    return {
        path.stem: (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in out.glob("*/*/*/*/records/*.json")
        if not path.name.startswith(".")
    }


def environment() -> Mapping[str, str]:
    """Let the script find the tests."""
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def gone_on(make: Maker, workers: int) -> Run:
    """Go on with a run in this process: what workers do is the same, without their start."""
    with without_processes():
        return make(model=MODEL, options=OPTIONS, workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_killed_after_its_first_clip_ends_as_an_undisturbed_one(
    workers: int, make: Maker, undisturbed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (str(SCRIPT), str(make.data), str(make.out), str(workers))
    with started(*command, environment=environment()) as process:
        wait_while_running(process, lambda: bool(records_below(make.out)))
        process.kill()
    assert_none_outlives(make.out)
    before = records_below(make.out)
    assert 0 < len(before) < 3, "it was killed in the middle"
    monkeypatch.setenv(HURRY, "1")
    run = gone_on(make, workers)
    after = births(run)
    assert {name: after[name] for name in before} == before, "a finished clip was made again"
    assert content(run) == content(undisturbed)
    assert [session.ended_at is None for session in run.info.sessions] == [True, False]


def test_a_run_killed_in_the_middle_of_a_clip_leaves_nothing_that_counts(
    make: Maker, undisturbed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (str(SCRIPT), str(make.data), str(make.out), "1")
    with started(*command, environment=environment()) as process:
        wait_while_running(process, lambda: any(make.out.glob("*/*/*/*/generated/.*.part")))
        process.kill()
    assert_none_outlives(make.out)
    assert list(make.out.glob("*/*/*/*/generated/*.mkv")) == []
    monkeypatch.setenv(HURRY, "1")
    run = gone_on(make, 2)
    assert content(run) == content(undisturbed)
    assert list((run.folder.path / "generated").glob(".*")) == []


def test_an_interrupted_run_says_how_far_it_came(make: Maker) -> None:
    command = (str(SCRIPT), str(make.data), str(make.out), "1")
    with started(*command, environment=environment()) as process:
        wait_while_running(process, lambda: bool(records_below(make.out)))
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert_none_outlives(make.out)
    (path,) = make.out.glob("*/*/*/*/run.json")
    info = Run.open(path.parent).info
    assert info.partial
    assert info.counts.done == len(records_below(make.out)) >= 1
    assert info.sessions[0].ended_at is not None


def test_neither_the_workers_nor_the_batches_change_a_byte(make: Maker, undisturbed: Run) -> None:
    pair = make(model=f"{MODULE}:LockStep", workers=2)
    assert content(pair) == content(undisturbed)
    assert undisturbed.info.sessions[0].workers == 1
    assert pair.info.sessions[0].workers == 2


@pytest.mark.parametrize("max_clips", ["1", "3"])
def test_a_clip_that_kills_its_worker_is_quarantined_and_the_others_go_on(
    max_clips: str, make: Maker, undisturbed: Run, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"fault": "kill", "max_clips": max_clips}

    run = make(model=f"{MODULE}:Faulty", options=options, workers=1)

    records = run.records()
    assert {name: record.status for name, record in records.items()} == {
        "a": "done",
        "b": "quarantined",
        "c": "done",
    }
    reason = records["b"].reason or ""
    assert reason.startswith("the worker was lost: it was killed by SIGKILL")
    assert reason in caplog.text
    assert run.info.counts.quarantined == 1
    assert content(run) == {
        path: sha for path, sha in content(undisturbed).items() if path[-5] != "b"
    }


def test_a_clip_that_hangs_is_stopped_and_quarantined_too(make: Maker) -> None:
    options = {"fault": "hang"}
    model = f"{MODULE}:Faulty"
    run = make(model=model, options=options, workers=1, ids=("b",), item_timeout_s=0.5)
    assert run.records()["b"].status == "quarantined"
    reason = run.records()["b"].reason or ""
    assert reason.startswith("the worker was lost: it made no progress for 0.5 s")


def test_a_quarantined_clip_is_tried_again_only_if_asked(
    make: Maker, undisturbed: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"fault": "kill", "max_clips": "3"}
    said: dict[str, Any] = {"model": f"{MODULE}:Faulty", "options": options, "workers": 1}
    run = make(**said)
    born = births(run)

    assert births(make(**said)) == born
    assert "1 clip not tried again, given up after 3 attempts (such as b)" in caplog.text

    run.folder.record("b").unlink()  # as if its driver had been killed after two attempts
    (path,) = run.folder.attempts.iterdir()
    AttemptRecord.read(path).model_copy(update={"attempts": 2}).write(path)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert make(**said).records()["b"].status == "quarantined"
    assert "trying again" not in caplog.text

    monkeypatch.setenv(HEALED, "1")
    assert content(make(**said)) != content(undisturbed)
    assert content(make(**said, retry_failed=True)) == content(undisturbed)
    assert not list(run.folder.attempts.iterdir())


def test_what_a_shard_has_quarantined_is_not_tried_again_by_the_last_run(make: Maker) -> None:
    said: dict[str, Any] = {"model": f"{MODULE}:Faulty", "options": {"fault": "kill"}, "workers": 1}
    parts = [make(**said, shard=f"{number}/2") for number in (1, 2)]
    (given_up,) = (part.records()["b"] for part in parts if "b" in part.records())
    assert make(**said).records()["b"] == given_up
    assert make(**said).info.counts.quarantined == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_is_lost_before_any_clip_was_given_out_costs_no_clip(
    workers: int, make: Maker, undisturbed: Run, tmp_path: Path
) -> None:
    options = {"marker": str(tmp_path / "died")}
    run = make(model=f"{MODULE}:DiesOnce", options=options, workers=workers)
    assert (tmp_path / "died").exists()
    assert content(run) == content(undisturbed)


def test_a_bug_keeps_its_traceback_in_the_log(make: Maker) -> None:
    run = make(model=f"{MODULE}:Faulty", options={"fault": "bug"}, workers=1, ids=("b",))
    assert run.records()["b"].reason == "ZeroDivisionError: b (more on it: log.txt)"
    assert "raise ZeroDivisionError(clip_id)" in run.folder.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_without_weights_nothing_is_made(workers: int, make: Maker) -> None:
    with pytest.raises(MissingWeightsError, match="run: tpbench weights pull tiny"):
        make(model=f"{MODULE}:Weightless", workers=workers)
    assert list(make.out.rglob("run.json")) == []
    assert list(make.out.rglob("*.mkv")) == []


def test_options_that_a_class_does_not_know_are_refused(make: Maker) -> None:
    with pytest.raises(ConfigError, match="unexpected keyword argument 'shede'"):
        make(model=MODEL, options={"shede": "1"})


def test_edited_code_is_another_model(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "own" / "gens.py"
    module.parent.mkdir()
    source = f"from {MODULE} import Bare\n\nclass Mine(Bare):\n    pass\n"
    module.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    make(model="own.gens:Mine", limit=1)
    module.write_text(f"{source}    max_clips = 2\n")
    with pytest.raises(ConfigError, match=r"the code of own\.gens:Mine has changed"):
        make(model="own.gens:Mine", limit=1)


def test_many_workers_for_few_clips_are_not_started(make: Maker, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_dataset(data, {"only": 101})
    run = make(model=MODEL, data=data, workers=8)
    assert run.info.sessions[0].workers == 1
    assert run.info.counts.done == 1
