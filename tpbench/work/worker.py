"""The seam between work and whoever does it, and a worker process seen from both sides.

A pool knows nothing of videos or clips: it gets items, hands each to a process that has built the
task once, and yields what became of them. Everything that crosses a process border or is recorded
is JSON, so that a run can be read, resumed and moved without the code that made it.

Workers are fresh interpreters, started by name and not by multiprocessing: they never import the
caller's `__main__`, so a script without a main guard, a notebook and the command line all work
alike. A driver that is killed can't tell its workers to stop. So each worker asks the kernel to be
killed with it (Linux), and a thread looks for the driver twice a second (everywhere).
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from tpbench.errors import TPBenchError
from tpbench.files import require_regular
from tpbench.foreign import printable
from tpbench.work.faults import PostponedError, machine_fault, why_halt
from tpbench.work.progress import IN_WORK

logger = logging.getLogger(__name__)

JsonObject = Mapping[str, Any]
"""A mapping that `json.dumps` can write."""
OutcomeKind = Literal["done", "failed", "quarantined", "postponed", "retried"]
"""What became of an item; `retried` is news on the way, the others end it for this run.

`postponed`: it could not be reached (no permission, a share that dropped out); the next run tries
it again.
"""
ProgressReport = Callable[[JsonObject], None]
"""What a task calls to tell how far it is with its item; cheap, so call it at every frame."""
Process = Callable[[JsonObject, ProgressReport], JsonObject]
"""What a task's factory returns: payload in, result out, with an optional `close()` for the end."""
STOP_SIGNAL: Final = signal.SIGUSR1
"""How the driver interrupts a busy worker; the signals that a terminal sends are ignored."""
_DRIVER_CHECK_S: Final = 0.5
_PROGRESS_INTERVAL_S: Final = 0.1
_PR_SET_PDEATHSIG: Final = 1


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
    "from tpbench.work.worker import serve; "
    "serve(connection, driver_pid=int(sys.argv[2]), die_at_once=sys.argv[3] == '1')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """One piece of work: a source video, a clip to score, some clips to make."""

    key: str
    """Names the item for good; the same key is the same work."""
    payload: JsonObject = field(default_factory=dict)
    """What the task needs to do it."""
    attempts: int = 0
    """How often it was tried in vain, earlier runs included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one item, or of one try at it."""

    key: str
    kind: OutcomeKind
    attempts: int
    """Which try this was, earlier runs included: 1 for an item that went well at once."""
    result: JsonObject | None = None
    """What the task returned; only with `done`."""
    error: str | None = None
    """One line for the user; None with `done`."""
    error_detail: str | None = None
    """The worker's traceback when the error is a bug and not the input's fault."""
    wall_s: float = 0.0
    """How long the try took."""
    cpu_s: float = 0.0
    """Processor time of the worker for the try, all its threads; 0 when the worker died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """How a worker process builds what it is to do."""

    factory: str
    """`"module:callable"`. Called once in each worker with `config`; returns a `Process`.

    The module may import whatever is heavy: only workers import it.
    """
    config: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The first message of a worker: its task is built, or why it is not."""

    refusal: TPBenchError | None = None
    """What the user has to mend first."""
    bug: str | None = None
    """A traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How far the worker is with its item."""

    report: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one try at one item."""

    kind: Literal["done", "wrong_input", "postponed", "bug", "halt"]
    """`halt`: no other item can do better, because nothing can be written any more. `postponed`:
    this one may do better in another run."""
    result: JsonObject | None = None
    error: str | None = None
    error_detail: str | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0


class WorkerHandle:
    """The driver's handle on one worker process: start it, talk to it, end it."""

    def __init__(self, task: TaskSpec, log_path: Path | None) -> None:
        self.item: WorkItem | None = None
        self.ready = False
        self.given = 0
        self.since_s = self.moved_s = time.monotonic()
        """When it got its item, and when the item moved last."""
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
                # A group of its own: what a task starts is ended with the worker (see `end`).
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
        self.since_s = self.moved_s = time.monotonic()
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

    def end(self, *, grace_s: float = 0.0) -> int:
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


def _opened(log_path: Path) -> BinaryIO:
    """Open the log; what is no regular file there is refused instead of waited for."""
    if log_path.exists():
        require_regular(log_path)
    return log_path.open("ab")


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


def serve(connection: Connection, *, driver_pid: int, die_at_once: bool) -> None:
    """Do what comes through the pipe until the driver says stop or is gone.

    Args:
        connection: to the driver.
        driver_pid: whose death ends us.
        die_at_once: ask the kernel to kill us with the driver. The kernel watches the thread
            that started us, so this is only for workers started by the driver's main thread.
    """
    os.set_inheritable(connection.fileno(), False)  # noqa: FBT003 - takes no keyword
    faulthandler.enable()
    _ignore_terminal_signals()
    _die_with(driver_pid, at_once=die_at_once)
    try:
        process = _build(connection.recv(), connection)
        if process is None:
            return
        try:
            while (item := connection.recv()) is not None:
                report = throttled(lambda progress: connection.send(Report(report=progress)))
                connection.send(attempt(process, item, report))
        finally:
            close_process(process)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the driver is gone; nobody is left to answer to


def attempt(process: Process, item: WorkItem, report: ProgressReport) -> Answer:
    """Do one item and say what came of it; whatever it raises becomes an answer."""
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    try:
        # Through JSON here: what json can't write is the task's bug, with the task's traceback.
        result = json.loads(json.dumps(process(item.payload, report)))
        answer = Answer(kind="done", result=result)
    except Exception as error:  # noqa: BLE001 - the driver decides what each kind means
        answer = _explain(error)
    wall_s, cpu_s = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    return replace(answer, wall_s=wall_s, cpu_s=cpu_s)


def throttled(send: ProgressReport) -> ProgressReport:
    """Return a reporter that passes on ten reports a second and drops the rest."""
    next_s = 0.0

    def report(progress: JsonObject) -> None:
        nonlocal next_s
        now_s = time.monotonic()
        if now_s >= next_s:
            next_s = now_s + _PROGRESS_INTERVAL_S
            send(progress)

    return report


def close_process(process: Process) -> None:
    """Have a task give back what it holds, if it has a `close`."""
    close: Callable[[], None] | None = getattr(process, "close", None)
    if close is not None:
        close()


def _ignore_terminal_signals() -> None:
    """Ignore what a terminal or a batch system sends to the whole process group.

    The driver gets these signals too and stops its workers in order. If a worker died of them
    first, its item would be blamed.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # An exception, so that the task's `finally` blocks take its temporary files away.
    signal.signal(STOP_SIGNAL, lambda *_: sys.exit(0))


def _die_with(driver_pid: int, *, at_once: bool) -> None:
    if at_once and sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        # An orphan gets another parent; this also sees a driver that died before we looked.
        while os.getppid() == driver_pid:
            time.sleep(_DRIVER_CHECK_S)
        if os.getpgrp() == os.getpid():  # what the task has started goes with us
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, name="watch-driver", daemon=True).start()


def _build(task: TaskSpec, connection: Connection) -> Process | None:
    """Build the task and tell the driver how that went; None if it failed."""
    try:
        module, _, name = task.factory.partition(":")
        process: Process = getattr(importlib.import_module(module), name)(task.config)
    except TPBenchError as error:
        connection.send(Started(refusal=error))
        return None
    except Exception as error:  # noqa: BLE001 - whatever it is, the driver has to be told
        halt = machine_fault(error)
        refusal = None if halt is None else TPBenchError(halt)
        connection.send(Started(refusal=refusal, bug=traceback.format_exc()))
        return None
    connection.send(Started())
    return process


def _explain(error: Exception) -> Answer:
    """Say what an error means that is being handled right now."""
    halt = why_halt(error)
    if halt is not None:
        return Answer(kind="halt", error=halt)
    if isinstance(error, PostponedError):
        return Answer(kind="postponed", error=printable(error))
    if isinstance(error, TPBenchError):
        return Answer(kind="wrong_input", error=printable(error))
    line = printable(f"{type(error).__name__}: {error}")
    return Answer(kind="bug", error=line, error_detail=traceback.format_exc())
