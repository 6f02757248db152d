"""Commands in processes of their own, watched: how they end, how long they take, their memory."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import psutil

from benchmarks.fuzz.outcomes import Sort

CHECKOUT: Final = Path(__file__).parents[2]
_SAMPLE_S: Final = 0.05
_MOST_PRINTED: Final = 20_000
"""Characters. A broken file is told of in a line, and a line of 20,000 is none."""
_TRACE: Final = "Traceback (most recent call last)"
CODES: Final = (0, 2, 3)
"""Exit codes of the command line: done, wrong input, finished but something failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a command ended."""

    code: int
    """Negative for a signal."""
    printed: str
    seconds: float
    peak_mb: int
    """Largest resident memory of one of its processes."""
    peak_sum_mb: int = 0
    """Of all its processes together, sampled."""
    is_late: bool = False
    is_large: bool = False

    def sort(self, *logs: str) -> Sort:
        """Return what this counts as; `logs` are files it wrote that may hold tracebacks, too."""
        if self.is_late:
            return "hang"
        if self.is_large:
            return "memory"
        if any(_TRACE in text for text in (self.printed, *logs)):
            return "traceback"
        if self.code not in CODES:
            return "crash"
        if len(self.printed) > _MOST_PRINTED:
            return "flood"
        return "code" if self.code else "done"

    @property
    def reason(self) -> str:
        """The line that says why it failed: the last of a traceback, else the first error."""
        lines = [line for line in self.printed.splitlines() if line.strip()]
        if _TRACE in self.printed:
            return lines[-1]
        told = [line for line in lines if re.match(r"error|WARNING|.*: ", line)]
        return (told or lines or [""])[0]


class Runner(Protocol):
    """Runs `tpbench` with these arguments in a folder."""

    def __call__(
        self, arguments: Sequence[str], folder: Path, *, limit_s: float, limit_mb: int
    ) -> Finished:
        """Return how it ended."""


def in_fresh_process(
    arguments: Sequence[str], folder: Path, *, limit_s: float, limit_mb: int
) -> Finished:
    """Run `python -m tpbench`, as a user does."""
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            [sys.executable, "-m", "tpbench", *arguments],
            cwd=folder,
            env=environment(arguments, folder),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        ended = _watched(process.pid, printed.fileno(), limit_s=limit_s, limit_mb=limit_mb)
        process.returncode = ended.code  # it was waited for elsewhere
        return ended


def in_fork(arguments: Sequence[str], folder: Path, *, limit_s: float, limit_mb: int) -> Finished:
    """Run the command in a fork of this process, which has imported everything already."""
    with tempfile.TemporaryFile() as printed:
        pid = os.fork()
        if pid == 0:
            _become(arguments, folder, printed.fileno())
        return _watched(pid, printed.fileno(), limit_s=limit_s, limit_mb=limit_mb)


def environment(arguments: Sequence[str], folder: Path) -> Mapping[str, str]:
    """Return the environment of a command: no network, and model files that it pulls stay apart."""
    own = {"TPBENCH_CACHE": str(folder / "cache")} if arguments[0] == "weights" else {}
    return {
        **os.environ,
        **own,
        "PYTHONPATH": str(CHECKOUT),
        "TPBENCH_STATE": str(folder / "state"),
        "TPBENCH_OFFLINE": "1",
        "COLUMNS": "200",
    }


def _become(arguments: Sequence[str], folder: Path, printed_fd: int) -> None:
    """Be the command, in a process just forked; never return."""
    code = 70
    try:
        os.setsid()
        os.dup2(printed_fd, 1)
        os.dup2(printed_fd, 2)
        os.chdir(folder)
        os.environ.update(environment(arguments, folder))
        # A core file of every crash would fill the disk.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = call_main(arguments)
    except BaseException:  # noqa: BLE001 - what a command raises is what is looked for
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def call_main(arguments: Sequence[str]) -> int:
    """Call the command line, or with `call module:function PATH` a function; return its code.

    A function's `TPBenchError` is a line and code 2, as on the command line.
    """
    from tpbench.cli.main import main
    from tpbench.errors import TPBenchError

    if arguments[0] == "call":
        try:
            _function(arguments[1])(Path(arguments[2]))
        except TPBenchError as error:
            print(f"error: {error}")
            return 2
        return 0
    sys.argv = ["tpbench", *arguments]
    try:
        main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def _function(name: str) -> Callable[[Path], object]:
    from importlib import import_module

    module, _, function = name.partition(":")
    found: Callable[[Path], object] = getattr(import_module(module), function)
    return found


def _watched(pid: int, printed_fd: int, *, limit_s: float, limit_mb: int) -> Finished:
    began = time.monotonic()
    process = psutil.Process(pid)
    peak = peak_sum = 0
    is_late = is_large = False
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            break
        sizes = _resident(process)
        peak, peak_sum = max(peak, *sizes, 0), max(peak_sum, sum(sizes))
        is_late = time.monotonic() - began > limit_s
        is_large = peak_sum > limit_mb << 20
        if is_late or is_large:
            _kill(process)
            _, status, usage = os.wait4(pid, 0)
            break
        time.sleep(_SAMPLE_S)
    # The system's own figure misses nothing, and counts the command's own processes that it waited
    # for; samples count the others.
    peak = max(peak, usage.ru_maxrss << 10)
    return Finished(
        code=os.waitstatus_to_exitcode(status),
        printed=_text(printed_fd),
        seconds=time.monotonic() - began,
        peak_mb=peak >> 20,
        peak_sum_mb=max(peak, peak_sum) >> 20,
        is_late=is_late,
        is_large=is_large,
    )


def _resident(process: psutil.Process) -> list[int]:
    try:
        everyone = (process, *process.children(recursive=True))
        return [int(one.memory_info().rss) for one in everyone]
    except psutil.Error:  # one of them has just ended
        return [0]


def _kill(process: psutil.Process) -> None:
    try:
        children = process.children(recursive=True)
    except psutil.Error:
        children = []
    for one in (process, *children):
        try:
            one.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue


def _text(fd: int) -> str:
    os.lseek(fd, 0, os.SEEK_SET)
    with os.fdopen(os.dup(fd), "rb") as file:
        return file.read(4 << 20).decode("utf-8", "replace")
