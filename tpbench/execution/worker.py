"""The worker's side: build the task, do one item after another, and never outlive the driver.

A driver that is killed can't tell its workers to stop. So each worker asks the kernel to be killed
with it (Linux), and a thread looks for the driver twice a second (everywhere).
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Final, Literal

from tpbench.errors import TPBenchError
from tpbench.execution.executor import JsonObject, Process, ProgressReport, TaskSpec, WorkItem
from tpbench.execution.halt import PostponedError, machine_fault, why_halt
from tpbench.foreign import printable

STOP_SIGNAL: Final = signal.SIGUSR1
"""How the driver interrupts a busy worker; the signals that a terminal sends are ignored."""

_DRIVER_CHECK_S: Final = 0.5
_PROGRESS_INTERVAL_S: Final = 0.1
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The first message of a worker: its task is built, or why it is not."""

    refusal: TPBenchError | None = None
    """What the user has to mend first."""

    bug: str | None = None
    """A traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
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


def serve(connection: Connection, *, driver_pid: int, die_at_once: bool) -> None:
    """Do what comes through the pipe until the driver says stop or is gone.

    Args:
        connection: the worker's end. In: a `TaskSpec`, then items, then None. Out: `Started`, then
            for each item any number of `Progress` and one `Answer`.
        driver_pid: the process to live and die with.
        die_at_once: let the kernel kill this process with the driver. The kernel watches the thread
            that started us, so this is only for workers started by the driver's main thread.
    """
    os.set_inheritable(connection.fileno(), False)  # noqa: FBT003 - takes no keyword
    faulthandler.enable()
    _heed_only_the_driver()
    _die_with(driver_pid, at_once=die_at_once)
    try:
        process = _build(connection.recv(), connection)
        if process is None:
            return
        try:
            while (item := connection.recv()) is not None:
                connection.send(_attempt(process, item, _reporter(connection)))
        finally:
            close: Callable[[], None] | None = getattr(process, "close", None)
            if close is not None:
                close()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the driver is gone; nobody is left to answer to


def _heed_only_the_driver() -> None:
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


def _attempt(process: Process, item: WorkItem, report_progress: ProgressReport) -> Answer:
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    try:
        # Through JSON here: what json can't write is the task's bug, with the task's traceback.
        result = json.loads(json.dumps(process(item.payload, report_progress)))
        answer = Answer(kind="done", result=result)
    except Exception as error:  # noqa: BLE001 - the driver decides what each kind means
        answer = _explain(error)
    wall_s, cpu_s = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    return replace(answer, wall_s=wall_s, cpu_s=cpu_s)


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


def _reporter(connection: Connection) -> ProgressReport:
    """Return a reporter that passes on ten reports a second and drops the rest."""
    next_s = 0.0

    def report(progress: JsonObject) -> None:
        nonlocal next_s
        now_s = time.monotonic()
        if now_s >= next_s:
            next_s = now_s + _PROGRESS_INTERVAL_S
            connection.send(Progress(report=progress))

    return report
