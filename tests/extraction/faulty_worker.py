"""A worker's task that goes wrong: found by workers through the search path of the test."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tpbench.work.worker import JsonObject, Process, ProgressReport


def build(_: JsonObject) -> Process:
    """Return what stumbles over `bug.mp4` and crashes at `crash.mp4`."""

    def process(payload: JsonObject, _: ProgressReport) -> JsonObject:
        name = Path(payload["path"]).name
        if name == "crash.mp4":
            os.kill(os.getpid(), signal.SIGSEGV)
        raise LookupError(f"nobody thought of {name}")

    return process
