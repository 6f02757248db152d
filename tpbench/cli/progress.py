"""The progress bar of long commands: on stderr, and only where somebody looks at it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Show(Protocol):
    """Draws how far a command is."""

    def __call__(self, *, done: int, total: int, news: str) -> None:
        """Draw it: `done` of `total`, and a few words."""
        ...


@contextmanager
def progress_bar(unit: str) -> Iterator[Show]:
    """Give what draws the bar; it stands until the block ends.

    Args:
        unit: what is counted, in the plural.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TextColumn(f"{unit}  {{task.fields[news]}}"),
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
