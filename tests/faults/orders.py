"""A worker's task that notes what it begins and finishes, and meets its fault when it is told to.

It wraps the task of a command. Below the folder of a stage lie

    log             a line for each thing begun, reached and finished: what, item, process
    orders/<item>   what happens to an item in the middle of its work, while the file is there

    gate            it waits until the file is gone
    die             it kills its worker, as a video does that crashes the decoder
    hang            it reads from a pipe that nobody writes to
    memory          it takes more memory than its worker may have
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any, Final

from tpbench.work.worker import JsonObject, Process, ProgressReport

FACTORY: Final = f"{__name__}:build"
_MORE_BYTES: Final = 64 << 20
"""What a worker may take beyond what it has; an item told to take memory takes eight times that."""


def orders_of(stage: Path) -> Path:
    """Return the folder of the orders."""
    return stage / "orders"


def pipe_of(stage: Path) -> Path:
    """Return the pipe that nobody writes to."""
    return stage / "pipe"


def log_of(stage: Path) -> Path:
    """Return the log of all that is begun and finished."""
    return stage / "log"


def wrapped(factory: str, config: JsonObject, stage: Path) -> dict[str, Any]:
    """Return the configuration of `build` for a task."""
    return {"factory": factory, "config": dict(config), "stage": str(stage)}


def build(config: JsonObject) -> Process:
    """Build the wrapped task; the factory that workers are told."""
    module, _, name = str(config["factory"]).partition(":")
    inner: Process = getattr(importlib.import_module(module), name)(config["config"])
    return Ordered(inner, Path(config["stage"]))


class Ordered:
    """Passes items on to a task, notes them, and obeys the orders about them.

    Args:
        inner: the task.
        stage: folder of the log and the orders.
    """

    def __init__(self, inner: Process, stage: Path) -> None:
        self._inner, self._stage = inner, stage

    def __call__(self, payload: JsonObject, report: ProgressReport) -> JsonObject:
        """Process an item; its orders are obeyed at its first report."""
        item = item_of(payload)
        if item is None:
            return self._inner(payload, report)
        obeyed = False

        def on_report(progress: JsonObject) -> None:
            nonlocal obeyed
            if not obeyed:
                obeyed = True
                self._note("reached", item)
                self._obey(item)
            report(progress)

        self._note("began", item)
        result = self._inner(payload, on_report)
        if {"done"}.issuperset(result.get("statuses", {}).values()):  # a clip that fails is a value
            self._note("finished", item)
        return result

    def close(self) -> None:
        """Close the task, if that can be done."""
        close = getattr(self._inner, "close", None)
        if close is not None:
            close()

    def _note(self, what: str, item: str) -> None:
        line = f"{what}\t{item}\t{os.getpid()}\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        log_fd = os.open(log_of(self._stage), flags, 0o666)
        os.write(log_fd, line.encode())  # one write, so that lines of killed workers are whole
        os.close(log_fd)

    def _obey(self, item: str) -> None:
        path = orders_of(self._stage) / item
        while (order := _text(path)) == "gate":
            time.sleep(0.02)
        match order:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                pipe_of(self._stage).read_bytes()
            case "memory":
                take_too_much()


def item_of(payload: JsonObject) -> str | None:
    """Return the name of a video or clip; None for what is neither."""
    if "path" in payload:
        return Path(payload["path"]).stem
    if "clip_id" in payload:
        return str(payload["clip_id"])
    clips = payload.get("clips")
    return str(clips[0]["clip"]["clip_id"]) if clips else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def take_too_much() -> None:
    """Hit the limit of this process's memory as `ulimit -v` or a batch system sets it."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit_bytes = pages * resource.getpagesize() + _MORE_BYTES
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, before[1]))
    try:
        bytearray(8 * _MORE_BYTES)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
