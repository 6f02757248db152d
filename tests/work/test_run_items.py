"""`run_items`, records and signals together; the drivers here are processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.work.noted import Notes, add, notes, work
from tpbench.errors import TPBenchError
from tpbench.work import (
    Outcome,
    Pool,
    ProgressCounter,
    TaskSpec,
    run_items,
    terminate_as_interrupt,
)

HERE = Path(__file__).parent
OUTLIVE_S = 5.0
"""No worker outlives its driver by more."""


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "records"


def states(records: Path) -> Counter[str]:
    return Counter(note.state for note in notes(records).values())


def pids(folder: Path) -> list[int]:
    path = folder / "workers"
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def tries(folder: Path, name: str) -> int:
    path = folder / f"{name}.runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


def wait_until(condition: Callable[[], bool], *, limit_s: float) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.01)


def wait_while_running(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    def reached() -> bool:
        assert process.poll() is None, process.communicate()[1]
        return condition()

    wait_until(reached, limit_s=60.0)


def all_gone(pids: list[int]) -> bool:
    def gone(pid: int) -> bool:
        try:  # an orphan may stay a zombie where nobody reaps
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    return all(map(gone, pids))


@contextmanager
def driver(records: Path, folder: Path, mode: str = "main") -> Iterator[subprocess.Popen[str]]:
    """A driver process in a process group of its own, as a terminal would start it."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "driver_script.py"), str(records), str(folder), mode],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_records_that_raise_leave_no_worker(records: Path, task: TaskSpec, folder: Path) -> None:
    class Broken(Notes):
        def add(self, outcome: Outcome, progress: ProgressCounter) -> None:
            super().add(outcome, progress)
            raise ZeroDivisionError("a bug of the records")

    payloads: list[Mapping[str, Any]] = [
        {"name": "a"},
        {"name": "b", "do": "sleep", "seconds": 600},
    ]
    items = Broken(records).pending(payloads)
    progress = ProgressCounter("work", total=2, before=0, listener=None)
    with pytest.raises(ZeroDivisionError):
        run_items(task, items, Broken(records), executor=Pool(num_workers=2), progress=progress)
    assert all_gone(pids(folder))
    assert states(records) == {"done": 1}


def test_a_second_run_does_nothing_twice_and_what_is_new(
    records: Path, task: TaskSpec, folder: Path
) -> None:
    add(records, {"name": "a"}, {"name": "bad", "do": "refuse"}, {"name": "p", "do": "die"})
    work(records, task)
    add(records, {"name": "new"})
    work(records, task)
    assert [tries(folder, name) for name in ("a", "bad", "p", "new")] == [1, 1, 3, 1]
    assert states(records) == {"done": 2, "failed": 1, "quarantined": 1}


def test_a_run_that_is_stopped_by_a_full_disk_goes_on_later(
    records: Path, task: TaskSpec, folder: Path
) -> None:
    add(records, {"name": "a", "do": "fill_the_disk", "times": 1}, {"name": "b"})
    with pytest.raises(TPBenchError, match="No space left"):
        work(records, task)
    assert "a" not in notes(records)
    work(records, task)
    assert states(records) == {"done": 2}
    assert notes(records)["a"].attempts == 1


@pytest.mark.usefixtures("task")
@pytest.mark.parametrize("mode", ["main", "thread"])
@pytest.mark.parametrize("num_done", [0, 1, 4, 8])
def test_a_killed_driver_takes_its_workers_along_and_the_next_run_goes_on(
    records: Path, folder: Path, task: TaskSpec, num_done: int, mode: str
) -> None:
    """Killed while starting, early, halfway and late."""
    names = [f"{number:02d}" for number in range(10)]
    add(records, *({"name": name, "do": "sleep", "seconds": 0.1} for name in names))
    with driver(records, folder, mode) as process:
        wait_while_running(
            process, lambda: bool(pids(folder)) and states(records)["done"] >= num_done
        )
        process.kill()
        process.wait()
        started = pids(folder)
        wait_until(lambda: all_gone(started), limit_s=OUTLIVE_S)

    finished = {key for key, entry in notes(records).items() if entry.state == "done"}
    before = {name: tries(folder, name) for name in names}
    work(records, task)

    assert num_done <= len(finished) < 10
    assert states(records) == {"done": 10}
    for name in names:
        assert tries(folder, name) - before[name] == (0 if name in finished else 1)
        assert notes(records)[name].attempts == 1, "the driver's death is no item's fault"


@pytest.mark.usefixtures("task")
@pytest.mark.parametrize(
    ("do", "mode"),
    [
        ("sleep", "main"),
        ("sleep", "thread"),  # only the watchdog can see this
        pytest.param(
            *("hold_the_interpreter", "main"),  # only the kernel can end this
            marks=pytest.mark.skipif(sys.platform != "linux", reason="a promise of Linux alone"),
        ),
    ],
)
def test_a_busy_worker_does_not_outlive_its_driver(
    records: Path, folder: Path, do: str, mode: str
) -> None:
    add(records, {"name": "a", "do": do, "seconds": 600})
    with driver(records, folder, mode) as process:
        wait_while_running(process, (folder / "a.tmp").exists)
        process.kill()
        process.wait()
        wait_until(lambda: all_gone(pids(folder)), limit_s=OUTLIVE_S)
    assert notes(records) == {}


@pytest.mark.usefixtures("task")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_ends_the_run_in_order(
    records: Path, folder: Path, number: signal.Signals
) -> None:
    long = ({"name": name, "do": "sleep", "seconds": 600} for name in "ab")
    add(records, {"name": "quick"}, *long)
    with driver(records, folder) as process:
        busy = folder / "a.tmp", folder / "b.tmp"
        wait_while_running(
            process, lambda: all(path.exists() for path in busy) and states(records)["done"] == 1
        )
        os.killpg(process.pid, number)
        process.wait(30)
        assert process.stderr is not None
        last_line = process.stderr.read().splitlines()[-1]

    assert last_line.startswith("KeyboardInterrupt")
    assert all_gone(pids(folder))
    assert states(records) == {"done": 1}
    assert list(folder.glob("*.tmp")) == [], "interrupted items clear up"


@pytest.mark.usefixtures("task")
def test_a_worker_survives_what_is_meant_for_the_driver(records: Path, folder: Path) -> None:
    add(records, {"name": "a", "do": "sleep", "seconds": 0.5})
    with driver(records, folder) as process:
        wait_while_running(process, (folder / "a.tmp").exists)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pids(folder)[0], number)
        assert process.wait(30) == 0
    assert tries(folder, "a") == 1
    assert states(records) == {"done": 1}


@pytest.mark.usefixtures("task")
def test_a_second_driver_is_refused_while_the_first_works(
    records: Path, folder: Path, task: TaskSpec
) -> None:
    add(records, {"name": "a", "do": "sleep", "seconds": 600})
    with driver(records, folder) as process:
        wait_while_running(process, (folder / "a.tmp").exists)
        with pytest.raises(TPBenchError, match=f"in use by process {process.pid} on "):
            work(records, task)


@pytest.mark.usefixtures("task")
def test_a_driver_without_a_file_works(records: Path, folder: Path) -> None:
    """As a notebook or an interpreter that reads its standard input."""
    add(records, {"name": "a"})
    script = (HERE / "driver_script.py").read_text()
    subprocess.run(
        [sys.executable, "-", str(records), str(folder), "main"],
        input=script.encode(),
        env=os.environ | {"PYTHONPATH": str(HERE)},
        check=True,
        timeout=60,
    )
    assert states(records) == {"done": 1}


def test_signal_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), terminate_as_interrupt():
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_an_ignored_hangup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminate_as_interrupt():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_are_left_alone_outside_the_main_thread() -> None:
    entered = []

    def enter() -> None:
        with terminate_as_interrupt():
            entered.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()

    assert entered == [signal.getsignal(signal.SIGTERM)]
