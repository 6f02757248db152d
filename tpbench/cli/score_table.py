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


def remarks(metrics: Mapping[str, MetricScore], *, both_means: bool = False) -> Iterator[str]:
    """Yield what has to be said beside the table: blanks, warnings, means, missing intervals.

    Args:
        metrics: the scores.
        both_means: whether the mean over all frames is told beside that over clips.
    """
    lacking: dict[str, list[str]] = {}
    missing: dict[str, list[str]] = {}
    for name, found in metrics.items():
        if found.status == "not_measured":
            lacking.setdefault(found.reason or "", []).append(name)
        elif found.reason:
            yield f"{name}: {found.reason}"
        if found.warning:
            yield f"{name}: {found.warning}"
        if found.missing_reason:
            said = f"no value in {found.n_missing} of the clips ({found.missing_reason})"
            missing.setdefault(said, []).append(name)
        yield from _means(name, found, both=both_means)
        if found.n_infinite and found.n_clips:
            yield f"{name}: infinite in {found.n_infinite} more clips, which are not in the mean"
    for said, names in missing.items():
        yield f"{', '.join(names)}: {said}"
    for reason, names in lacking.items():
        yield f"not measured: {', '.join(names)}: {reason}"
    yield from _missing_intervals(metrics)


def _means(name: str, found: MetricScore, *, both: bool) -> Iterator[str]:
    """Say which mean a value is, where that is not the mean over clips or both are wanted."""
    if found.pooling == "mean_of_frames" and not math.isnan(found.value):
        yield (
            f"{name}: mean over all {found.n_values} frames; the mean over clips is "
            f"{shown(found.mean_of_clips)}"
        )
    elif both and not math.isnan(found.mean_of_frames):
        yield (
            f"{name}: mean over clips; the mean over all {found.n_values} frames or terms is "
            f"{shown(found.mean_of_frames)}"
        )


def _missing_intervals(metrics: Mapping[str, MetricScore]) -> Iterator[str]:
    """Say why values have no interval: the reason of most of them, then the others by name."""
    reasons: dict[str, list[str]] = {}
    for name, found in metrics.items():
        # What has no value has said why.
        told = found.status == "measured" and found.interval_reason and not math.isnan(found.value)
        if told and found.interval_reason:
            reasons.setdefault(found.interval_reason, []).append(name)
    for at, reason in enumerate(sorted(reasons, key=lambda reason: -len(reasons[reason]))):
        which = f" of {', '.join(reasons[reason])}" if at else ""
        yield f"no interval{which}: {reason}"


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
