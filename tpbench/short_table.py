"""How a result prints: a few lines of text, and a table in a notebook."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from tpbench.foreign import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortTable:
    """A title, the rows that are read first, and where the rest is."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: str
    """Last line."""

    def text(self) -> str:
        """Return it as lines of text, with columns aligned."""
        lines = [self.heads, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join(printable(line) for line in (self.title, *table, self.more))

    def html(self) -> str:
        """Return it as HTML; all texts are escaped."""

        def row(cells: tuple[str, ...], tag: str) -> str:
            return "".join(f"<{tag}>{escape(printable(cell))}</{tag}>" for cell in cells)

        body = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in self.rows)
        return (
            f"<p><b>{escape(printable(self.title))}</b></p><table><thead><tr>"
            f"{row(self.heads, 'th')}</tr></thead><tbody>{body}</tbody></table>"
            f"<p>{escape(printable(self.more))}</p>"
        )


def short_number(value: float | None) -> str:
    """Return four significant digits; empty if there is no value."""
    if value is None or math.isnan(value):
        return ""
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else "-\N{INFINITY}"
    return f"{value:.4g}"


def short_interval(low: float | None, high: float | None) -> str:
    """Return both ends of an interval; empty if there is none."""
    if low is None or high is None:
        return ""
    return f"{short_number(low)} to {short_number(high)}"
