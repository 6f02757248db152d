"""Who is best at a metric, and who may be as good: never by a difference that chance can make."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from tpbench.benchmark.judging import badness, identity_sums, with_value
from tpbench.benchmark.leaderboard.board import Marks, Row
from tpbench.metrics.joint_test import MIN_IDENTITIES, worse_than_some
from tpbench.metrics.registry import MetricRow

MIN_SHARE: Final = 0.9
"""A row takes part if it has a value in this share of the clips that any row has one in."""
MIN_COMMON_SHARE: Final = 0.5
"""Nobody is best if all rows that take part have a value in a smaller share of these clips."""
METHOD: Final = (
    "Marks of a metric: the best, and all that no other is better than by more than chance makes. "
    "All pairs of models are judged together, by the greatest difference that sign flips over "
    "identities make among them (step-down), so that of equal models at most 5 % of columns name a "
    "loser, however many models there are; each column is judged by itself. Only clips of which "
    "all judged models have a value count; a model with a value in fewer than "
    f"{100 * MIN_SHARE:.0f} % of them is not judged. Metrics with a target are judged by each "
    "clip's distance to it; an infinite PSNR counts as 100 dB."
)
"""How marks are made, for readers of a table."""
_NOBODY_WORSE: Final = "nobody can be called worse than another"

_NOBODY_ELSE: Final = "fewer than two complete models have a value: nobody to be better than"


def marks_of(metric: MetricRow, rows: Sequence[Row], identities: Mapping[str, str | None]) -> Marks:
    """Return which rows are best at a metric, and which are not significantly worse.

    Anchors take no part, nor do rows without all clips, nor those that lack the metric in more than
    a tenth of the clips in which another has it: those they lack may be the hard ones. The others
    are judged on the clips of which all of them have a value (see `judging`), and best is who has
    the best mean over these. A row is as good unless some other is better by more than chance
    makes, among all pairs at once (`joint_test.worse_than_some`).

    Args:
        metric: the metric.
        rows: all of the table.
        identities: by clip; None for a clip of which it is not known.
    """
    if metric.direction == "none":
        return Marks(reason="it judges nothing: there is no better or worse")
    fit = [row for row in rows if row.kind == "measured" and row.complete]
    fit = [row for row in fit if not math.isnan(row.scores[metric.id].value)]
    if metric.reduction == "set":
        return _marks_of_sets(metric, fit)
    measured = {row.id: with_value(row.badness[metric.id]) for row in fit}
    anywhere = set().union(*measured.values())
    apart = {
        row.id: f"{row.display_name} is not judged: a value in only {len(measured[row.id])} of "
        f"{len(anywhere)} clips, and those it lacks may be the hard ones"
        for row in fit
        if len(measured[row.id]) < MIN_SHARE * len(anywhere)
    }
    fit = [row for row in fit if row.id not in apart]
    common = set.intersection(*(measured[row.id] for row in fit)) if fit else set()
    notes = list(apart.values())
    if fit and len(common) < len(anywhere):
        notes.append(f"judged on the {len(common)} of {len(anywhere)} clips that all judged have")
    best, tied, reason = _judged(metric, fit, common, identities)
    if not fit:
        common = set().union(*(with_value(row.badness[metric.id]) for row in rows))
    if len(common) < MIN_COMMON_SHARE * len(anywhere):
        best, tied, reason = (), (), "too few clips have a value of all models"
    return Marks(
        best=best,
        tied=tied,
        reason=reason,
        notes=tuple(notes),
        means=_means(metric, rows, common),
    )


def _means(metric: MetricRow, rows: Sequence[Row], clips: AbstractSet[str]) -> dict[str, float]:
    """Return the mean badness over these clips of the rows that have all of them."""
    return {
        row.id: math.fsum(row.badness[metric.id][clip] for clip in clips) / len(clips)
        for row in rows
        if clips and clips <= with_value(row.badness[metric.id])
    }


def _marks_of_sets(metric: MetricRow, fit: Sequence[Row]) -> Marks:
    """Return who has the best value of all clips together; ties can't be judged."""
    most = max((row.scores[metric.id].n_clips for row in fit), default=0)
    notes = tuple(
        f"{row.display_name} is not judged: made from {row.scores[metric.id].n_clips} clips, and "
        f"others from {most}"
        for row in fit
        if row.scores[metric.id].n_clips < most
    )
    whole = [row for row in fit if row.scores[metric.id].n_clips == most]
    if len(whole) < 2:
        return Marks(reason=_NOBODY_ELSE, notes=notes)
    means = {row.id: badness(metric, row.scores[metric.id].value) for row in whole}
    best = tuple(name for name, value in means.items() if value == min(means.values()))
    reason = "all clips together give one value: ties can't be judged"
    return Marks(best=best, reason=reason if len(best) < len(whole) else None, notes=notes)


def _judged(
    metric: MetricRow,
    fit: Sequence[Row],
    clips: AbstractSet[str],
    identities: Mapping[str, str | None],
) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    """Return who is best on these clips, who is tied, and why that can't be told."""
    if len(fit) < 2:
        return (), (), _NOBODY_ELSE
    means = _means(metric, fit, clips)
    best = tuple(name for name, value in means.items() if value == min(means.values()))
    if not means or len(best) == len(fit):
        return best, (), None
    known = {clip: name for clip in clips if (name := identities[clip]) is not None}
    n_identities = len(set(known.values()))
    others = tuple(name for name in means if name not in best)
    if len(known) < len(clips):
        return best, others, f"the identities of the clips are not known: {_NOBODY_WORSE}"
    if n_identities < MIN_IDENTITIES:
        reason = f"{n_identities} identities, and {MIN_IDENTITIES} are needed to rule out luck"
        return best, others, f"{reason}: {_NOBODY_WORSE}"
    worse = worse_than_some(identity_sums([row.badness[metric.id] for row in fit], clips, known))
    tied = (row.id for row, is_worse in zip(fit, worse, strict=True) if not is_worse)
    return best, tuple(name for name in tied if name not in best), None
