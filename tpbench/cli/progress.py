"""The progress bar of long commands: on stderr, and only where somebody looks at it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import ProgressColumn

    from tpbench.metrics.scoring.driver import ProgressListener, ScoringProgress


class Show(Protocol):
    """Draws how far a command is."""

    def __call__(self, *, done: int, total: int, news: str) -> None:
        """Draw it: `done` of `total`, and a few words."""
        ...


def stalled_column() -> ProgressColumn:
    """Return a column that names what has not moved for a minute; empty as long as all moves."""
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    from tpbench.execution import IN_WORK

    class StalledColumn(ProgressColumn):
        """Asks anew at every refresh, also while the main thread is busy with the item itself."""

        def render(self, task: Task) -> Text:
            stalls = [] if task.finished else IN_WORK.stalls()
            more = f" and {len(stalls) - 1} more" if len(stalls) > 1 else ""
            return Text(f"{stalls[0]}{more}" if stalls else "", style="yellow")

    return StalledColumn()


@contextmanager
def progress_bar(unit: str) -> Iterator[Show]:
    """Give what draws the bar; it stands until the block ends.

    Args:
        unit: what is counted, in the plural.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from tpbench.cli.console import CleanConsole

    console = CleanConsole(stderr=True)
    bar = Progress(
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TextColumn(f"{unit}  {{task.fields[news]}}", markup=False),
        stalled_column(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    task = bar.add_task(unit, total=None, news="")

    def show(*, done: int, total: int, news: str) -> None:
        bar.update(task, total=total, completed=done, news=news)
        bar.start()  # not before there is something to show; harmless when repeated

    try:
        yield show
    finally:
        bar.stop()


@contextmanager
def scoring_bar() -> Iterator[ProgressListener]:
    """Give the listener of a scoring that draws its bar."""
    with progress_bar("clips") as show:

        def listener(state: ScoringProgress) -> None:
            show(done=state.clips_done, total=state.clips_total, news=f"{state.frames:,} frames")

        yield listener
