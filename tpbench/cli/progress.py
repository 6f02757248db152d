"""Progress of the commands: a bar on a terminal, otherwise one plain line every 30 seconds."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, Protocol

import typer

from tpbench.cli.output import console, counted, duration

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from tpbench.work import Progress as WorkProgress
    from tpbench.work import ProgressListener

LINE_EVERY_S: Final = 30.0
"""Time between two lines where there is no terminal, such as in the log of a batch job."""
_NAMED: Final = 3
"""Items in work and nodes that a line names."""


class Show(Protocol):
    """Shows the progress of a command."""

    def __call__(self, state: WorkProgress, *, step: str, news: str = "") -> None:
        """Show the progress of a step, such as "score, seed 42", with a short text behind it."""
        ...


class PlainLines:
    """Prints the progress as a line of its own, at most one in 30 seconds.

    Args:
        unit: of the counted items, in the plural.
        every_s: time between two lines.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self,
        unit: str,
        *,
        every_s: float = LINE_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._unit, self._every_s, self._clock = unit, every_s, clock
        self._last_s = clock()
        self._step = ""
        self._began_s = 0.0

    def __call__(self, state: WorkProgress, *, step: str, news: str = "") -> None:
        """Print a line to stderr if it is time for one."""
        now_s = self._clock()
        if step != self._step:
            self._step, self._began_s = step, now_s
        if now_s - self._last_s >= self._every_s:
            self._last_s = now_s
            typer.echo(self._line(state, news, now_s), err=True)

    def _line(self, state: WorkProgress, news: str, now_s: float) -> str:
        share = f" ({state.done / state.total:.0%})" if state.total else ""
        parts = [
            f"{state.done:,} of {state.total:,} {self._unit}{share}",
            *filter(None, [_frames(state), _rates(state), news]),
        ]
        finished, left = state.done - state.before, state.total - state.done
        if finished > 0 and left > 0:
            left_s = (now_s - self._began_s) / finished * left
            parts.append(f"about {duration(left_s)} left")
        if names := _in_work():
            parts.append(f"now {names}")
        return f"{self._step}: {', '.join(parts)}"


def _frames(state: WorkProgress) -> str:
    """Return how many frames were worked on; empty where no frames are looked at."""
    return "" if state.step == "fetch" else counted(state.frames, "frame")


def _rates(state: WorkProgress) -> str:
    """Return the frames per second of each node, of many the slowest; empty if there is one."""
    rates = state.rates
    named = list(rates) if len(rates) <= _NAMED else sorted(rates, key=rates.__getitem__)[:_NAMED]
    if not named:
        return ""
    shown = " ".join(f"{node} {rates[node]:.1f}" for node in named)
    which = f"slowest of {len(rates)} nodes: " if len(rates) > _NAMED else ""
    return f"{which}{shown} frames/s"


def _in_work() -> str:
    """Name the items in work, without their folders where the names differ."""
    from tpbench.work import IN_WORK

    keys = IN_WORK.keys()
    parts = [PurePosixPath(key).parts for key in keys]
    many = Counter(part[-1] for part in parts if part)
    names = sorted("/".join(part[-2 if many[part[-1]] > 1 else -1 :]) for part in parts if part)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return " ".join(names[:_NAMED]) + more


def stalled_column() -> ProgressColumn:
    """Return a column that names items without progress for a minute; empty if there are none."""
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    from tpbench.work import IN_WORK

    class StalledColumn(ProgressColumn):
        """Updates at every refresh, even while the main thread processes the item itself."""

        def render(self, task: Task) -> Text:
            stalls = [] if task.finished else IN_WORK.stalls()
            more = f" and {len(stalls) - 1} more" if len(stalls) > 1 else ""
            return Text(f"{stalls[0]}{more}" if stalls else "", style="yellow")

    return StalledColumn()


@contextmanager
def progress_bar(unit: str, *, several_steps: bool = False) -> Iterator[Show]:
    """Show the progress until the block ends; yields the function that updates it.

    Args:
        unit: of the counted items, in the plural.
        several_steps: whether the bar names the step, too.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    # rich replaces `sys.stderr` while a bar is shown, and looks behind one stream only.
    to = console(file=getattr(sys.stderr, "rich_proxied_file", sys.stderr))
    if not to.is_terminal:
        yield PlainLines(unit)
        return
    bar = Progress(
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TextColumn(f"{unit}  {{task.fields[news]}}", markup=False),
        stalled_column(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=to,
    )
    task = bar.add_task(unit, total=None, news="")

    def show(state: WorkProgress, *, step: str, news: str = "") -> None:
        head = f"{step}: " if several_steps else ""
        text = head + ", ".join(filter(None, [_frames(state), _rates(state), news]))
        bar.update(task, total=state.total, completed=state.done, news=text)
        bar.start()  # only once there is something to show; may be called repeatedly

    try:
        yield show
    finally:
        bar.stop()


@contextmanager
def named_scoring_bar() -> Iterator[Callable[[str, WorkProgress], None]]:
    """Show the progress while the clips of several methods are scored; yields its listener."""
    with progress_bar("clips", several_steps=True) as show:

        def listener(name: str, state: WorkProgress) -> None:
            show(state, step=f"score {name}", news=failed(state))

        yield listener


@contextmanager
def scoring_bar() -> Iterator[ProgressListener]:
    """Show the progress while clips are scored; yields its listener."""
    with progress_bar("clips") as show:

        def listener(state: WorkProgress) -> None:
            show(state, step="score", news=failed(state))

        yield listener


def failed(state: WorkProgress) -> str:
    """Return how many items failed; empty if none did."""
    number = state.counts.get("failed", 0)
    return f"{number:,} failed" if number else ""
