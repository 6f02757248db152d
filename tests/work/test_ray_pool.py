"""What `test_pool` says of workers holds where Ray places them; and what only Ray does."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.work.test_pool import final, item, pair, tries, workers
from tpbench.errors import ConfigError, MissingWeightsError, TPBenchError
from tpbench.work import IN_WORK, Engine, Outcome, Pool, TaskSpec, WorkItem

pytest.importorskip("ray")
from tpbench.work.ray_pool import RayPool

ONE = RayPool(num_workers=1)
TWO = RayPool(num_workers=2)


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    """One Ray of this machine for all tests: it takes seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with Engine(name="ray").session():
            yield


def run(task: TaskSpec, *items: WorkItem, executor: RayPool = ONE) -> list[Outcome]:
    with closing(executor.run(task, items)) as outcomes:
        return list(outcomes)


def gone(pids: list[int], *, limit_s: float = 10.0) -> bool:
    end_s = time.monotonic() + limit_s
    while any(map(psutil.pid_exists, pids)):
        if time.monotonic() > end_s:
            return False
        time.sleep(0.02)
    return True


def test_items_are_each_done_once_by_two_workers_of_one_thread(
    task: TaskSpec, folder: Path
) -> None:
    items = [*pair(), *(item(f"{number:03d}", "sleep", seconds=0.02) for number in range(2, 30))]
    outcomes = final(run(task, *items, executor=TWO))
    assert sorted(outcomes) == [item.key for item in items]
    assert {(outcome.kind, outcome.attempts) for outcome in outcomes.values()} == {("done", 1)}
    assert {tries(folder, key) for key in outcomes} == {1}
    results = [outcome.result for outcome in outcomes.values() if outcome.result]
    assert {result["pid"] for result in results} == set(workers(folder))
    assert {result["threads"] for result in results} == {"1"}
    assert gone(workers(folder))


def test_no_item_starts_no_worker(task: TaskSpec, folder: Path) -> None:
    assert run(task) == []
    assert workers(folder) == []


def test_items_end_as_with_workers_that_no_ray_has_placed(task: TaskSpec, folder: Path) -> None:
    """Done, wrong input, a bug, a death; workers are replaced in time, and drawn for."""
    names = {"a": "well", "a.mp4": "refuse", "bug": "stumble", "poison": "die"}
    ends, drawn = {}, []

    def draw(way: str) -> Iterator[WorkItem]:
        for name, do in names.items():
            drawn.append((way, name, len(workers(folder / way))))
            yield item(name, do)

    for way, kind in (("here", Pool), ("ray", RayPool)):
        (folder / way).mkdir()
        here = replace(task, config={"folder": str(folder / way)})
        executor = kind(num_workers=1, max_attempts=2, recycle_after=2)
        with closing(executor.run(here, draw(way))) as outcomes:
            ends[way] = final(list(outcomes))
        assert [tries(folder / way, name) for name in names] == [1, 1, 2, 2]
        assert len(workers(folder / way)) == 5
        assert "in stumble" in (ends[way]["bug"].error_detail or "")
    kinds = {name: end.kind for name, end in ends["ray"].items()}
    assert kinds == {"a": "done", "a.mp4": "failed", "bug": "failed", "poison": "quarantined"}
    for name, end in ends["ray"].items():
        other = ends["here"][name]
        assert (end.kind, end.attempts, end.error) == (other.kind, other.attempts, other.error)
    assert [entry[1:] for entry in drawn[4:]] == [entry[1:] for entry in drawn[:4]]


def test_a_full_disk_stops_the_run_and_leaves_no_worker(task: TaskSpec, folder: Path) -> None:
    with pytest.raises(TPBenchError, match=r"clip\.mp4: No space left on device.*run again"):
        run(task, item("b", "fill_the_disk"), item("c"))
    assert gone(workers(folder))


def test_what_a_task_refuses_to_start_without_is_raised_as_it_is(task: TaskSpec) -> None:
    with pytest.raises(MissingWeightsError, match="tpbench weights pull dwpose"):
        run(replace(task, factory="worker_tasks:lack_weights"), item("a"))


@pytest.mark.slow
def test_workers_that_die_at_the_start_stop_the_run_after_three(
    task: TaskSpec, folder: Path
) -> None:
    with pytest.raises(TPBenchError, match=r"workers can't start: it exited with code 7"):
        run(replace(task, factory="worker_tasks:die_at_start"), item("a"))
    assert len(workers(folder)) == 3


def test_a_stopped_worker_is_named_then_killed_and_its_item_done_by_another(
    task: TaskSpec, folder: Path
) -> None:
    seen: list[str] = []

    def stop_it() -> None:
        while not (folder / "stuck.tmp").exists():
            time.sleep(0.01)
        os.kill(workers(folder)[0], signal.SIGSTOP)
        seen.extend(IN_WORK.keys())

    thread = threading.Thread(target=stop_it)
    thread.start()
    stuck = item("stuck", "sleep", seconds=600, times=1)
    outcomes = run(task, stuck, item("a"), executor=replace(ONE, item_timeout_s=1.0))
    thread.join()
    assert seen == ["stuck"]
    assert [outcome.kind for outcome in outcomes if outcome.key == "stuck"] == ["retried", "done"]
    assert outcomes[0].error == "the worker was lost: it made no progress for 1 s"
    assert gone(workers(folder))


def test_an_actor_that_is_killed_costs_its_item_one_attempt(task: TaskSpec, folder: Path) -> None:
    def kill_the_actor() -> None:
        while not (folder / "held.tmp").exists():
            time.sleep(0.01)
        psutil.Process(workers(folder)[0]).parent().kill()  # type: ignore[union-attr]

    thread = threading.Thread(target=kill_the_actor)
    thread.start()
    outcomes = run(task, item("held", "sleep", seconds=600, times=1), item("a"))
    thread.join()
    assert [outcome.kind for outcome in outcomes if outcome.key == "held"] == ["retried", "done"]
    assert outcomes[0].error == "the worker was lost: its Ray actor died"
    assert final(outcomes)["a"].attempts == 1
    assert gone(workers(folder))


def test_an_interrupt_stops_a_busy_worker_and_lets_it_clear_up(
    task: TaskSpec, folder: Path
) -> None:
    half_written = folder / "busy.tmp"

    def interrupt_when_busy() -> None:
        while not half_written.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt_when_busy)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(task, item("busy", "sleep", seconds=600), item("a"), executor=TWO)
    thread.join()
    assert not half_written.exists()
    assert gone(workers(folder))


def test_more_workers_than_cores_wait_for_room_and_hold_no_item(
    task: TaskSpec, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tpbench.work.ray_pool._LOOK_S", 0.3)
    many = 4 * (os.cpu_count() or 1) + 4
    items = [item(f"{number:03d}", "sleep", seconds=0.2) for number in range(many)]
    outcomes = final(run(task, *items, executor=RayPool(num_workers=many)))
    assert {(outcome.kind, outcome.attempts) for outcome in outcomes.values()} == {("done", 1)}
    assert len(workers(folder)) < many
    assert sum("wait for room on the Ray cluster" in text for text in caplog.messages) == 1


def test_progress_reaches_the_listener_and_what_workers_print_the_log(
    task: TaskSpec, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    heard: list[tuple[str, object, str]] = []
    log = tmp_path / "workers.log"
    executor = replace(ONE, max_attempts=1, worker_log=log)
    running = executor.run(
        task,
        [item("a"), item("b", "die", signal=signal.SIGSEGV)],
        on_report=lambda key, report: heard.append((key, report, IN_WORK.node_of(key))),
    )
    with closing(running) as outcomes:
        assert [outcome.kind for outcome in outcomes] == ["done", "quarantined"]
    assert heard[0] == ("a", {"frames": 1}, socket.gethostname())
    assert "Segmentation fault" in log.read_text()
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["workers.log"]


def test_what_a_task_has_started_is_ended_with_its_worker(task: TaskSpec, folder: Path) -> None:
    run(task, item("one", do="start_another", then="die"), executor=replace(ONE, max_attempts=1))
    assert gone([int(pid) for pid in (folder / "children").read_text().splitlines()])


def test_a_node_that_does_not_see_the_folder_is_named(
    task: TaskSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathlib.Path.touch", lambda _: None)
    with pytest.raises(TPBenchError, match=r"node \S+ doesn't see .*storage that all nodes share"):
        run(task, item("a"), executor=replace(ONE, worker_log=tmp_path / "log"))


def test_an_address_goes_with_ray_alone() -> None:
    with pytest.raises(ConfigError, match="--ray-address goes with --executor ray"):
        Engine(ray_address="auto")


def test_without_ray_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with (
        pytest.raises(ConfigError, match=r"needs Ray: pip install 'tpbench\[ray\]'"),
        Engine(name="ray").session(),
    ):
        pass
