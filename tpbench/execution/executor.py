"""The seam between work and whoever does it.

An executor knows nothing of videos or clips. It gets items, hands each to a worker process that has
built the task once, and yields what became of them. Everything that crosses a process border or is
kept in the ledger is JSON, so that a run can be read, resumed and moved without the code that made
it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

JsonObject = Mapping[str, Any]
"""A mapping that `json.dumps` can write."""

OutcomeKind = Literal["done", "failed", "quarantined", "postponed", "retried"]
"""What became of an item; `retried` is news on the way, the others end it for this run.

`postponed`: it could not be reached (no permission, a share that dropped out); the next run tries
it again.
"""

ProgressReport = Callable[[JsonObject], None]
"""What a task calls to tell how far it is with its item."""

ProgressListener = Callable[[str, JsonObject], None]
"""What a caller gets told: the key of an item and what its task reported."""

Process = Callable[[JsonObject, ProgressReport], JsonObject]
"""What a task's factory returns: payload in, result out, with an optional `close()` for the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """One piece of work: a source video, or a clip to score."""

    key: str
    """Names the item for good; the same key is the same work."""

    payload: JsonObject = field(default_factory=dict)
    """What the task needs to do it."""

    attempts: int = 0
    """How often it was tried in vain, earlier runs included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one item, or of one try at it."""

    key: str
    kind: OutcomeKind

    attempts: int
    """Which try this was, earlier runs included: 1 for an item that went well at once."""

    result: JsonObject | None = None
    """What the task returned; only with `done`."""

    error: str | None = None
    """One line for the user; None with `done`."""

    error_detail: str | None = None
    """The worker's traceback when the error is a bug and not the input's fault."""

    wall_s: float = 0.0
    """How long the try took."""

    cpu_s: float = 0.0
    """Processor time of the worker for the try, all its threads; 0 when the worker died."""


def keep_traceback(outcome: Outcome, log: Path, *, name: str | None = None) -> None:
    """Append the traceback of a bug to a log; nothing where there is none.

    Args:
        outcome: what became of an item.
        log: of the run.
        name: what people call the item; None: its key.
    """
    if outcome.error_detail is not None:
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{name or outcome.key}:\n{outcome.error_detail}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """How a worker process builds what it is to do."""

    factory: str
    """`"module:callable"`. Called once in each worker with `config`; returns a `Process`.

    The module may import whatever is heavy: only workers import it.
    """

    config: JsonObject = field(default_factory=dict)


class Executor(Protocol):
    """Does items, somewhere."""

    def run(
        self,
        task: TaskSpec,
        items: Iterable[WorkItem],
        *,
        on_progress: ProgressListener | None = None,
    ) -> Generator[Outcome, None, None]:
        """Yield outcomes as they come: in no order, one final outcome an item.

        An item that kills its worker, or trips over a bug, is tried again (`retried`) until it has
        had its attempts. Items are drawn one at a time, when a worker is free for them. Closing the
        generator stops the workers: put it into `contextlib.closing`.

        Raises:
            TPBenchError: nothing can go on: the task refuses to start, workers can't start, or the
                disk is full.
        """
        ...
