"""Scores as a table on the terminal, and what has to be said beside them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console
    from rich.table import Table

    from tpbench.metrics.scoring.report import MetricScore

ARROWS: Final = {"higher": "↑", "lower": "↓", "target": "◎", "none": ""}
"""What is better; target: the nearer to it."""

_SPREAD: Final = "spread"


def score_table(metrics: Mapping[str, MetricScore]) -> Table:
    """Return the metrics that were measured, one a line, with interval and number of clips.

    Where several seeds were scored, their spread (one standard deviation) has a column.
    """
    seeded = any(_SPREAD in found.details for found in metrics.values())
    left = {"metric", "", "unit"}
    headers = ["metric", "", "value", "95 % interval", "unit", "clips"]
    table = plain_table({name: name in left for name in headers})
    if seeded:
        table.add_column("± over seeds", justify="right")
    for name, found in metrics.items():
        if found.status != "measured":
            continue
        cells = [name, ARROWS[found.direction], shown(found.value)]
        cells += [interval(found.low, found.high), found.unit, str(found.n_clips)]
        if seeded:
            spread = found.details.get(_SPREAD)
            cells.append("" if spread is None else shown(spread))
        table.add_row(*cells)
    return table


def plain_table(headers: Mapping[str, bool]) -> Table:
    """Return an empty table.

    Args:
        headers: by name: whether the column is flushed left.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, left in headers.items():
        table.add_column(name, justify="left" if left else "right", no_wrap=left)
    return table


def print_whole(table: Table, console: Console) -> None:
    """Print a table with no number cut, wider than the terminal if need be."""
    free = console.options.update(max_width=10_000)
    console.width = max(console.width, console.measure(table, options=free).maximum)
    console.print(table)


def remarks(metrics: Mapping[str, MetricScore]) -> Iterator[str]:
    """Yield what has to be said beside the table: blanks, warnings, missing intervals."""
    lacking: dict[str, list[str]] = {}
    for name, found in metrics.items():
        if found.status == "not_measured":
            lacking.setdefault(found.reason or "", []).append(name)
        elif found.reason:
            yield f"{name}: {found.reason}"
        if found.warning:
            yield f"{name}: {found.warning}"
        if found.n_infinite and found.n_clips:
            yield f"{name}: infinite in {found.n_infinite} more clips, which are not in the mean"
    for reason, names in lacking.items():
        yield f"not measured: {', '.join(names)}: {reason}"
    for found in metrics.values():
        if found.status == "measured" and found.interval_reason and found.n_clips:
            yield f"no interval: {found.interval_reason}"
            break


def shown(value: float) -> str:
    """Return a value in four digits; nothing for what was not measured."""
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.4g}"


def interval(low: float | None, high: float | None) -> str:
    """Return both ends; nothing where there is no interval."""
    return "" if low is None or high is None else f"{shown(low)} … {shown(high)}"
