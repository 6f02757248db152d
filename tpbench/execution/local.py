"""The executor for one machine: a crew of worker processes, and what happens when one is lost."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Final

from tpbench.errors import TPBenchError
from tpbench.execution.executor import Outcome, ProgressListener, TaskSpec, WorkItem
from tpbench.execution.halt import HaltError
from tpbench.execution.handle import WorkerHandle, cause_of_death
from tpbench.execution.stall import IN_WORK
from tpbench.execution.worker import Answer, Progress, Started

logger = logging.getLogger(__name__)

_MAX_START_FAILURES: Final = 3
_STOP_GRACE_S: Final = 1.5


def usable_cores() -> int:
    """Return how many processor cores this process may use, at least 1."""
    if sys.platform == "linux":  # batch systems and containers give a process some of the cores
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalExecutor:
    """Does items in `num_workers` processes of this machine; an `Executor`."""

    num_workers: int

    max_attempts: int = 3
    """An item that kills its workers or trips over a bug is given up after so many tries."""

    recycle_after: int = 25
    """A worker is replaced after so many items: native libraries leak, a start costs seconds."""

    item_timeout_s: float | None = None
    """A worker that takes longer for one item is killed, as if it had died of the item."""

    worker_log: Path | None = None
    """Where workers' own output is appended (native libraries are noisy); None: our own stderr."""

    def __post_init__(self) -> None:
        if min(self.num_workers, self.max_attempts, self.recycle_after) < 1:
            raise ValueError(f"want at least 1 worker, attempt and item each, got {self}")

    def run(
        self,
        task: TaskSpec,
        items: Iterable[WorkItem],
        *,
        on_progress: ProgressListener | None = None,
    ) -> Generator[Outcome, None, None]:
        """See `Executor.run`. No worker is started before there is an item for it."""
        crew = _Crew(self, task, items, on_progress)
        try:
            while crew.hand_out():
                for worker in crew.wait():
                    yield from crew.attend(worker)
                yield from crew.give_up_overdue()
        finally:
            crew.dismiss()


class _Crew:
    """The workers of one run, what they are at, and what is still to do."""

    def __init__(
        self,
        limits: LocalExecutor,
        task: TaskSpec,
        items: Iterable[WorkItem],
        on_progress: ProgressListener | None,
    ) -> None:
        self._limits = limits
        self._task = task
        self._items = iter(items)
        self._on_progress = on_progress
        self._again: deque[WorkItem] = deque()
        self._workers: list[WorkerHandle] = []
        self._start_failures = 0

    def hand_out(self) -> bool:
        """Give every free worker an item, start workers while there is room; False: all is done."""
        for worker in self._workers:
            if worker.item is None and (item := self._next_item()) is not None:
                worker.give(item)
        while len(self._workers) < self._limits.num_workers:
            if (item := self._next_item()) is None:
                break
            worker = self._start_worker()
            self._workers.append(worker)
            worker.give(item)
        return any(worker.item is not None for worker in self._workers)

    def wait(self) -> list[WorkerHandle]:
        """Return the workers that spoke or died; maybe none, once a worker is overdue."""
        limit_s = self._limits.item_timeout_s
        timeout_s = None
        if limit_s is not None:
            ages_s = [time.monotonic() - worker.since_s for worker in self._busy()]
            timeout_s = max(0.0, limit_s - max(ages_s, default=0.0))
        speaking = wait([worker.connection for worker in self._workers], timeout_s)
        return [worker for worker in self._workers if worker.connection in speaking]

    def attend(self, worker: WorkerHandle) -> Generator[Outcome, None, None]:
        """Hear one message of a worker, or its end."""
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):  # OSError: killed in the middle of a message
            yield from self._mourn(worker, why=None)
            return
        match message:
            case Started():
                self._welcome(worker, message)
            case Progress() if worker.item is not None:
                IN_WORK.moved(worker.item.key)
                if self._on_progress is not None:
                    self._on_progress(worker.item.key, message.report)
            case Answer() if (item := worker.take_item()) is not None:
                yield self._judge(item, message)
                # What a bug leaves behind in a worker is anybody's guess.
                if message.kind == "bug" or worker.given >= self._limits.recycle_after:
                    self._workers.remove(worker)
                    worker.ask_to_stop()
                    worker.bury(grace_s=_STOP_GRACE_S)

    def give_up_overdue(self) -> Generator[Outcome, None, None]:
        """Kill the workers that take too long."""
        limit_s = self._limits.item_timeout_s
        if limit_s is None:
            return
        for worker in self._busy():
            overdue = time.monotonic() - worker.since_s >= limit_s
            if overdue and not worker.connection.poll():
                yield from self._mourn(worker, why=f"it took longer than {limit_s:g} s")

    def dismiss(self) -> None:
        """Stop every worker: tidily if it does so soon, by force otherwise."""
        end_s = time.monotonic() + _STOP_GRACE_S
        try:
            for worker in self._workers:
                worker.ask_to_stop()
            for worker in self._workers:
                worker.bury(grace_s=max(0.0, end_s - time.monotonic()))
        finally:  # a second Ctrl-C leaves no worker behind either
            for worker in self._workers:
                worker.process.kill()

    def _next_item(self) -> WorkItem | None:
        return self._again.popleft() if self._again else next(self._items, None)

    def _busy(self) -> list[WorkerHandle]:
        return [worker for worker in self._workers if worker.ready and worker.item is not None]

    def _start_worker(self) -> WorkerHandle:
        log = self._limits.worker_log
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

    def _welcome(self, worker: WorkerHandle, message: Started) -> None:
        if message.refusal is not None:
            raise message.refusal
        if message.bug is not None:
            raise RuntimeError(f"{self._task.factory} raised in a worker:\n{message.bug}")
        self._start_failures = 0
        worker.ready = True
        worker.begin()

    def _judge(self, item: WorkItem, answer: Answer) -> Outcome:
        if answer.kind == "halt":
            raise TPBenchError(f"{answer.error} (it was at {item.key})")
        tried = Outcome(
            key=item.key,
            kind="failed",
            attempts=item.attempts + 1,
            error=answer.error,
            error_detail=answer.error_detail,
            wall_s=answer.wall_s,
            cpu_s=answer.cpu_s,
        )
        if answer.kind == "done":
            return replace(tried, kind="done", result=answer.result)
        if answer.kind == "postponed":  # nobody's fault: no attempt is used up
            return replace(tried, kind="postponed", attempts=item.attempts)
        return self._retry_or(item, tried) if answer.kind == "bug" else tried

    def _mourn(self, worker: WorkerHandle, *, why: str | None) -> Generator[Outcome, None, None]:
        """Take away a worker that is dead, or kill it because of `why`; blame its item if begun."""
        self._workers.remove(worker)
        wall_s = time.monotonic() - worker.since_s
        code = worker.bury(grace_s=_STOP_GRACE_S if why is None else 0.0)
        why = why or cause_of_death(code)
        item = worker.item
        if not worker.ready:
            self._start_failures += 1
            if self._start_failures == _MAX_START_FAILURES:
                raise TPBenchError(f"workers can't start: {why}; try fewer workers, or more memory")
            if item is not None:  # it was not even begun
                self._again.appendleft(item)
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
        """Return `last` if the item has had its attempts, else have it done again and say so."""
        if last.attempts >= self._limits.max_attempts:
            return last
        logger.info("%s: try %d failed, trying again: %s", item.key, last.attempts, last.error)
        self._again.append(replace(item, attempts=last.attempts))
        return replace(last, kind="retried")
