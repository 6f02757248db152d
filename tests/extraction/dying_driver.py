"""The command line, killed by itself at a chosen point: `dying_driver.py POINT ARGUMENT...`.

SIGKILL comes at the very moment; no test outside the process could aim so well.
"""

import importlib
import os
import signal
import sys

POINTS = {
    "a worker is started": ("after", "tpbench.work.pool", "WorkerHandle"),
    "clips lie there, not recorded": ("before", "tpbench.extraction.records", "SourceRecords.add"),
    "one source is recorded": ("after", "tpbench.extraction.records", "SourceRecords.add"),
    "all is recorded": ("before", "tpbench.extraction.run", "finalise"),
    "manifest but no dataset.json": ("before", "tpbench.dataset.finishing", "write_info"),
    "half a file is written": ("before", "pathlib", "Path.replace"),
    "no report": ("before", "tpbench.extraction.run", "write_report"),
}


def die_at(point: str) -> None:
    """Replace the function of a point by one that kills this process."""
    when, module, name = POINTS[point]
    owner = importlib.import_module(module)
    *parents, name = name.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    wrapped = getattr(owner, name)

    def deadly(*arguments: object, **options: object) -> object:
        if when == "after":
            wrapped(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    setattr(owner, name, deadly)


if __name__ == "__main__":
    die_at(sys.argv[1])
    sys.argv[1:] = sys.argv[2:]
    from tpbench.cli.main import main

    main()
