from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tpbench.work import IN_WORK, Pool, ProgressCounter, Stall, StallWatch, TaskSpec, WorkItem


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> StallWatch:
    return StallWatch(clock=clock)


def test_an_item_that_said_nothing_for_a_minute_is_named(watch: StallWatch, clock: Clock) -> None:
    watch.begin("/videos/talk.mp4", where="process 7")
    clock.now_s = 59
    assert watch.stalls() == []
    clock.now_s = 185
    assert [str(stall) for stall in watch.stalls()] == [
        "no progress for 3 min: talk.mp4 (process 7)"
    ]


def test_a_report_starts_the_minute_again(watch: StallWatch, clock: Clock) -> None:
    watch.begin("a", where="process 7")
    clock.now_s = 50
    watch.moved("a")
    clock.now_s = 100
    assert watch.stalls() == []


def test_the_longest_stands_first_and_what_ended_not_at_all(
    watch: StallWatch, clock: Clock
) -> None:
    for key in ("a", "b", "c"):
        watch.begin(key, where="process 7")
        clock.now_s += 10
    watch.moved("a")
    watch.end("c")
    watch.end("c")
    clock.now_s = 200
    assert [stall.key for stall in watch.stalls()] == ["b", "a"]


def test_news_of_an_item_nobody_began_is_no_stall(watch: StallWatch, clock: Clock) -> None:
    watch.moved("a")
    clock.now_s = 100
    assert watch.stalls() == []


def test_a_warning_comes_once_and_again_after_twice_as_long(
    watch: StallWatch, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with watch.at("a", where="process 7"):
        for clock.now_s in range(0, 600, 5):
            watch.warn()
    clock.now_s = 9_999
    watch.warn()
    assert [record.getMessage() for record in caplog.records] == [
        f"no progress for {minutes} min: a (process 7)" for minutes in (1, 2, 4, 8)
    ]


def test_a_worker_that_was_stopped_is_named_with_its_item(
    task: TaskSpec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = StallWatch(stall_s=0.3)
    for module in ("pool", "crew"):
        monkeypatch.setattr(f"tpbench.work.{module}.IN_WORK", watch)
    named: list[Stall] = []

    def stop_it_until_it_is_named() -> None:
        while not (folder / "stuck.tmp").exists():
            time.sleep(0.01)
        pid = int((folder / "workers").read_text())
        os.kill(pid, signal.SIGSTOP)
        while not named:
            named.extend(watch.stalls())
            time.sleep(0.01)
        os.kill(pid, signal.SIGCONT)

    helper = threading.Thread(target=stop_it_until_it_is_named)
    helper.start()
    stuck = WorkItem(
        key="stuck", payload={"name": "stuck", "do": "hold_the_interpreter", "seconds": 1}
    )
    with closing(Pool(num_workers=1).run(task, [stuck])) as outcomes:
        kinds = [outcome.kind for outcome in outcomes]
    helper.join()

    assert kinds == ["done"]
    pid = (folder / "workers").read_text().strip()
    assert {(stall.key, stall.where) for stall in named} == {("stuck", f"process {pid}")}
    assert watch.stalls() == []


def test_nothing_is_left_in_work_after_workers_died(task: TaskSpec) -> None:
    items = [WorkItem(key=name, payload={"name": name, "do": "die"}) for name in ("a", "b")]
    with closing(Pool(num_workers=2, max_attempts=1).run(task, items)) as outcomes:
        assert {outcome.kind for outcome in outcomes} == {"quarantined"}
    assert not IN_WORK.keys()


@pytest.fixture
def counter(watch: StallWatch, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> ProgressCounter:
    monkeypatch.setattr("tpbench.work.progress.IN_WORK", watch)
    return ProgressCounter("extract", total=9, listener=None, clock=clock)


def test_each_of_several_nodes_has_its_frames_per_second(
    counter: ProgressCounter, watch: StallWatch, clock: Clock
) -> None:
    watch.begin("a", where="process 7", node="one")
    watch.begin("b", where="process 8", node="two")
    counter.on_report("a", {"frames": 0})
    assert counter.state().rates == {}, "of one node there is the sum"
    counter.on_report("b", {"frames": 0})
    clock.now_s = 10
    counter.on_report("a", {"frames": 100})
    counter.on_report("b", {"frames": 300})
    watch.end("b")
    counter.finish("b", frames=350, counts={})
    assert counter.state().rates == {"one": 10.0, "two": 35.0}


def test_a_node_that_is_lost_has_none_after_a_minute_and_its_item_counts_anew(
    counter: ProgressCounter, watch: StallWatch, clock: Clock
) -> None:
    watch.begin("a", where="process 7", node="one")
    counter.on_report("a", {"frames": 600})
    watch.begin("a", where="process 8", node="two")
    clock.now_s = 70
    counter.on_report("a", {"frames": 120})
    clock.now_s = 80
    assert counter.state().rates == {"one": 0.0, "two": 12.0}


def test_frames_of_this_machine_are_of_no_node(counter: ProgressCounter, watch: StallWatch) -> None:
    watch.begin("a", where="process 7")
    counter.on_report("a", {"frames": 50})
    counter.finish("a", counts={})
    assert counter.state().rates == {}
