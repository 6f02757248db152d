"""Tasks for worker processes to build; each leaves marks in a folder, so that tests can count.

Workers import this module by name: the `worker_tasks` fixture puts its folder on the search path.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.faults.orders import take_too_much
from tpbench.errors import MediaError, MissingWeightsError
from tpbench.work import JsonObject, ProgressReport


def append(path: Path, line: str) -> None:
    """Add a line in one write, so that marks of killed processes are whole."""
    with path.open("a") as file:
        file.write(line + "\n")


class Marker:
    """Does what the payload says: `{"do": name, ...}`; no `do` is an item that goes well."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.folder = Path(config["folder"])
        self.closed = self.folder / "closed"
        append(self.folder / "workers", str(os.getpid()))

    def __call__(self, payload: JsonObject, report_progress: ProgressReport) -> JsonObject:
        self.report_progress = report_progress
        runs = self.folder / f"{payload['name']}.runs"
        append(runs, str(os.getpid()))
        tries = len(runs.read_text().splitlines())
        report_progress({"frames": tries})
        if tries <= payload.get("times", sys.maxsize):
            getattr(self, payload.get("do", "well"))(payload)
        return {
            "pid": os.getpid(),
            "tries": tries,
            "threads": os.environ["OMP_NUM_THREADS"],
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        }

    def close(self) -> None:
        append(self.closed, str(os.getpid()))

    def well(self, payload: JsonObject) -> None:
        pass

    def meet(self, payload: JsonObject) -> None:
        """Wait until another item is begun, which only another worker can do."""
        while not (self.folder / f"{payload['other']}.runs").exists():
            time.sleep(0.005)

    def die(self, payload: JsonObject) -> None:
        os.kill(os.getpid(), payload.get("signal", signal.SIGKILL))

    def start_another(self, payload: JsonObject) -> None:
        """Start a process that outlives its starter, and end as asked."""
        self.child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        append(self.folder / "children", str(self.child.pid))
        getattr(self, str(payload["then"]))(payload)

    def take_too_much(self, payload: JsonObject) -> None:
        take_too_much()

    def leave(self, payload: JsonObject) -> None:
        sys.exit(payload["code"])

    def refuse(self, payload: JsonObject) -> None:
        raise MediaError(payload["name"], "is no\nvideo")

    def stumble(self, payload: JsonObject) -> None:
        raise LookupError(f"no such thing in {payload['name']}")

    def chatter(self, payload: JsonObject) -> None:
        for number in range(1000):
            self.report_progress({"number": number})

    def hold_the_interpreter(self, payload: JsonObject) -> None:
        """Sleep as native code that never lets another Python thread run."""
        (self.folder / f"{payload['name']}.tmp").touch()
        ctypes.PyDLL(None).sleep(payload["seconds"])

    def fill_the_disk(self, payload: JsonObject) -> None:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "clip.mp4")
        raise MediaError(payload["name"], "can't be written") from full

    def sleep(self, payload: JsonObject) -> None:
        half_written = self.folder / f"{payload['name']}.tmp"
        try:
            half_written.touch()
            time.sleep(payload["seconds"])
        finally:
            half_written.unlink()


def mark(config: JsonObject) -> Marker:
    return Marker(config)


def return_no_json(config: JsonObject) -> Callable[..., object]:
    return lambda _payload, _report: {"when": object()}


def lack_weights(config: JsonObject) -> None:
    raise MissingWeightsError("dwpose", "run `tpbench weights pull dwpose`")


def have_a_bug(config: JsonObject) -> None:
    raise KeyError(f"bad key in {dict(config)}")


def die_at_start(config: JsonObject) -> None:
    append(Path(config["folder"]) / "workers", str(os.getpid()))
    os._exit(7)
