"""The command line with `quick_worker`, which here notes each video that it begins: see `build`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from tpbench.work.worker import JsonObject, Process, ProgressReport

BEGUN = "begun.txt"
"""Beside the dataset: a line for each time that a video is begun, by which driver."""
BUILDER = "tests.extraction.racing_driver"


def build(config: JsonObject) -> Process:
    """Return the task of `quick_worker`, with a line in `BEGUN` for each item."""
    from tests.extraction import quick_worker

    task = quick_worker.build(config)
    log = Path(config["folder"]).parent / BEGUN

    def process(payload: JsonObject, report: ProgressReport) -> JsonObject:
        fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{os.getppid()} {Path(payload['path']).name}\n".encode())
        os.close(fd)
        return task(payload, report)

    return process


def main() -> None:
    """Run the command line."""
    from tpbench.cli.main import main as run_command
    from tpbench.extraction import run

    make_task = run._task
    stand_ins = {
        "_task": lambda *args: replace(make_task(*args), factory=f"{BUILDER}:build"),
        "write_report": lambda *_, **__: None,
    }
    for name, stand_in in stand_ins.items():
        setattr(run, name, stand_in)
    run_command()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
