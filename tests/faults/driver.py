"""The command line with workers that obey orders: `driver.py STAGE KIND OBEYS ARGUMENT...`.

KIND is `quick` (extraction makes clips of a few bytes) or `real` (nothing else is changed). OBEYS
is the start of the factory of the tasks that obey; empty: all do.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults import orders
from tpbench.work import TaskSpec

_QUICK = "tests.extraction.quick_worker:build"


def obey_orders(stage: Path, obeys: str, *, quick: bool) -> None:
    """Let the workers of these tasks obey the orders of a stage."""
    run = importlib.import_module("tpbench.extraction.run")
    if quick:
        patch(run, "write_report", lambda _: lambda _: None)  # there are no pictures to show

    def with_orders(run_items: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(run_items)
        def changed(task: TaskSpec, *rest: Any, **options: Any) -> None:  # noqa: ANN401 - passed on
            if not task.factory.startswith(obeys):
                run_items(task, *rest, **options)
                return
            extracts = task.factory == "tpbench.extraction.worker:build"
            factory = _QUICK if quick and extracts else task.factory
            config = orders.wrapped(factory, task.config, stage)
            run_items(TaskSpec(factory=orders.FACTORY, config=config), *rest, **options)

        return changed

    work = importlib.import_module("tpbench.work")
    generate = importlib.import_module("tpbench.benchmark.generate")
    for module in (run, work, generate):
        patch(module, "run_items", with_orders)


def patch(module: object, name: str, change: Callable[[Any], Any]) -> None:
    """Replace an attribute of a module."""
    setattr(module, name, change(getattr(module, name)))


if __name__ == "__main__":
    obey_orders(Path(sys.argv[1]), sys.argv[3], quick=sys.argv[2] == "quick")
    sys.argv[1:] = sys.argv[4:]
    from tpbench.cli.main import main

    main()
