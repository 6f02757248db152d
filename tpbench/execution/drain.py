"""Ledger and executor together: do what is left to do."""

from __future__ import annotations

from collections.abc import Callable, Container
from contextlib import closing

from tpbench.execution.ledger import Ledger
from tpbench.work.pool import Executor, ReportListener
from tpbench.work.worker import Outcome, TaskSpec, WorkItem


def drain(
    ledger: Ledger,
    executor: Executor,
    task: TaskSpec,
    *,
    keys: Container[str] | None = None,
    prepare: Callable[[WorkItem], WorkItem] | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
    on_progress: ReportListener | None = None,
) -> None:
    """Do every pending item of the ledger and record what becomes of it.

    Returns when nothing is left or raises what stopped it; the workers are gone either way, and
    what was finished is recorded.

    Args:
        ledger: says what is to be done and keeps what was.
        executor: does it.
        task: what is done.
        keys: only these items.
        prepare: has the last word on an item before a worker gets it; called in the ledger's order.
        on_outcome: told of each final outcome after the ledger has it.
        on_progress: told how far each item is.
    """
    items = ledger.lease(keys) if prepare is None else map(prepare, ledger.lease(keys))
    outcomes = executor.run(task, items, on_report=on_progress)
    with closing(outcomes):
        for outcome in outcomes:
            ledger.record(outcome)
            if on_outcome is not None and outcome.kind != "retried":
                on_outcome(outcome)
