"""Executors: process items in worker processes or in this process.

If a worker is lost, its current item loses one attempt; nothing else is affected.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

from tpbench.errors import ConfigError, TPBenchError
from tpbench.work.faults import HaltError
from tpbench.work.locks import require_held
from tpbench.work.progress import IN_WORK, ProgressCounter
from tpbench.work.worker import (
    Answer,
    JsonObject,
    Outcome,
    Process,
    Report,
    Started,
    TaskSpec,
    WorkerHandle,
    WorkItem,
    attempt,
    cause_of_death,
    close_process,
    throttled,
)

logger = logging.getLogger(__name__)

_MAX_START_FAILURES: Final = 3
_STOP_GRACE_S: Final = 1.5
_LOOK_AGAIN_S: Final = 0.2
"""Time after which items that were not ready are asked for again."""

ReportListener = Callable[[str, JsonObject], None]
"""Called with the key of an item and the report of its task."""


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
        try:
            for item in items:
                if item is None:
                    time.sleep(_LOOK_AGAIN_S)
                    continue
                process = process or self.build(task.config)
                with IN_WORK.at(item.key, where="in this process"):
                    answer = attempt(process, item, _reporter(item.key, on_report))
                yield _outcome(item, answer)
        finally:
            if process is not None:
                close_process(process)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Processes items in `num_workers` processes of this machine.

    An item that kills its worker, or trips over a bug, is tried again (`retried`) up to
    `max_attempts` times in all.
    """

    num_workers: int
    max_attempts: int = 3
    """An item that kills its workers or trips over a bug is given up after this many attempts."""
    recycle_after: int = 25
    """Items after which a worker is replaced: native libraries leak, but a start costs seconds."""
    item_timeout_s: float | None = None
    """A worker whose item reports nothing for this long is killed and counts as lost."""
    worker_log: Path | None = None
    """File that workers' output is appended to (native libraries are noisy); None: our stderr."""

    def __post_init__(self) -> None:
        if min(self.num_workers, self.max_attempts, self.recycle_after) < 1:
            raise ValueError(f"want at least 1 worker, attempt and item each, got {self}")

    def run(
        self,
        task: TaskSpec,
        items: Iterable[WorkItem | None],
        *,
        on_report: ReportListener | None = None,
    ) -> Generator[Outcome, None, None]:
        """See `Executor.run`. A worker is started only when there is an item for it."""
        workers = _Workers(self, task, items, on_report)
        try:
            while workers.assign():
                for worker in workers.wait():
                    yield from workers.receive(worker)
                yield from workers.kill_overdue()
        finally:
            workers.stop()


class _Workers:
    """The workers of one run, their current items, and the items still to process."""

    def __init__(
        self,
        pool: Pool,
        task: TaskSpec,
        items: Iterable[WorkItem | None],
        on_report: ReportListener | None,
    ) -> None:
        self._pool = pool
        self._task = task
        self._items = iter(items)
        self._waiting = False
        """Whether items were not ready when they were last asked for."""
        self._on_report = on_report
        self._to_retry: deque[WorkItem] = deque()
        self._workers: list[WorkerHandle] = []
        self._start_failures = 0

    def assign(self) -> bool:
        """Give every free worker an item and start missing workers; False if no item is left."""
        self._waiting = False
        for worker in self._workers:
            if worker.item is None and (item := self._next_item()) is not None:
                worker.give(item)
        while len(self._workers) < self._pool.num_workers:
            if (item := self._next_item()) is None:
                break
            worker = self._start_worker()
            self._workers.append(worker)
            worker.give(item)
        return self._waiting or any(worker.item is not None for worker in self._workers)

    def wait(self) -> list[WorkerHandle]:
        """Return the workers that sent a message or died; may be empty when one is overdue."""
        limit_s = self._pool.item_timeout_s
        timeout_s = None
        if limit_s is not None:
            ages_s = [time.monotonic() - worker.moved_s for worker in self._busy()]
            timeout_s = max(0.0, limit_s - max(ages_s, default=0.0))
        if self._waiting:
            timeout_s = min(_LOOK_AGAIN_S, _LOOK_AGAIN_S if timeout_s is None else timeout_s)
        readable = wait([worker.connection for worker in self._workers], timeout_s)
        return [worker for worker in self._workers if worker.connection in readable]

    def receive(self, worker: WorkerHandle) -> Generator[Outcome, None, None]:
        """Handle one message of a worker, or its death."""
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):  # OSError: killed in the middle of a message
            yield from self._lose(worker, why=None)
            return
        match message:
            case Started():
                self._note_start(worker, message)
            case Report() if worker.item is not None:
                worker.moved_s = time.monotonic()
                _reporter(worker.item.key, self._on_report, limited=False)(message.report)
            case Answer() if (item := worker.take_item()) is not None:
                outcome = _outcome(item, message)
                yield self._retry_or(item, outcome) if message.kind == "bug" else outcome
                # After a bug, the state of a worker is unknown.
                if message.kind == "bug" or worker.given >= self._pool.recycle_after:
                    self._workers.remove(worker)
                    worker.ask_to_stop()
                    worker.end(grace_s=_STOP_GRACE_S)

    def kill_overdue(self) -> Generator[Outcome, None, None]:
        """Kill the workers whose items have made no progress for too long."""
        limit_s = self._pool.item_timeout_s
        if limit_s is None:
            return
        for worker in self._busy():
            overdue = time.monotonic() - worker.moved_s >= limit_s
            if overdue and not worker.connection.poll():
                yield from self._lose(worker, why=f"it made no progress for {limit_s:g} s")

    def stop(self) -> None:
        """Stop every worker: ask first, then kill those that don't end within the grace period."""
        end_s = time.monotonic() + _STOP_GRACE_S
        try:
            for worker in self._workers:
                worker.ask_to_stop()
            for worker in self._workers:
                worker.end(grace_s=max(0.0, end_s - time.monotonic()))
        finally:  # a second Ctrl-C leaves no worker behind either
            for worker in self._workers:
                worker.process.kill()

    def _next_item(self) -> WorkItem | None:
        if self._to_retry:
            return self._to_retry.popleft()
        if self._waiting:  # asked once a round is enough
            return None
        for item in self._items:
            self._waiting = item is None
            return item
        return None

    def _busy(self) -> list[WorkerHandle]:
        return [worker for worker in self._workers if worker.ready and worker.item is not None]

    def _start_worker(self) -> WorkerHandle:
        log = self._pool.worker_log
        try:
            return WorkerHandle(self._task, log)
        except OSError as error:
            if log is not None and error.filename == str(log):
                raise HaltError(
                    f"{log}: can't be written ({error.strerror}); put that right and run again"
                ) from error
            raise TPBenchError(
                f"can't start a worker process: {error}; try fewer workers"
            ) from error

    def _note_start(self, worker: WorkerHandle, message: Started) -> None:
        if message.refusal is not None:
            raise message.refusal
        if message.bug is not None:
            raise RuntimeError(f"{self._task.factory} raised in a worker:\n{message.bug}")
        self._start_failures = 0
        worker.ready = True
        worker.begin()

    def _lose(self, worker: WorkerHandle, *, why: str | None) -> Generator[Outcome, None, None]:
        """Remove a dead worker, or kill it because of `why`; its item, if begun, loses a try."""
        self._workers.remove(worker)
        wall_s = time.monotonic() - worker.since_s
        code = worker.end(grace_s=_STOP_GRACE_S if why is None else 0.0)
        why = why or cause_of_death(code)
        item = worker.item
        if not worker.ready:
            self._start_failures += 1
            if self._start_failures == _MAX_START_FAILURES:
                raise TPBenchError(f"workers can't start: {why}; try fewer workers, or more memory")
            if item is not None:  # not begun yet
                self._to_retry.appendleft(item)
        elif item is not None:
            lost = Outcome(
                key=item.key,
                kind="quarantined",
                attempts=item.attempts + 1,
                error=f"the worker was lost: {why}",
                wall_s=wall_s,
            )
            yield self._retry_or(item, lost)

    def _retry_or(self, item: WorkItem, last: Outcome) -> Outcome:
        """Return `last` if the item has no attempts left, else queue it again as `retried`."""
        if last.attempts >= self._pool.max_attempts:
            return last
        logger.info("%s: try %d failed, trying again: %s", item.key, last.attempts, last.error)
        self._to_retry.append(replace(item, attempts=last.attempts))
        return replace(last, kind="retried")


def _outcome(item: WorkItem, answer: Answer) -> Outcome:
    """Turn a worker's answer into the outcome of its item.

    Raises:
        TPBenchError: no further item can be processed.
    """
    if answer.kind == "halt":
        raise TPBenchError(f"{answer.error} (it was at {item.key})")
    kind = answer.kind if answer.kind in {"done", "postponed"} else "failed"
    return Outcome(
        key=item.key,
        kind=kind,
        # Postponing uses up no attempt: the item is not at fault.
        attempts=item.attempts + (kind != "postponed"),
        result=answer.result,
        error=answer.error,
        error_detail=answer.error_detail,
        wall_s=answer.wall_s,
        cpu_s=answer.cpu_s,
    )


def _reporter(
    key: str, listener: ReportListener | None, *, limited: bool = True
) -> Callable[[JsonObject], None]:
    def report(progress: JsonObject) -> None:
        IN_WORK.moved(key)
        if listener is not None:
            listener(key, progress)

    return throttled(report) if limited else report
