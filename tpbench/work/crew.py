"""The attempt policy that all executors share: who gets which item, and what a failure costs.

A crew hands items to workers, which are processes of this machine or of a cluster. It knows them by
the protocols `Worker` and `Hiring` only.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, Protocol, TypeVar

from tpbench.errors import TPBenchError
from tpbench.work.faults import MORE_MEMORY
from tpbench.work.progress import IN_WORK
from tpbench.work.worker import (
    OUT_OF_MEMORY,
    Answer,
    JsonObject,
    Lost,
    Message,
    Outcome,
    OutcomeKind,
    Report,
    Started,
    TaskSpec,
    WorkItem,
    throttled,
)

logger = logging.getLogger(__name__)

_MAX_START_FAILURES: Final = 3
_MAX_SHORTAGES: Final = 3
MAX_ATTEMPTS: Final = 3
"""By default, an item is given up after as many attempts that cost a worker."""
STOP_GRACE_S: Final = 1.5
"""Time that a worker has to clear up before it is killed."""
ITEM_TIMEOUT_S: Final = 1800.0
"""By default, an item without progress for so long is given up. Reading a long video from a slow
share takes minutes and reports none."""
LOOK_AGAIN_S: Final = 0.2
"""Time after which items that were not ready are asked for again."""

ReportListener = Callable[[str, JsonObject], None]
"""Called with the key of an item and the report of its task."""


class Worker(Protocol):
    """One worker, as the driver sees it."""

    item: WorkItem | None
    """What it works on."""
    ready: bool
    """Whether it has built its task."""
    given: int
    """Number of items it was given so far."""
    since_s: float
    """When it got its item, by the monotonic clock."""
    moved_s: float
    """When its item last reported progress."""

    @property
    def where(self) -> str:
        """The process, as shown to the user."""
        ...

    @property
    def node(self) -> str:
        """The name of its machine; empty: this one."""
        ...

    def give(self, item: WorkItem) -> None:
        """Assign an item to a worker that is ready."""
        ...

    def receive(self) -> Sequence[Message]:
        """Return its messages, in order; called once `Hiring.wait` has named it."""
        ...

    def has_message(self) -> bool:
        """Whether a message has arrived that is not received yet."""
        ...

    def ask_to_stop(self) -> None:
        """Ask an idle worker to end, or interrupt a busy one."""
        ...

    def end(self, *, grace_s: float) -> str:
        """Wait for it to end, then kill it; return in words how it ended."""
        ...

    def kill(self) -> None:
        """Kill it at once; may be called repeatedly."""
        ...


W = TypeVar("W", bound=Worker)


class Hiring(Protocol[W]):
    """Starts workers of one kind, and waits for their messages."""

    def start(self) -> W:
        """Start a worker; it sends `Started` when its task is built."""
        ...

    def wait(self, workers: Sequence[W], timeout_s: float | None) -> Sequence[W]:
        """Return the workers with messages, once there are any or the time is over."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run allows its items and workers; executors add where the workers are."""

    num_workers: int
    """At most as many items are in work at once."""
    max_attempts: int = MAX_ATTEMPTS
    """An item that kills its workers or trips over a bug is given up after this many attempts."""
    recycle_after: int = 25
    """Items after which a worker is replaced: native libraries leak, but a start costs seconds."""
    item_timeout_s: float | None = None
    """A worker whose item reports nothing for this long is killed and counts as lost."""

    def __post_init__(self) -> None:
        if min(self.num_workers, self.max_attempts, self.recycle_after) < 1:
            raise ValueError(f"want at least 1 worker, attempt and item each, got {self}")


class Shortages:
    """Tells an item that takes too much memory from a machine that has none left.

    An item loses an attempt. But if several new items in a row ran out of memory, with none done in
    between, the machine is at fault. An item that failed before is no evidence against it.
    """

    def __init__(self) -> None:
        self._keys: set[str] = set()

    def note(self, item: WorkItem, outcome: Outcome, *, short: bool) -> None:
        """Take note of an attempt.

        Args:
            item: as it was given to a worker.
            outcome: of the attempt.
            short: whether memory, threads or open files ran out.

        Raises:
            TPBenchError: the machine is at fault.
        """
        if outcome.kind == "done":
            self._keys.clear()
        elif short and item.attempts == 0:
            self._keys.add(item.key)
        if len(self._keys) == _MAX_SHORTAGES:
            raise TPBenchError(
                f"{outcome.error}, at {_MAX_SHORTAGES} items in a row (the last was {item.key}); "
                f"{MORE_MEMORY}"
            )


class Crew(Generic[W]):
    """The workers of one run, their current items, and the items still to process.

    Args:
        hiring: starts the workers.
        limits: of items and workers.
        task: what the workers do.
        items: drawn one at a time; see `Executor.run`.
        on_report: called with each report.
    """

    def __init__(
        self,
        hiring: Hiring[W],
        limits: Limits,
        task: TaskSpec,
        items: Iterable[WorkItem | None],
        on_report: ReportListener | None,
    ) -> None:
        self._hiring, self._limits, self._task = hiring, limits, task
        self._items = iter(items)
        self._waiting = False
        """Whether items were not ready when they were last asked for."""
        self._on_report = on_report
        self._queue: deque[WorkItem] = deque()
        """One for each worker that is being started."""
        self._later: deque[WorkItem] = deque()
        """Items that failed before; they come after all others, which may fare better."""
        self._shortages = Shortages()
        self._workers: list[W] = []
        self._start_failures = 0

    def run(self) -> Generator[Outcome, None, None]:
        """Process all items; see `Executor.run`."""
        try:
            while self._assign():
                for worker in self._hiring.wait(self._workers, self._timeout_s()):
                    for message in worker.receive():
                        yield from self._handle(worker, message)
                yield from self._kill_overdue()
        finally:
            self._stop()

    def _assign(self) -> bool:
        """Give every free worker an item and start missing workers; False if no item is left.

        A worker is started only when there is an item for it. The item is bound to no worker until
        one is ready, as a cluster may have no room for the worker.
        """
        self._waiting = False
        for worker in self._workers:
            if worker.ready and worker.item is None and (item := self._next_item()) is not None:
                self._give(worker, item)
        starting = sum(not worker.ready for worker in self._workers)
        while len(self._workers) < self._limits.num_workers:
            if len(self._queue) <= starting:
                if (item := self._drawn()) is None:
                    break
                self._queue.append(item)
            self._workers.append(self._hiring.start())
            starting += 1
        return self._waiting or bool(self._queue or self._later or self._busy())

    def _give(self, worker: W, item: WorkItem) -> None:
        worker.given += 1
        worker.since_s = worker.moved_s = time.monotonic()
        worker.item = item
        IN_WORK.begin(item.key, where=worker.where, node=worker.node)
        worker.give(item)

    def _timeout_s(self) -> float | None:
        """Return how long to wait at most; None: until a message comes."""
        limit_s = self._limits.item_timeout_s
        timeout_s = None
        if limit_s is not None:
            ages_s = [time.monotonic() - worker.moved_s for worker in self._busy()]
            timeout_s = max(0.0, limit_s - max(ages_s, default=0.0))
        if self._waiting:
            timeout_s = min(LOOK_AGAIN_S, LOOK_AGAIN_S if timeout_s is None else timeout_s)
        return timeout_s

    def _handle(self, worker: W, message: Message) -> Generator[Outcome, None, None]:
        match message:
            case Started():
                self._note_start(worker, message)
            case Report() if worker.item is not None:
                worker.moved_s = time.monotonic()
                reporter(worker.item.key, self._on_report, limited=False)(message.report)
            case Answer() if (item := _taken(worker)) is not None:
                outcome = outcome_of(item, message)
                again = message.kind in {"bug", "ran_out"}
                yield self._retry_or(item, outcome) if again else outcome
                self._shortages.note(item, outcome, short=message.kind == "ran_out")
                # After a bug, the state of a worker is unknown.
                if again or worker.given >= self._limits.recycle_after:
                    self._workers.remove(worker)
                    worker.ask_to_stop()
                    worker.end(grace_s=STOP_GRACE_S)
            case Lost():
                yield from self._lose(worker, message.why, grace_s=STOP_GRACE_S)

    def _kill_overdue(self) -> Generator[Outcome, None, None]:
        """Kill the workers whose items have made no progress for too long."""
        limit_s = self._limits.item_timeout_s
        if limit_s is None:
            return
        for worker in self._busy():
            overdue = time.monotonic() - worker.moved_s >= limit_s
            if overdue and not worker.has_message():
                why = f"it made no progress for {limit_s:g} s"
                yield from self._lose(worker, why, grace_s=0.0)

    def _stop(self) -> None:
        """Stop every worker: ask first, then kill those that don't end within the grace period."""
        end_s = time.monotonic() + STOP_GRACE_S
        try:
            for worker in self._workers:
                worker.ask_to_stop()
            for worker in self._workers:
                _taken(worker)
                worker.end(grace_s=max(0.0, end_s - time.monotonic()))
        finally:  # a second Ctrl-C leaves no worker behind either
            for worker in self._workers:
                worker.kill()

    def _next_item(self) -> WorkItem | None:
        return self._queue.popleft() if self._queue else self._drawn()

    def _drawn(self) -> WorkItem | None:
        if not self._waiting:  # asked once a round is enough
            for item in self._items:
                self._waiting = item is None
                if item is None:
                    break
                if item.attempts == 0:
                    return item
                self._later.append(item)
        return self._later.popleft() if self._later else None

    def _busy(self) -> list[W]:
        return [worker for worker in self._workers if worker.item is not None]

    def _note_start(self, worker: W, message: Started) -> None:
        if message.refusal is not None:
            raise message.refusal
        if message.bug is not None:
            raise RuntimeError(f"{self._task.factory} raised in a worker:\n{message.bug}")
        self._start_failures = 0
        worker.ready = True

    def _lose(
        self, worker: W, why: str | None, *, grace_s: float
    ) -> Generator[Outcome, None, None]:
        """Remove a worker that is dead, or kill it; its item, if it has one, loses an attempt."""
        self._workers.remove(worker)
        wall_s = time.monotonic() - worker.since_s
        item = _taken(worker)
        ended = worker.end(grace_s=grace_s)
        why = why or ended
        if not worker.ready:
            self._start_failures += 1
            if self._start_failures == _MAX_START_FAILURES:
                raise TPBenchError(f"workers can't start: {why}; try fewer workers, or more memory")
        elif item is not None:
            lost = Outcome(
                key=item.key,
                kind="quarantined",
                attempts=item.attempts + 1,
                error=f"the worker was lost: {why}",
                wall_s=wall_s,
            )
            yield self._retry_or(item, lost)
            self._shortages.note(item, lost, short=OUT_OF_MEMORY in why)

    def _retry_or(self, item: WorkItem, last: Outcome) -> Outcome:
        """Return `last` if the item has no attempts left, else queue it again as `retried`."""
        if last.attempts >= self._limits.max_attempts:
            return last
        logger.info("%s: try %d failed, trying again: %s", item.key, last.attempts, last.error)
        self._later.append(replace(item, attempts=last.attempts))
        return replace(last, kind="retried")


def _taken(worker: Worker) -> WorkItem | None:
    """Take the worker's current item from it, and return it."""
    item, worker.item = worker.item, None
    if item is not None:
        IN_WORK.end(item.key)
    return item


def outcome_of(item: WorkItem, answer: Answer) -> Outcome:
    """Turn a worker's answer into the outcome of its item.

    Raises:
        TPBenchError: no further item can be processed.
    """
    if answer.kind == "halt":
        raise TPBenchError(f"{answer.error} (it was at {item.key})")
    kind: OutcomeKind = "failed"
    match answer.kind:
        case "done" | "postponed":
            kind = answer.kind
        case "ran_out":
            kind = "quarantined"
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


def reporter(
    key: str, listener: ReportListener | None, *, limited: bool = True
) -> Callable[[JsonObject], None]:
    """Return what passes on the reports of an item, at most ten a second if `limited`."""

    def report(progress: JsonObject) -> None:
        IN_WORK.moved(key)
        if listener is not None:
            listener(key, progress)

    return throttled(report) if limited else report
