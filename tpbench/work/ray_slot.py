"""A Ray actor that holds one worker process on its node, and passes messages on.

The worker itself is the same process as without Ray: one thread, its own process group, its output
in the log, killed with its actor by the kernel. So what a worker does, how it dies and what is said
of it are the same everywhere, and an actor answers even while its worker hangs.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tpbench import __version__
from tpbench.errors import TPBenchError
from tpbench.work.faults import HaltError
from tpbench.work.worker import (
    Answer,
    Lost,
    Message,
    Report,
    Started,
    TaskSpec,
    WorkerHandle,
    WorkItem,
)


class Slot:
    """One place for a worker; made into an actor by `ray_pool`.

    Args:
        task: what the worker does.
        log: file for its output; None: the output of the actor.
        driver: what `described_driver` says of the driver.
        seen: file that the driver has written, to prove that this node sees its folder.
    """

    def __init__(
        self, task: TaskSpec, log: str | None, driver: Mapping[str, Any], seen: str | None
    ) -> None:
        self._worker: WorkerHandle | None = None
        self._refusal: TPBenchError | None = None
        try:
            _live_as(driver)
            _require_seen(seen)
            self._worker = WorkerHandle(task, None if log is None else Path(log))
        except TPBenchError as error:
            self._refusal = error
        except OSError as error:
            self._refusal = HaltError(
                f"can't start a worker process on node {socket.gethostname()}: {error}; put that "
                "right and run again"
            )

    def about(self) -> tuple[str, int]:
        """Return the name of the node and the id of the worker's process."""
        return socket.gethostname(), 0 if self._worker is None else self._worker.process.pid

    def listen(self, limit_s: float) -> list[Message]:
        """Return the worker's next messages, once there is more than progress or the time is over.

        Args:
            limit_s: how long to wait at most.
        """
        if self._worker is None:
            return [Started(refusal=self._refusal)]
        messages: list[Message] = []
        end_s = time.monotonic() + limit_s
        while self._worker.connection.poll(max(0.0, end_s - time.monotonic())):
            (message,) = self._worker.receive()
            if isinstance(message, Report):
                messages = [message]  # the latest says it all
                continue
            if isinstance(message, Started):
                self._worker.ready = True
            elif isinstance(message, Answer):
                self._worker.item = None
            elif isinstance(message, Lost):
                message = Lost(why=self.end(1.0))
            return [*messages, message]
        return messages

    def work(self, item: WorkItem, limit_s: float) -> list[Message]:
        """Give the worker an item, then listen."""
        if self._worker is not None:
            self._worker.item = item
            self._worker.give(item)
        return self.listen(limit_s)

    def ask_to_stop(self) -> None:
        """Ask an idle worker to end, or interrupt one that is busy or still starting."""
        if self._worker is not None:
            self._worker.ask_to_stop()

    def end(self, grace_s: float) -> str:
        """Wait for the worker to end, then kill it with all that it has started."""
        return "it never started" if self._worker is None else self._worker.end(grace_s=grace_s)


def described_driver() -> dict[str, Any]:
    """Return what a node has to know of the driver to import and find the same things."""
    return {
        "version": __version__,
        "prefix": sys.prefix,
        "search_path": list(sys.path),
        "folder": os.getcwd(),  # noqa: PTH109 - as a text
    }


def _live_as(driver: Mapping[str, Any]) -> None:
    """Search modules where the driver does, in the same folder, where these exist here.

    Raises:
        TPBenchError: this node has another version of tpbench.
    """
    if driver["version"] != __version__:
        raise TPBenchError(
            f"node {socket.gethostname()} has tpbench {__version__} and the driver "
            f"{driver['version']}; install the same version on all nodes"
        )
    theirs: Sequence[str] = driver["search_path"]
    if sys.prefix == driver["prefix"]:
        sys.path[:] = theirs
    else:
        sys.path.extend(path for path in theirs if path not in sys.path and Path(path).exists())
    with suppress(OSError):  # only relative paths need it, and those are missed by `_require_seen`
        os.chdir(driver["folder"])


def _require_seen(seen: str | None) -> None:
    if seen is not None and not Path(seen).exists():
        raise TPBenchError(
            f"node {socket.gethostname()} doesn't see {Path(seen).parent}; put the output on "
            "storage that all nodes share, at the same path"
        )
