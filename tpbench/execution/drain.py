"""Ledger and executor together: do what is left to do."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Container, Iterator
from contextlib import closing, contextmanager
from types import FrameType

from tpbench.execution.executor import Executor, Outcome, ProgressListener, TaskSpec, WorkItem
from tpbench.execution.ledger import Ledger


def drain(
    ledger: Ledger,
    executor: Executor,
    task: TaskSpec,
    *,
    keys: Container[str] | None = None,
    prepare: Callable[[WorkItem], WorkItem] | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
    on_progress: ProgressListener | None = None,
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
    outcomes = executor.run(task, items, on_progress=on_progress)
    with closing(outcomes):
        for outcome in outcomes:
            ledger.record(outcome)
            if on_outcome is not None and outcome.kind != "retried":
                on_outcome(outcome)


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the block as Ctrl-C does: by `KeyboardInterrupt`.

    Batch systems, containers and closed terminals then stop a run as cleanly as a person. A SIGHUP
    that is ignored (nohup) stays ignored. Does nothing outside the main thread, where signals can't
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
