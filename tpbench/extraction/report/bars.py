"""Rows of labelled bars in plain HTML: they wrap on a phone where an SVG would shrink."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One row."""

    label: str
    note: str = ""
    """Said more quietly under the label."""

    size: float
    """>= 0; the longest bar fills the width."""

    said: str
    """What stands at the end of the bar."""


def bar_rows(bars: Sequence[Bar], kind: str) -> str:
    """Return the rows as HTML, longest bar 100 % wide; `kind` is a colour class of the style."""
    longest = max((bar.size for bar in bars), default=0) or 1
    rows = []
    for bar in bars:
        note = f'<span class="note">{escape(bar.note)}</span>' if bar.note else ""
        rows.append(
            f'<li><span class="label">{escape(bar.label)}{note}</span>'
            f'<span class="track"><span class="bar {kind}" '
            f'style="width:{bar.size / longest:.2%}"></span></span>'
            f'<span class="said">{escape(bar.said)}</span></li>'
        )
    return f'<ul class="bars">{"".join(rows)}</ul>'


def share_bar(parts: Sequence[tuple[str, str, int]]) -> str:
    """Return one bar cut into parts, with a legend.

    Args:
        parts: (colour class, label, count) each; parts without a count are left out.
    """
    shown = [part for part in parts if part[2]]
    total = sum(count for _, _, count in shown) or 1
    pieces = "".join(
        f'<span class="piece {kind}" style="flex-grow:{count}" '
        f'title="{escape(label)}: {count:,}"></span>'
        for kind, label, count in shown
    )
    legend = "".join(
        f'<li><span class="key {kind}"></span>{escape(label)} <b>{count:,}</b> '
        f"<i>{count / total:.1%}</i></li>"
        for kind, label, count in shown
    )
    return f'<div class="shares">{pieces}</div><ul class="legend">{legend}</ul>'
