"""Tables behind a fold: what was rejected, and what could not be read."""

from __future__ import annotations

from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tpbench.extraction.report.histogram import short

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tpbench.dataset import Clip, DatasetInfo, Measurement

_MAX_ROWS: Final = 200
"""The manifest holds the rest, and a phone has to scroll them."""


def rejected_table(info: DatasetInfo, clips: Iterable[Clip]) -> str:
    """Return the rejected clips with what was measured against which limit; "" without any."""
    by_code = {item.code: item for item in info.measurements if item.code}
    rejected = (clip for clip in clips if clip.status == "rejected")
    rows = [
        (
            _code(clip.clip_id),
            escape(Path(clip.source_path).name),
            _span(clip),
            "<br>".join(_reason(clip, code, by_code.get(code)) for code in clip.reject_codes),
        )
        for clip in islice(rejected, _MAX_ROWS)
    ]
    return _folded(
        "Rejected clips", ("clip", "source", "span", "reason"), rows, info.counts.rejected
    )


def unreadable_table(clips: Iterable[Clip]) -> str:
    """Return the sources that failed or were given up, with their errors; "" without any."""
    broken = [clip for clip in clips if clip.status in {"failed", "quarantined"}]
    rows = [
        (escape(Path(clip.source_path).name), clip.status, escape(clip.error or ""))
        for clip in broken[:_MAX_ROWS]
    ]
    return _folded(
        "Sources that could not be used", ("source", "status", "error"), rows, len(broken)
    )


def _folded(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> str:
    """Return a table behind a fold; `rows` hold escaped HTML."""
    if not rows:
        return ""
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    rest = f"first {len(rows):,} of {total:,}" if total > len(rows) else f"{total:,}"
    return (
        f'<section><details class="card"><summary>{title} <span class="quiet">({rest})</span>'
        f'</summary><div class="scroll"><table><tr>{head}</tr>{body}</table></div>'
        "</details></section>"
    )


def _reason(clip: Clip, code: str, item: Measurement | None) -> str:
    said = _code(code)
    if item is not None and item.name in clip.measurements:
        said += f" {short(clip.measurements[item.name])}"
        if item.name in clip.thresholds:
            said += f' <span class="quiet">limit {short(clip.thresholds[item.name])}</span>'
        said += f" {escape(item.unit)}"
    return said


def _span(clip: Clip) -> str:
    if clip.start_s is None or clip.end_s is None:
        return ""
    return f"{clip.start_s:.2f}\N{EN DASH}{clip.end_s:.2f} s"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"
