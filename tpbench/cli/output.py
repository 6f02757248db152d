"""Output of the commands: tables, summaries, numbers with their nouns."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any, Final, Literal, TextIO

import typer

from tpbench.errors import number_of
from tpbench.files import size_text
from tpbench.foreign import printable, printable_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.measure import Measurement
    from rich.segment import Segment
    from rich.table import Column, Table


class CleanStream:
    """A text stream that escapes control characters, except newlines and tabs.

    Args:
        stream: to write to.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream
        """The stream behind this one, under the name that `rich` expects: rich writes styles and
        cursor movements to it directly, and `console` escapes its texts."""

    def write(self, text: str) -> int:
        """Write text with control characters as JSON escapes."""
        self.rich_proxied_file.write(printable_lines(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all other attributes are the stream's
        return getattr(self.rich_proxied_file, name)


class CleanFormatter(logging.Formatter):
    """Formats log messages as one line without control characters."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Return the line of a record, before any traceback."""
        record.message = printable(record.message)
        return super().formatMessage(record)


def clean_streams() -> None:
    """Escape control characters in all further output."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, CleanStream):
            setattr(sys, name, CleanStream(stream))


def console(*, stderr: bool = False, file: IO[str] | None = None) -> Console:
    """Return a console that escapes control characters in texts, but not its own styles.

    Texts are not markup: square brackets and colons are printed unchanged. Without a terminal,
    lines are as wide as they need to be, unless $COLUMNS is set, and end without blanks.
    """
    from rich.console import Console
    from rich.segment import Segment

    class CleanConsole(Console):
        def _render_buffer(self, buffer: Iterable[Segment]) -> str:
            text = super()._render_buffer(
                Segment(printable_lines(text), style, control) if not control else segment
                for segment in buffer
                for text, style, control in [segment]
            )
            return text if self.is_terminal else _BLANK_ENDS.sub("", text)

    made = CleanConsole(stderr=stderr, file=file, highlight=False, markup=False, emoji=False)
    if not made.is_terminal and not os.environ.get("COLUMNS"):
        made.width = _UNLIMITED_CHARS
    return made


def print_json(content: object, *, indent: int = 2, ascii_only: bool = False) -> None:
    """Print a result as JSON: NaN as null, infinity as "inf"."""
    from tpbench.canonical import encoded

    typer.echo(json.dumps(encoded(content), indent=indent, ensure_ascii=ascii_only))


_LISTED: Final = 5
_UNLIMITED_CHARS: Final = 10_000
_GAP_CHARS: Final = 2
"""Between two columns, and at both edges of a table together."""
_BLANK_ENDS: Final = re.compile(r" +$", re.MULTILINE)


def echo_some(lines: Sequence[str]) -> int:
    """Print the first lines to stderr, and return the number of remaining ones."""
    for line in lines[:_LISTED]:
        typer.echo(line, err=True)
    return max(0, len(lines) - _LISTED)


ARROWS: Final = {"higher": "↑", "lower": "↓", "target": "◎", "none": ""}
"""Direction of improvement; target: values closer to the target are better."""


def new_table(
    *heads: str, right: Iterable[str] = (), whole: Iterable[str] = (), ruled: bool = True
) -> Table:
    """Return an empty table.

    Args:
        heads: titles of its columns; not shown if all are empty.
        right: columns to right-align.
        whole: columns that are never wrapped or cut, such as names to copy.
        ruled: whether there is a line below the titles.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD if ruled else None, pad_edge=False, show_header=any(heads))
    for head in heads:
        side: Literal["left", "right"] = "right" if head in right else "left"
        table.add_column(head, justify=side, no_wrap=head in whole, overflow="fold")
    return table


def print_table(table: Table, to: Console, *, spare: Iterable[str] = ()) -> None:
    """Print a table as wide as the terminal; without a terminal, as wide as it needs to be.

    In a narrow terminal, columns come closer, then texts are wrapped, then columns are left out;
    the columns that `new_table` keeps whole are never cut, even if lines become too long.

    Args:
        table: from `new_table`.
        to: console.
        spare: columns to leave out for lack of room, one after the other.
    """
    for column in table.columns:
        if column.no_wrap:
            column.min_width = _widest_line(column)
    if _widths(table, to).maximum > to.width and table.box is not None:
        table.padding = (0, 0, 0, 1)
    left_out = []
    for head in spare:
        if _widths(table, to).minimum > to.width:
            left_out.append(head)
            table.columns = [column for column in table.columns if column.header != head]
    # Where even that is not enough, long words of the other columns are broken.
    needed = sum((column.min_width or 1) + _GAP_CHARS for column in table.columns)
    to.width = max(to.width, needed + _GAP_CHARS)
    to.print(table)
    if left_out:
        to.print(f"no room for: {', '.join(left_out)}; a wider terminal or --json shows them")


def _widest_line(column: Column) -> int:
    from rich.cells import cell_len

    cells = (column.header, *column.cells)
    return max(cell_len(line) for cell in cells for line in f"{cell}\n".split("\n"))


def _widths(table: Table, to: Console) -> Measurement:
    return to.measure(table, options=to.options.update(max_width=_UNLIMITED_CHARS))


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: "1 clip", "2,000 clips", "2 identities"."""
    return number_of(n, noun)


def duration(seconds: float) -> str:
    """Return a time as text: "40 s", "12 min", "3 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def size(n_bytes: int) -> str:
    """Return a size on disk as text: "12.0 MB", "3.4 GB"."""
    return size_text(n_bytes)


def side_of(dataset: str, split: str) -> str:
    """Describe the part of a dataset that a run covers."""
    return f"{dataset} ({'all clips' if split == 'all' else f'{split} split'})"


def shown(value: float) -> str:
    """Return a value with four significant digits; empty if it was not measured."""
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.4g}"


def interval(low: float | None, high: float | None) -> str:
    """Return both ends of an interval; empty if there is none."""
    return "" if low is None or high is None else f"{shown(low)} … {shown(high)}"
