"""The driver's side of one worker process: start it, talk to it, end it.

Workers are fresh interpreters, started by name and not by multiprocessing: they never import the
caller's `__main__`, so a script without a main guard, a notebook and the command line all work
alike.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext, suppress
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import BinaryIO, Final

from tpbench.execution.executor import TaskSpec, WorkItem
from tpbench.execution.stall import IN_WORK
from tpbench.execution.worker import STOP_SIGNAL
from tpbench.files import require_regular

logger = logging.getLogger(__name__)

_ONE_THREAD: Final = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
)
"""Workers are the parallelism; libraries that start threads of their own only get in their way."""

# The search path comes first: with it the worker finds tpbench and the task as the driver does. -P
# keeps files of the current folder (a `random.py`) from hiding the standard library until then.
_BOOTSTRAP: Final = (
    "import sys; from multiprocessing.connection import Connection; "
    "connection = Connection(int(sys.argv[1])); sys.path[:] = connection.recv(); "
    "from tpbench.execution.worker import serve; "
    "serve(connection, driver_pid=int(sys.argv[2]), die_at_once=sys.argv[3] == '1')"
)


def _opened(log_path: Path) -> BinaryIO:
    """Open the log; what is no regular file there is refused instead of waited for."""
    if log_path.exists():
        require_regular(log_path)
    return log_path.open("ab")


class WorkerHandle:
    """The driver's handle on one worker process."""

    def __init__(self, task: TaskSpec, log_path: Path | None) -> None:
        self.item: WorkItem | None = None
        self.ready = False
        self.given = 0
        self.since_s = time.monotonic()
        self.connection, theirs = Pipe()
        in_main_thread = threading.current_thread() is threading.main_thread()
        arguments = [str(theirs.fileno()), str(os.getpid()), "1" if in_main_thread else "0"]
        with theirs, nullcontext() if log_path is None else _opened(log_path) as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own words
                [sys.executable, "-P", "-c", _BOOTSTRAP, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | _ONE_THREAD | {"PYTHONUNBUFFERED": "1"},
                pass_fds=[theirs.fileno()],
                # A group of its own: what a task starts is ended with the worker (see `bury`).
                process_group=0,
            )
        self._send(sys.path)
        self._send(task)

    def give(self, item: WorkItem) -> None:
        """Make the worker do an item, at once or as soon as it is ready."""
        self.item = item
        if self.ready:
            self.begin()

    def begin(self) -> None:
        """Send the item."""
        self.given += 1
        self.since_s = time.monotonic()
        if self.item is not None:
            IN_WORK.begin(self.item.key, where=f"process {self.process.pid}")
        self._send(self.item)

    def take_item(self) -> WorkItem | None:
        """Return the item the worker has, which it is rid of now."""
        item, self.item = self.item, None
        if item is not None:
            IN_WORK.end(item.key)
        return item

    def ask_to_stop(self) -> None:
        """Let an idle worker end by itself and interrupt a busy one."""
        if self.item is None:
            self._send(None)
        else:
            self.process.send_signal(STOP_SIGNAL)

    def bury(self, *, grace_s: float = 0.0) -> int:
        """Wait for the end, or make it, of the worker and of all it has started.

        Returns:
            The worker's exit code.
        """
        if self.item is not None:
            IN_WORK.end(self.item.key)
        try:
            self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            pass
        finally:  # an interrupt while we wait, too
            self.process.kill()
            with suppress(ProcessLookupError, PermissionError):  # nobody is left in it
                os.killpg(self.process.pid, signal.SIGKILL)
            self.connection.close()
        return self.process.wait()

    def _send(self, message: object) -> None:
        try:
            self.connection.send(message)
        except (BrokenPipeError, ConnectionResetError):
            logger.debug("worker %d died before it got a message", self.process.pid)


def cause_of_death(code: int) -> str:
    """Say in words what the exit code of a process means."""
    if code >= 0:
        return f"it exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hints = {"SIGKILL": " (out of memory?)", "SIGSEGV": " (a crash in native code)"}
    return f"it was killed by {name}{hints.get(name, '')}"
