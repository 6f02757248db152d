"""Executors: process items in worker processes or in this process.

If a worker is lost, its current item loses one attempt; nothing else is affected.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

from tpbench.errors import ConfigError, TPBenchError
from tpbench.work.crew import (
    LOOK_AGAIN_S,
    Crew,
    Limits,
    ReportListener,
    Shortages,
    outcome_of,
    reporter,
)
from tpbench.work.faults import HaltError
from tpbench.work.locks import require_held
from tpbench.work.progress import IN_WORK, ProgressCounter
from tpbench.work.worker import (
    JsonObject,
    Outcome,
    Process,
    TaskSpec,
    WorkerHandle,
    WorkItem,
    attempt,
    close_process,
)


class Executor(Protocol):
    """Processes items, in this process or in others."""

    def run(
        self,
        task: TaskSpec,
        items: Iterable[WorkItem | None],
        *,
        on_report: ReportListener | None = None,
    ) -> Generator[Outcome, None, None]:
        """Yield outcomes as they arrive: in no particular order, one final outcome per item.

        Items are drawn one at a time, when a worker is free; None says that the next one is not
        ready yet. Closing the generator stops the work: wrap it in `contextlib.closing`.

        Raises:
            TPBenchError: no item can be processed: the task refuses to start, workers can't start,
                or the disk is full.
        """
        ...


class Records(Protocol):
    """Stores the outcomes of items."""

    def add(self, outcome: Outcome, progress: ProgressCounter) -> None:
        """Store an outcome, then count it; a `retried` one does not finish its item."""
        ...


def run_items(
    task: TaskSpec,
    items: Iterable[WorkItem | None],
    records: Records,
    *,
    executor: Executor,
    progress: ProgressCounter,
) -> None:
    """Process items and record the outcome of each at once.

    Returns when all are processed, or raises the error that stopped the run. Either way the workers
    have ended and every finished item is recorded.

    Args:
        task: what to do with each item.
        items: drawn one at a time, each after the previous one was assigned; see `Executor.run`.
        records: store the outcomes.
        executor: processes the items.
        progress: counts the progress of each item.
    """
    with closing(executor.run(task, items, on_report=progress.on_report)) as outcomes:
        for outcome in outcomes:
            require_held()
            records.add(outcome, progress)


def usable_cores() -> int:
    """Return how many processor cores this process may use, at least 1."""
    if sys.platform == "linux":  # batch systems and containers restrict a process to some cores
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def num_workers(asked: int | None) -> int:
    """Return how many workers to start: as many as asked for, or one per usable core.

    Raises:
        ConfigError: fewer than one was asked for.
    """
    workers = asked if asked is not None else usable_cores()
    if workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {workers}")
    return workers


_MAX_LIMIT_S: Final = 1_000_000
"""Waiting for longer than a few weeks is more than the system's clocks take at once."""


def item_limit_s(asked_s: float) -> float | None:
    """Return the time without progress after which an item is given up; None: never, asked as 0.

    Raises:
        ConfigError: it is negative, no number, or longer than 1,000,000 s (11 days).
    """
    if not 0 <= asked_s <= _MAX_LIMIT_S:  # so NaN is refused, too
        raise ConfigError(
            f"--item-timeout: want seconds up to {_MAX_LIMIT_S:,}, or 0 for no limit; "
            f"got {asked_s:g}"
        )
    return asked_s or None


def keep_traceback(outcome: Outcome, log: Path, *, name: str | None = None) -> None:
    """Append the traceback of a bug, if the outcome has one, to a log.

    Args:
        outcome: of an item.
        log: of the run.
        name: display name of the item; None: its key.
    """
    if outcome.error_detail is not None:
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{name or outcome.key}:\n{outcome.error_detail}")


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise `KeyboardInterrupt` in the block, as Ctrl-C does.

    Batch systems, containers and closed terminals then stop a run as cleanly as Ctrl-C. An ignored
    SIGHUP (nohup) stays ignored. Does nothing outside the main thread, where signal handlers can't
    be set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    wanted = [signal.SIGTERM, signal.SIGHUP]
    wanted = [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True, kw_only=True)
class InThisProcess:
    """Processes items in this process, one after the other: no start-up cost, but no timeouts.

    An item that trips over a bug fails and is not tried again: there is no fresh process to try it.
    """

    build: Callable[[JsonObject], Process]
    """Replaces the task's factory; called for the first item."""

    def run(
        self,
        task: TaskSpec,
        items: Iterable[WorkItem | None],
        *,
        on_report: ReportListener | None = None,
    ) -> Generator[Outcome, None, None]:
        """See `Executor.run`."""
        process: Process | None = None
        shortages = Shortages()
        try:
            for item in items:
                if item is None:
                    time.sleep(LOOK_AGAIN_S)
                    continue
                process = process or self.build(task.config)
                with IN_WORK.at(item.key, where="in this process"):
                    answer = attempt(process, item, reporter(item.key, on_report))
                outcome = outcome_of(item, answer)
                yield outcome
                shortages.note(item, outcome, short=answer.kind == "ran_out")
        finally:
            if process is not None:
                close_process(process)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool(Limits):
    """Processes items in `num_workers` processes of this machine.

    An item that kills its worker, or trips over a bug, is tried again (`retried`) up to
    `max_attempts` times in all.
    """

    worker_log: Path | None = None
    """File that workers' output is appended to (native libraries are noisy); None: our stderr."""

    def run(
        self,
        task: TaskSpec,
        items: Iterable[WorkItem | None],
        *,
        on_report: ReportListener | None = None,
    ) -> Generator[Outcome, None, None]:
        """See `Executor.run`. A worker is started only when there is an item for it."""
        hiring = _Hiring(task=task, log=self.worker_log)
        return Crew(hiring, self, task, items, on_report).run()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hiring:
    """Starts worker processes of this machine."""

    task: TaskSpec
    log: Path | None

    def start(self) -> WorkerHandle:
        """See `crew.Hiring`."""
        try:
            return WorkerHandle(self.task, self.log)
        except OSError as error:
            if self.log is not None and error.filename == str(self.log):
                raise HaltError(
                    f"{self.log}: can't be written ({error.strerror}); put that right and run again"
                ) from error
            raise TPBenchError(
                f"can't start a worker process: {error}; try fewer workers"
            ) from error

    def wait(self, workers: Sequence[WorkerHandle], timeout_s: float | None) -> list[WorkerHandle]:
        """See `crew.Hiring`."""
        readable = wait([worker.connection for worker in workers], timeout_s)
        return [worker for worker in workers if worker.connection in readable]
