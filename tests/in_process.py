"""Runs without worker processes: a start of Python takes longer than most tests."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pkgutil import resolve_name

import pytest

from tpbench.work import InThisProcess, JsonObject, Outcome, TaskSpec, WorkItem
from tpbench.work.crew import ReportListener
from tpbench.work.engine import Engine


class _Here:
    """Builds the task that workers would build, of the same JSON, and does its items itself."""

    def run(
        self,
        task: TaskSpec,
        items: Iterable[WorkItem | None],
        *,
        on_report: ReportListener | None = None,
    ) -> Generator[Outcome, None, None]:
        """See `Executor.run`."""

        def build(config: JsonObject) -> object:
            return resolve_name(task.factory)(json.loads(json.dumps(config)))

        return InThisProcess(build=build).run(task, items, on_report=on_report)  # type: ignore[arg-type]  # what a factory returns


@contextmanager
def without_processes() -> Iterator[None]:
    """Do the work of local workers in this process. A bug is not tried again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "pool", lambda *_, **__: _Here())
        yield
