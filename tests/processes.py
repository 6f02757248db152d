"""Starting the command line as a process of its own, and watching what becomes of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import psutil

OUTLIVE_S = 5.0
"""No worker outlives its driver by more."""

_PATIENCE_S = 120.0


@contextmanager
def started(
    *command: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start Python with these arguments, in a process group of its own as a terminal would."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | (environment or {}),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_while_running(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """Wait until something is reached; fail if the process ends before."""
    end_s = time.monotonic() + _PATIENCE_S
    while not reached():
        assert process.poll() is None, f"ended too early: {process.communicate()}"
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.005)


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes below one; none if it has ended."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def working_in(folder: os.PathLike[str]) -> list[psutil.Process]:
    """Return the workers whose log lies below the folder: also those that nobody owns any more."""
    inside = os.fspath(folder) + os.sep
    found = []
    for process in psutil.process_iter():
        try:
            files = [file.path for file in process.open_files()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if process.pid != os.getpid() and any(path.startswith(inside) for path in files):
            found.append(process)
    return found


def assert_none_outlives(folder: os.PathLike[str]) -> None:
    """Fail unless every worker of a dataset folder is gone within `OUTLIVE_S`."""
    end_s = time.monotonic() + OUTLIVE_S
    while alive := working_in(folder):
        assert time.monotonic() < end_s, f"still there: {alive}"
        time.sleep(0.02)
