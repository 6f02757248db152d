"""Who is best at a metric, and who may be as good: never by a difference that chance can make."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tpbench.benchmark.leaderboard.model import Marks
from tpbench.metrics.bootstrap import paired_difference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tpbench.benchmark.leaderboard.model import Row
    from tpbench.metrics.registry import MetricRow


def marks_of(metric: MetricRow, rows: Sequence[Row], identities: Mapping[str, str | None]) -> Marks:
    """Return which rows are best at a metric, and which are not significantly worse.

    Anchors take no part, nor do rows without all clips: those they lack may be the hard ones. A row
    is as good as the best unless the 95 % interval of their paired difference, by bootstrap over
    identities, lies on the worse side of 0. Every row is compared with the best by itself: with
    many rows, some are by chance taken for worse.

    What is better with a target is the distance |mean over clips - target|. To compare distances,
    values are taken relative to the target, with the sign by which the mean lies off it: their
    mean is the distance. Means that may lie on either side of the target make that approximate.

    Args:
        metric: the metric.
        rows: all of the table.
        identities: by clip; None for a clip of which it is not known.
    """
    if metric.direction == "none":
        return Marks(reason="it judges nothing: there is no better or worse")
    fit = [row for row in rows if row.kind == "measured" and row.complete]
    fit = [row for row in fit if not math.isnan(row.cells[metric.id].value)]
    if len(fit) < 2:
        return Marks(reason="fewer than two complete models have a value: nobody to be better than")
    badness = {row.id: _badness(metric, row.cells[metric.id].value) for row in fit}
    least = min(badness.values())
    best = [row for row in fit if badness[row.id] == least]
    others = [row for row in fit if badness[row.id] != least]
    ids = tuple(row.id for row in best)
    if metric.reduction == "set":
        reason = "all clips together give one value, without an interval: ties can't be judged"
        return Marks(best=ids, reason=reason if others else None)
    tied, unjudged = [], None
    for row in others:
        judged = _not_worse(metric, row, best[0], identities)
        if isinstance(judged, str):
            unjudged = f"ties can't be judged: {judged}"
        elif judged:
            tied.append(row.id)
    return Marks(best=ids, tied=tuple(tied), reason=unjudged)


def _badness(metric: MetricRow, value: float) -> float:
    """Return a number that is the greater the worse a value is."""
    if metric.direction == "target":
        return abs(value - (metric.target or 0.0))
    return value if metric.direction == "lower" else -value


def _not_worse(
    metric: MetricRow, row: Row, best: Row, identities: Mapping[str, str | None]
) -> bool | str:
    """Return whether a row may be as good as the best; or why that can't be judged."""
    first, second = _clip_badness(metric, row), _clip_badness(metric, best)
    known = {clip: name for clip, name in identities.items() if name is not None}
    unknown = (first.keys() & second.keys()) - known.keys()
    interval = paired_difference(first, second, None if unknown else known).difference.interval
    if interval.low is None:
        return interval.reason or "there is no interval"
    return interval.low <= 0


def _clip_badness(metric: MetricRow, row: Row) -> dict[str, float]:
    """Return values by clip whose mean is the row's badness, up to a constant all rows share."""
    values, mean = row.clip_values[metric.id], row.cells[metric.id].value
    if metric.direction == "target":
        target = metric.target or 0.0
        side = math.copysign(1.0, mean - target)
        return {clip: side * (value - target) for clip, value in values.items()}
    sign = 1.0 if metric.direction == "lower" else -1.0
    return {clip: sign * value for clip, value in values.items()}
