"""Processes that are measured side by side, and the tables that benchmarks print."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

CHECKOUT: Final = Path(__file__).resolve().parents[1]
HERE: Final = Path(__file__).resolve().parent
_LOOK_EVERY_S: Final = 0.2
_NO_USAGE_STATISTICS: Final = {"https_proxy": "http://127.0.0.1:9"}
"""MediaPipe sends them otherwise, and waits for that at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What processes took from their start to their end."""

    wall_s: float
    cpu_s: float
    """Of all cores, their own subprocesses included: other work on the machine counts less."""
    said: tuple[dict[str, Any], ...] = ()
    """The JSON that each process printed in its last line."""
    own_mb: float = 0.0
    """Peak memory of the largest of the processes; 0 where the system does not say."""
    below_mb: float = 0.0
    """Peak memory of the largest process that one of them started, such as a worker."""

    def total(self, name: str) -> float:
        """Return the sum of a number that each process printed."""
        return float(sum(one[name] for one in self.said))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a frame takes once everything has started; NaN where a busy machine hid it."""

    frames_per_s: float
    cpu_ms: float
    """Per frame, of all cores."""


def rate(spent: Spent, start: Spent, n_frames: int) -> Rate:
    """Return the rate of a run, without its start.

    Args:
        spent: by the run.
        start: by the same processes for next to nothing.
        n_frames: of the run, those of the start not counted.
    """
    wall_s, cpu_s = spent.wall_s - start.wall_s, spent.cpu_s - start.cpu_s
    return Rate(
        frames_per_s=n_frames / wall_s if wall_s > 0 else math.nan,
        cpu_ms=1000 * cpu_s / n_frames if cpu_s > 0 else math.nan,
    )


def shown(value: float, text: str) -> str:
    """Return a number in the format `text`; empty where it could not be measured."""
    return "" if math.isnan(value) else text.format(value)


def run_together(commands: Sequence[Sequence[str]], *, checkout: Path = CHECKOUT) -> Spent:
    """Run Python scripts of this folder at the same time, each in a process of its own.

    Args:
        commands: script and arguments of each.
        checkout: whose tpbench they import.

    Raises:
        SystemExit: one failed; its errors are shown.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began_s = time.perf_counter()
    running = [
        subprocess.Popen(  # noqa: S603 - our own scripts
            [sys.executable, str(HERE / command[0]), *command[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(checkout)} | _NO_USAGE_STATISTICS,
            text=True,
        )
        for command in commands
    ]
    said = []
    with watched_memory([process.pid for process in running]) as peaks:
        for process, command in zip(running, commands, strict=True):
            answer, errors = process.communicate()
            if process.returncode:
                sys.exit(f"{' '.join(command)}: exit code {process.returncode}\n{errors}")
            said.append(json.loads(answer.splitlines()[-1]))
    wall_s = time.perf_counter() - began_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(
        wall_s=wall_s,
        cpu_s=cpu_s,
        said=tuple(said),
        own_mb=peaks["own"],
        below_mb=peaks["below"],
    )


@contextmanager
def watched_memory(pids: Sequence[int]) -> Iterator[dict[str, float]]:
    """Watch the peak memory in MB of processes ("own") and of what they start ("below")."""
    peaks = {"own": 0.0, "below": 0.0}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK_EVERY_S):
            for pid in pids:
                peaks["own"] = max(peaks["own"], _peak_mb(pid))
                for child in _children(pid):
                    peaks["below"] = max(peaks["below"], _peak_mb(child))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def _peak_mb(pid: int) -> float:
    """Return the most memory that a process ever held, as Linux counts it; else 0."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def _children(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def commit_of(checkout: Path) -> str:
    """Return the commit of a checkout, and whether files of its package differ from it."""
    git = ["git", "-C", str(checkout)]
    head, changed = (
        subprocess.run([*git, *words], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
        for words in (["rev-parse", "--short=10", "HEAD"], ["status", "--porcelain", "tpbench"])
    )
    return (head or "unknown") + (" with changes" if changed else "")


def checkout_argument(text: str) -> Path:
    """Return the folder of another checkout of tpbench (a type of argparse)."""
    path = Path(text).resolve()
    if not (path / "tpbench" / "__init__.py").is_file():
        raise ValueError(f"{path} is no checkout of tpbench")
    return path


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table: first column to the left, numbers to the right."""
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    print()
    for row in (heads, rule, *rows):
        first, *others = (
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print(f"| {' | '.join([first, *others])} |")
    print(flush=True)
