"""Items, outcomes and tasks, and worker processes: the driver's side and the worker's side.

A pool is independent of videos and clips: it hands items to processes that have each built the task
once, and yields the outcomes. All data that passes between processes or is recorded is JSON, so
that a run can be read, resumed and moved without the code that wrote it.

Workers are fresh interpreters and not forks of multiprocessing. They never import the caller's
`__main__`, so scripts without a main guard, notebooks and the command line all work alike. A killed
driver can't stop its workers. So each worker asks the kernel to be killed with the driver (Linux),
and a thread checks for the driver twice a second (on every system).
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
from tpbench.work.faults import PostponedError, machine_fault, ran_out, why_halt

logger = logging.getLogger(__name__)

JsonObject = Mapping[str, Any]
"""A mapping that `json.dumps` can write."""
OutcomeKind = Literal["done", "failed", "quarantined", "postponed", "retried"]
"""How an item ended; `retried` is an intermediate state, the others are final in this run.

`postponed`: it could not be reached (no permission, a lost network share); the next run tries it
again.
"""
ProgressReport = Callable[[JsonObject], None]
"""Called by a task to report the progress of its item; cheap, so call it at every frame."""
Process = Callable[[JsonObject, ProgressReport], JsonObject]
"""Returned by a task's factory: takes a payload, returns a result; may have a `close()`."""
STOP_SIGNAL: Final = signal.SIGUSR1
"""How the driver interrupts a busy worker; the signals that a terminal sends are ignored."""
OUT_OF_MEMORY: Final = "out of memory"
"""Stands in what is said of a lost worker if its machine may have run out of memory."""
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
"""Parallelism comes from the workers; threads started by libraries only slow them down."""
# The search path is sent first, so that the worker finds tpbench and the task as the driver does.
# Until then, -P keeps files of the current folder (a `random.py`) from hiding the standard library.
_BOOTSTRAP: Final = (
    "import sys; from multiprocessing.connection import Connection; "
    "connection = Connection(int(sys.argv[1])); sys.path[:] = connection.recv(); "
    "from tpbench.work.worker import serve; "
    "serve(connection, driver_pid=int(sys.argv[2]), die_at_once=sys.argv[3] == '1')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """One unit of work: a source video, a clip to score, some clips to generate."""

    key: str
    """Identifies the item across runs: the same key is the same work."""
    payload: JsonObject = field(default_factory=dict)
    """The input of the task."""
    attempts: int = 0
    """Number of unsuccessful attempts so far, including earlier runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one item, or of one attempt at it."""

    key: str
    kind: OutcomeKind
    attempts: int
    """Number of attempts so far, including earlier runs: 1 if the first one succeeded."""
    result: JsonObject | None = None
    """The task's result; only with `done`."""
    error: str | None = None
    """One line for the user; None with `done`."""
    error_detail: str | None = None
    """The worker's traceback if the error is a bug and not caused by the input."""
    wall_s: float = 0.0
    """Duration of the attempt."""
    cpu_s: float = 0.0
    """Processor time of the worker for the attempt, over all threads; 0 if the worker died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """How a worker process builds its task."""

    factory: str
    """`"module:callable"`. Called once in each worker with `config`; returns a `Process`.

    The module may import heavy libraries: only workers import it.
    """
    config: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The first message of a worker: its task is built, or the reason why it is not."""

    refusal: TPBenchError | None = None
    """An error that the user has to fix first."""
    bug: str | None = None
    """A traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Progress of the worker's item."""

    report: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of one attempt at one item."""

    kind: Literal["done", "wrong_input", "postponed", "bug", "ran_out", "halt"]
    """`halt`: every other item would fail too, because nothing can be written any more.
    `postponed`: this item may succeed in another run.
    `ran_out`: memory, threads or open files ran out, by this item or not."""
    result: JsonObject | None = None
    error: str | None = None
    error_detail: str | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The last message of a worker: it is gone."""

    why: str | None = None
    """In words; None: ending it tells."""


Message = Started | Report | Answer | Lost


class WorkerHandle:
    """The handle on one worker process of this machine; see `crew.Worker`."""

    def __init__(self, task: TaskSpec, log_path: Path | None) -> None:
        self.item: WorkItem | None = None
        self.ready = False
        self.given = 0
        self.since_s = self.moved_s = time.monotonic()
        self.connection, theirs = Pipe()
        in_main_thread = threading.current_thread() is threading.main_thread()
        arguments = [str(theirs.fileno()), str(os.getpid()), "1" if in_main_thread else "0"]
        with theirs, nullcontext() if log_path is None else _opened(log_path) as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                [sys.executable, "-P", "-c", _BOOTSTRAP, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | _ONE_THREAD | {"PYTHONUNBUFFERED": "1"},
                pass_fds=[theirs.fileno()],
                # Its own process group: subprocesses of a task end with the worker (see `end`).
                process_group=0,
            )
        self._send(sys.path)
        self._send(task)

    @property
    def where(self) -> str:
        """The process, as shown to the user."""
        return f"process {self.process.pid}"

    @property
    def node(self) -> str:
        """Empty: this machine."""
        return ""

    def give(self, item: WorkItem) -> None:
        """Send an item to a worker that is ready."""
        self._send(item)

    def receive(self) -> list[Message]:
        """Wait for the next message, and return it."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):  # OSError: killed in the middle of a message
            message = Lost()
        return [message]

    def has_message(self) -> bool:
        """Whether a message has arrived that is not received yet."""
        return self.connection.poll()

    def ask_to_stop(self) -> None:
        """Ask an idle worker to end, or interrupt one that is busy or still starting."""
        if self.ready and self.item is None:
            self._send(None)
        else:
            self.process.send_signal(STOP_SIGNAL)

    def end(self, *, grace_s: float = 0.0) -> str:
        """Wait for the worker to end, then kill it and all processes it has started.

        Returns:
            How it ended, in words.
        """
        try:
            self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also if interrupted while waiting
            self.process.kill()
            with suppress(ProcessLookupError, PermissionError):  # no process left
                os.killpg(self.process.pid, signal.SIGKILL)
            self.connection.close()
        return cause_of_death(self.process.wait())

    def kill(self) -> None:
        """Kill the worker at once; may be called repeatedly."""
        self.process.kill()

    def _send(self, message: object) -> None:
        try:
            self.connection.send(message)
        except (BrokenPipeError, ConnectionResetError):
            logger.debug("worker %d died before it got a message", self.process.pid)


def _opened(log_path: Path) -> BinaryIO:
    """Open the log; raises if it is no regular file, as opening a pipe would block."""
    if log_path.exists():
        require_regular(log_path)
    return log_path.open("ab")


def cause_of_death(code: int) -> str:
    """Describe in words what the exit code of a process means."""
    if code >= 0:
        return f"it exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hints = {
        "SIGKILL": f" ({OUT_OF_MEMORY}?)",
        "SIGSEGV": " (a crash in native code)",
        "SIGXCPU": " (its limit of processor time)",
    }
    return f"it was killed by {name}{hints.get(name, '')}"


def serve(connection: Connection, *, driver_pid: int, die_at_once: bool) -> None:
    """Process the items that come through the pipe until the driver sends stop or is gone.

    Args:
        connection: to the driver.
        driver_pid: this process ends when the driver does.
        die_at_once: ask the kernel to kill this process with the driver. The kernel watches the
            thread that started it, so this is only for workers started by the driver's main thread.
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
        return  # the driver is gone: there is no one to answer


def attempt(process: Process, item: WorkItem, report: ProgressReport) -> Answer:
    """Process one item and return the answer; any exception becomes an answer too."""
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    try:
        # Converted here, so that a result that is no JSON counts as a bug of the task.
        result = json.loads(json.dumps(process(item.payload, report)))
        answer = Answer(kind="done", result=result)
    except Exception as error:  # noqa: BLE001 - the driver decides what each kind means
        answer = _explain(error)
    wall_s, cpu_s = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    return replace(answer, wall_s=wall_s, cpu_s=cpu_s)


def throttled(send: ProgressReport) -> ProgressReport:
    """Return a reporter that passes on at most ten reports a second and drops the others."""
    next_s = 0.0

    def report(progress: JsonObject) -> None:
        nonlocal next_s
        now_s = time.monotonic()
        if now_s >= next_s:
            next_s = now_s + _PROGRESS_INTERVAL_S
            send(progress)

    return report


def close_process(process: Process) -> None:
    """Call the task's `close`, if it has one, to release its resources."""
    close: Callable[[], None] | None = getattr(process, "close", None)
    if close is not None:
        close()


def _ignore_terminal_signals() -> None:
    """Ignore signals that a terminal or a batch system sends to the whole process group.

    The driver gets these signals too and stops its workers in order. If one killed a worker first,
    the worker's item would lose an attempt.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # An exception, so that the task's `finally` blocks remove its temporary files.
    signal.signal(STOP_SIGNAL, lambda *_: sys.exit(0))


def _die_with(driver_pid: int, *, at_once: bool) -> None:
    if at_once and sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        # An orphan gets another parent; this also detects a driver that died before the first look.
        while os.getppid() == driver_pid:
            time.sleep(_DRIVER_CHECK_S)
        if os.getpgrp() == os.getpid():  # end the task's subprocesses too
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, name="watch-driver", daemon=True).start()


def _build(task: TaskSpec, connection: Connection) -> Process | None:
    """Build the task and report success or failure to the driver; None if it failed."""
    try:
        module, _, name = task.factory.partition(":")
        process: Process = getattr(importlib.import_module(module), name)(task.config)
    except TPBenchError as error:
        connection.send(Started(refusal=error))
        return None
    except Exception as error:  # noqa: BLE001 - the driver has to know of every failure
        halt = machine_fault(error)
        refusal = None if halt is None else TPBenchError(halt)
        connection.send(Started(refusal=refusal, bug=traceback.format_exc()))
        return None
    connection.send(Started())
    return process


def _explain(error: Exception) -> Answer:
    """Turn the exception that is being handled into an answer."""
    halt = why_halt(error)
    if halt is not None:
        return Answer(kind="halt", error=halt)
    if isinstance(error, PostponedError):
        return Answer(kind="postponed", error=printable(error))
    lacking = ran_out(error)
    if lacking is not None:
        return Answer(kind="ran_out", error=printable(lacking))
    if isinstance(error, TPBenchError):
        return Answer(kind="wrong_input", error=printable(error))
    line = printable(f"{type(error).__name__}: {error}")
    return Answer(kind="bug", error=line, error_detail=traceback.format_exc())
