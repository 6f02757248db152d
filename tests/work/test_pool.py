from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.work.worker_tasks import mark
from tpbench.errors import ConfigError, MissingWeightsError, TPBenchError
from tpbench.work import (
    InThisProcess,
    JsonObject,
    Outcome,
    Pool,
    TaskSpec,
    WorkItem,
    item_limit_s,
)

ONE = Pool(num_workers=1)
TWO = Pool(num_workers=2)


def item(name: str, do: str = "well", attempts: int = 0, **rest: object) -> WorkItem:
    return WorkItem(key=name, payload={"name": name, "do": do} | rest, attempts=attempts)


def pair() -> tuple[WorkItem, WorkItem]:
    """Two items that wait for one another: however fast items are, two workers take part."""
    return item("000", "meet", other="001"), item("001", "meet", other="000")


def run(task: TaskSpec, *items: WorkItem, executor: Pool = ONE) -> list[Outcome]:
    with closing(executor.run(task, items)) as outcomes:
        return list(outcomes)


def final(outcomes: list[Outcome]) -> dict[str, Outcome]:
    last = [outcome for outcome in outcomes if outcome.kind != "retried"]
    assert len({outcome.key for outcome in last}) == len(last), "one final outcome an item"
    return {outcome.key: outcome for outcome in last}


def tries(folder: Path, name: str) -> int:
    return len((folder / f"{name}.runs").read_text().splitlines())


def workers(folder: Path) -> list[int]:
    path = folder / "workers"
    return [int(pid) for pid in path.read_text().splitlines()] if path.exists() else []


def test_two_hundred_items_are_each_done_once_by_two_workers(task: TaskSpec, folder: Path) -> None:
    items = [*pair(), *(item(f"{number:03d}") for number in range(2, 200))]
    outcomes = final(run(task, *items, executor=Pool(num_workers=2, recycle_after=500)))
    assert sorted(outcomes) == [item.key for item in items]
    assert {(outcome.kind, outcome.attempts) for outcome in outcomes.values()} == {("done", 1)}
    assert len(workers(folder)) == 2
    assert {tries(folder, key) for key in outcomes} == {1}
    pids = {outcome.result["pid"] for outcome in outcomes.values() if outcome.result}
    assert pids == set(workers(folder))


def test_no_item_starts_no_worker(task: TaskSpec, folder: Path) -> None:
    assert run(task) == []
    assert workers(folder) == []


def test_items_are_drawn_only_when_a_worker_is_free(task: TaskSpec) -> None:
    drawn = []

    def draw() -> Iterator[WorkItem]:
        for number in range(5):
            drawn.append(number)
            yield item(str(number))

    with closing(Pool(num_workers=1).run(task, draw())) as outcomes:
        for done, _ in enumerate(outcomes, start=1):
            assert len(drawn) == done


@pytest.mark.parametrize("where", ["worker", "here"])
def test_items_that_are_not_ready_are_asked_for_again(task: TaskSpec, where: str) -> None:
    def draw() -> Iterator[WorkItem | None]:
        yield None
        yield item("a")
        yield None
        yield None
        yield item("b")

    executor = TWO if where == "worker" else InThisProcess(build=mark)
    with closing(executor.run(task, draw())) as outcomes:
        assert sorted(outcome.key for outcome in outcomes) == ["a", "b"]


def test_outcomes_arrive_while_no_item_is_ready(task: TaskSpec) -> None:
    arrived: list[str] = []

    def draw() -> Iterator[WorkItem | None]:
        yield item("a")
        while not arrived:
            yield None
        yield item("b")

    with closing(Pool(num_workers=1).run(task, draw())) as outcomes:
        arrived += (outcome.key for outcome in outcomes)
    assert arrived == ["a", "b"]


def test_an_item_that_kills_its_worker_once_is_done_by_another(
    task: TaskSpec, folder: Path
) -> None:
    first, second = run(task, item("a", "die", times=1))
    assert (first.kind, first.attempts) == ("retried", 1)
    assert first.error == "the worker was lost: it was killed by SIGKILL (out of memory?)"
    assert (second.kind, second.attempts, second.error) == ("done", 2, None)
    assert len(set(workers(folder))) == 2


def test_a_poisonous_item_is_quarantined_after_three_tries_and_harms_no_other(
    task: TaskSpec, folder: Path
) -> None:
    outcomes = final(run(task, item("a"), item("poison", "die"), *map(item, "bcd"), executor=TWO))
    assert (outcomes["poison"].kind, outcomes["poison"].attempts) == ("quarantined", 3)
    assert tries(folder, "poison") == 3
    assert all(outcomes[key].kind == "done" and tries(folder, key) == 1 for key in "abcd")


def test_what_takes_too_much_memory_is_quarantined_after_all_others_were_done(
    task: TaskSpec, folder: Path
) -> None:
    outcomes = run(task, item("hog", "take_too_much"), item("a"), item("b"))
    assert [outcome.key for outcome in outcomes] == ["hog", "a", "b", "hog", "hog"]
    assert (outcomes[-1].kind, outcomes[-1].attempts) == ("quarantined", 3)
    assert outcomes[-1].error == "memory ran out"
    assert len(set(workers(folder))) == 3, "a worker whose memory ran out is replaced"


@pytest.mark.parametrize("how", ["take_too_much", "die"])
@pytest.mark.parametrize("executor", [ONE, Pool(num_workers=8)], ids=["one", "eight"])
def test_three_items_in_a_row_without_memory_are_the_machines_fault(
    how: str, executor: Pool, task: TaskSpec, folder: Path
) -> None:
    names = [f"{number}" for number in range(8)]
    with pytest.raises(TPBenchError, match=r"at 3 items in a row .*; the run has stopped"):
        run(task, *(item(name, how) for name in names), executor=executor)
    assert all(tries(folder, name) == 1 for name in names if (folder / f"{name}.runs").exists())


def test_items_that_failed_before_come_last_and_are_no_evidence_against_the_machine(
    task: TaskSpec,
) -> None:
    hogs = [item(name, "take_too_much", attempts=1) for name in "abcd"]
    outcomes = run(task, *hogs, item("e"), executor=replace(ONE, max_attempts=2))
    assert [outcome.key for outcome in outcomes] == ["e", *"abcd"]
    assert {outcome.kind for outcome in outcomes[1:]} == {"quarantined"}


def test_tries_of_earlier_runs_count(task: TaskSpec, folder: Path) -> None:
    (outcome,) = run(task, item("poison", "die", attempts=2))
    assert (outcome.kind, outcome.attempts) == ("quarantined", 3)
    assert tries(folder, "poison") == 1


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"do": "die", "signal": signal.SIGSEGV}, "killed by SIGSEGV (a crash in native code)"),
        ({"do": "die", "signal": signal.SIGXCPU}, "by SIGXCPU (its limit of processor time)"),
        ({"do": "leave", "code": 5}, "exited with code 5"),
    ],
)
def test_how_a_worker_ended_is_said(
    task: TaskSpec, what: JsonObject, words: str, tmp_path: Path
) -> None:
    poison = WorkItem(key="a", payload={"name": "a", **what})
    (outcome,) = run(
        task, poison, executor=replace(ONE, max_attempts=1, worker_log=tmp_path / "log")
    )
    assert outcome.kind == "quarantined"
    assert words in (outcome.error or "")


def test_wrong_input_fails_at_once_and_keeps_its_worker(task: TaskSpec, folder: Path) -> None:
    outcomes = final(run(task, item("a.mp4", "refuse"), item("b")))
    failed = outcomes["a.mp4"]
    assert (failed.kind, failed.attempts) == ("failed", 1)
    assert failed.error == r"a.mp4: is no\nvideo", "one line, whatever is in it"
    assert failed.error_detail is None
    assert outcomes["b"].kind == "done"
    assert len(workers(folder)) == 1


def test_a_bug_is_tried_three_times_in_fresh_workers_and_keeps_its_traceback(
    task: TaskSpec, folder: Path
) -> None:
    outcomes = run(task, item("a", "stumble"))
    assert [outcome.kind for outcome in outcomes] == ["retried", "retried", "failed"]
    assert outcomes[-1].attempts == 3
    assert outcomes[-1].error == "LookupError: no such thing in a"
    assert "in stumble" in (outcomes[-1].error_detail or "")
    assert len(set(workers(folder))) == 3


def test_a_result_that_is_no_json_is_a_bug_of_the_task(task: TaskSpec) -> None:
    outcomes = run(
        replace(task, factory="worker_tasks:return_no_json"),
        item("a"),
        executor=replace(ONE, max_attempts=1),
    )
    assert [outcome.kind for outcome in outcomes] == ["failed"]
    assert "not JSON serializable" in (outcomes[0].error or "")


def test_a_full_disk_stops_the_run_and_leaves_no_worker(task: TaskSpec, folder: Path) -> None:
    items = [item("a"), item("b", "fill_the_disk"), item("c")]
    seen: list[str] = []
    with (
        pytest.raises(TPBenchError, match=r"clip\.mp4: No space left on device.*run again"),
        closing(Pool(num_workers=1).run(task, items)) as outcomes,
    ):
        seen.extend(outcome.key for outcome in outcomes)
    assert seen == ["a"]
    assert not any(map(psutil.pid_exists, workers(folder)))


def test_what_a_task_refuses_to_start_without_is_raised_as_it_is(task: TaskSpec) -> None:
    with pytest.raises(MissingWeightsError, match="tpbench weights pull dwpose"):
        run(replace(task, factory="worker_tasks:lack_weights"), item("a"), item("b"))


def test_a_bug_at_the_start_keeps_its_traceback(task: TaskSpec) -> None:
    with pytest.raises(RuntimeError, match=r"worker_tasks:have_a_bug raised(.|\n)*bad key in"):
        run(replace(task, factory="worker_tasks:have_a_bug"), item("a"))


def test_workers_that_die_at_the_start_stop_the_run_after_three(
    task: TaskSpec, folder: Path
) -> None:
    with pytest.raises(TPBenchError, match=r"workers can't start: it exited with code 7"):
        run(replace(task, factory="worker_tasks:die_at_start"), item("a"))
    assert len(workers(folder)) == 3


def test_workers_are_replaced_after_their_share_and_closed(task: TaskSpec, folder: Path) -> None:
    run(task, *map(item, "abcde"), executor=replace(ONE, recycle_after=2))
    assert len(set(workers(folder))) == 3
    assert [int(pid) for pid in (folder / "closed").read_text().split()] == workers(folder)


def test_a_limit_of_0_is_none_and_what_is_no_time_is_refused() -> None:
    assert item_limit_s(0) is None
    assert item_limit_s(2.5) == 2.5
    for asked_s in (-1, float("nan"), float("inf"), 3e6, 1e300):
        with pytest.raises(ConfigError, match=re.escape(f"got {asked_s:g}")):
            item_limit_s(asked_s)


def test_an_item_that_takes_too_long_is_given_up(task: TaskSpec) -> None:
    outcomes = run(
        task,
        item("stuck", "sleep", seconds=600),
        item("a"),
        executor=replace(ONE, item_timeout_s=0.5, max_attempts=2),
    )

    assert [outcome.kind for outcome in outcomes if outcome.key == "stuck"] == [
        "retried",
        "quarantined",
    ]
    stuck = final(outcomes)["stuck"]
    assert stuck.error == "the worker was lost: it made no progress for 0.5 s"
    assert stuck.wall_s >= 0.5
    assert final(outcomes)["a"].kind == "done"


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
    assert not any(map(psutil.pid_exists, workers(folder)))


def test_progress_reaches_the_listener_with_its_key(task: TaskSpec) -> None:
    heard = []
    executor = Pool(num_workers=1)
    with closing(
        executor.run(
            task, map(item, "ab"), on_report=lambda key, report: heard.append((key, report))
        )
    ) as outcomes:
        list(outcomes)
    assert heard == [("a", {"frames": 1}), ("b", {"frames": 1})]


def test_a_talkative_task_does_not_flood_its_listener(task: TaskSpec) -> None:
    heard = []
    running = ONE.run(
        task, [item("a", "chatter")], on_report=lambda _, report: heard.append(report)
    )
    with closing(running) as outcomes:
        assert [outcome.kind for outcome in outcomes] == ["done"]
    assert 1 <= len(heard) < 500


def test_workers_have_one_thread_and_the_driver_keeps_its_own(
    task: TaskSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    before = dict(os.environ)
    (outcome,) = run(task, item("a"))
    assert outcome.result is not None
    assert outcome.result["threads"] == "1"
    assert dict(os.environ) == before


def test_what_workers_print_goes_to_the_log(
    task: TaskSpec, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "workers.log"
    run(
        task,
        item("a", "die", signal=signal.SIGSEGV),
        executor=replace(ONE, max_attempts=1, worker_log=log),
    )
    assert "Segmentation fault" in log.read_text()
    assert capfd.readouterr() == ("", "")


def test_a_file_of_the_current_folder_does_not_hide_the_standard_library(
    task: TaskSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "socket.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    (outcome,) = run(task, item("a"))
    assert outcome.kind == "done"


@pytest.mark.parametrize(
    ("num_workers", "max_attempts", "recycle_after"), [(0, 3, 25), (1, 0, 25), (1, 3, 0)]
)
def test_limits_below_one_are_refused(
    num_workers: int, max_attempts: int, recycle_after: int
) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Pool(num_workers=num_workers, max_attempts=max_attempts, recycle_after=recycle_after)


@pytest.mark.parametrize("then", ["well", "die", "stumble"])
def test_what_a_task_has_started_is_ended_with_its_worker(
    task: TaskSpec, folder: Path, then: str
) -> None:
    run(task, item("one", do="start_another", then=then))
    pids = [int(pid) for pid in (folder / "children").read_text().splitlines()]
    assert pids
    gone, alive = psutil.wait_procs([psutil.Process(p) for p in pids if psutil.pid_exists(p)], 10)
    assert not alive, gone


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (os.mkfifo, "is a named pipe, not a regular file"),
        (lambda log: log.parent.rmdir(), "No such file or directory"),
    ],
)
def test_a_log_that_no_worker_can_write_is_named_and_not_waited_for(
    task: TaskSpec, tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    log = tmp_path / "gone" / "workers.log"
    log.parent.mkdir()
    spoil(log)
    with pytest.raises(TPBenchError, match=rf"workers\.log: can't be written \({said}\)"):
        run(task, item("a"), executor=Pool(num_workers=1, worker_log=log))
