"""How models are compared on a metric: by one number per clip.

Leaderboards and comparisons of two runs share these rules:

* Only clips for which all compared models have a value count.
* A metric with a target is judged by each clip's distance to it, |value - target|: errors of
  opposite sign never cancel.
* An infinite PSNR (every frame of a clip a copy of the real one; only in scores by `tpbench-v1`)
  counts as 100 dB, the value that `tpbench-v2` and DisCo's script give a copy; an infinite
  difference keeps its sign. So a perfect clip is never left out. No other metric has infinite
  values.
* Several seeds of a model are averaged: over seeds per clip, then over clips.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tpbench.metrics.bootstrap import (
    STATISTICS_VERSION,
    Bounds,
    Estimate,
    finite_mean,
    mean_over_identities,
)
from tpbench.metrics.pixels import CAP_DB
from tpbench.metrics.registry import MetricRow
from tpbench.metrics.scoring.report import MetricScore, ScoreReport

_NO_INTERVAL_OF_SEEDS = "a mean over seeds of values of all clips together"


def counted(value: float) -> float:
    """Return a value as it counts in comparisons: infinite decibels as 100, NaN as NaN."""
    return math.copysign(CAP_DB, value) if math.isinf(value) else value


def judged(row: MetricRow, value: float) -> float:
    """Return the compared quantity: the `counted` value of a clip, or its distance to the target.

    NaN stays NaN.
    """
    value = counted(value)
    return value if row.target is None else abs(value - row.target)


def badness(row: MetricRow, value: float) -> float:
    """Return a number that increases as a value gets worse; see `judged`."""
    return -judged(row, value) if row.direction == "higher" else judged(row, value)


def quantity(row: MetricRow) -> str:
    """Return the name of the compared quantity: "value", or "distance to 1"."""
    return "value" if row.target is None else f"distance to {row.target:g}"


def with_value(values: Mapping[str, float]) -> set[str]:
    """Return the clips that have a value other than NaN."""
    return {clip for clip, value in values.items() if not math.isnan(value)}


def identity_sums(
    columns: Sequence[Mapping[str, float]],
    clips: Iterable[str],
    identities: Mapping[str, str],
) -> NDArray[np.float64]:
    """Return the sums over the clips of each of G identities, `(G, len(columns))`.

    Args:
        columns: values by clip; missing values and NaN count as 0.
        clips: the clips to sum over.
        identities: by clip, for all of these.
    """
    named = sorted(clips)
    places = {name: at for at, name in enumerate(sorted({identities[clip] for clip in named}))}
    sums = np.zeros((len(places), len(columns)))
    for clip in named:
        values = [column.get(clip, math.nan) for column in columns]
        sums[places[identities[clip]]] += np.nan_to_num(values)
    return sums


def clip_means(
    reports: Sequence[ScoreReport],
    metric_id: str,
    counted_as: Callable[[float], float] = float,
) -> dict[str, float]:
    """Return a metric's mean over seeds by clip id, in order of the ids.

    The mean is over the finite values, as in `finite_mean`; a clip that failed with one seed is
    averaged over the others.

    Args:
        reports: one per seed.
        metric_id: a metric with values per clip.
        counted_as: applied to each value before averaging.
    """
    found: dict[str, list[float]] = {}
    for report in reports:
        for clip_id, clip in report.clips.items():
            if metric_id in clip.values:
                found.setdefault(clip_id, []).append(counted_as(clip.values[metric_id]))
    return {clip_id: finite_mean(values) for clip_id, values in sorted(found.items())}


def clip_badness(metric: MetricRow, reports: Sequence[ScoreReport]) -> dict[str, float]:
    """Return the mean `badness` over seeds by clip id.

    For a metric with a target, the distance is taken per seed, so that seeds on opposite sides
    don't cancel. NaN where no seed has a value.
    """
    return clip_means(reports, metric.id, partial(badness, metric))


def identities_of(reports: Sequence[ScoreReport]) -> dict[str, str | None]:
    """Return identities by clip id, in order of the ids."""
    found = {name: clip.identity for report in reports for name, clip in report.clips.items()}
    return dict(sorted(found.items()))


def distance_of(row: MetricRow, reports: Sequence[ScoreReport]) -> Estimate:
    """Return the mean over clips of the distance to a metric's target, over all seeds."""
    return _estimate(clip_badness(row, reports), reports, (0.0, None))


def score_over_seeds(row: MetricRow, reports: Mapping[int, ScoreReport]) -> MetricScore:
    """Return one metric of one model over all of its seeds.

    With one seed this is its score, with the interval by this tpbench's method. With several, the
    interval is that of the clips' means over seeds, by bootstrap over identities: it covers other
    people, not other seeds. `details` then has `spread`, the standard deviation of the value over
    seeds (n - 1; None for fewer than two), and `n_seeds`, the number of seeds with a value.

    Args:
        row: the metric.
        reports: by seed.
    """
    scores = {seed: report.metrics[row.id] for seed, report in reports.items()}
    first = next(iter(scores.values()))
    measured = {seed: score for seed, score in scores.items() if score.status == "measured"}
    if len(scores) == 1:
        (report,) = reports.values()
        if report.statistics == STATISTICS_VERSION or row.reduction == "set" or not measured:
            return first
        estimate = _estimate(clip_means([report], row.id), [report], (row.low, row.high))
        return _with_interval(first, estimate)
    if not measured:
        return replace(first, details={"spread": None, "n_seeds": 0})
    remarks = [score.warning for score in measured.values() if score.warning]
    if lacking := sorted(scores.keys() - measured.keys()):
        remarks.append(f"not measured with seed {', '.join(map(str, lacking))}")
    finite = [score.value for score in measured.values() if math.isfinite(score.value)]
    blank = MetricScore(
        metric=row.id,
        version=first.version,
        direction=first.direction,
        unit=first.unit,
        status="measured",
        warning="; ".join(dict.fromkeys(remarks)) or None,
        n_too_short=max(score.n_too_short for score in measured.values()),
        pooling=first.pooling,
        mean_of_clips=finite_mean([score.mean_of_clips for score in scores.values()]),
        mean_of_frames=finite_mean([score.mean_of_frames for score in scores.values()]),
        n_values=max(score.n_values for score in scores.values()),
        details={
            "spread": statistics.stdev(finite) if len(finite) > 1 else None,
            "n_seeds": len(measured),
        },
    )
    if row.reduction == "set":
        found = _of_sets(blank, list(measured.values()))
    else:
        found = _of_clips(blank, row, [reports[seed] for seed in measured])
    if math.isnan(found.value):
        return replace(found, reason=next(iter(measured.values())).reason)
    return found


def _of_sets(blank: MetricScore, scores: Sequence[MetricScore]) -> MetricScore:
    """Mean over seeds of values that are each computed from the whole set of clips."""
    return replace(
        blank,
        value=finite_mean([score.value for score in scores]),
        n_clips=max(score.n_clips for score in scores),
        n_identities=scores[0].n_identities,
        interval_reason=scores[0].interval_reason or _NO_INTERVAL_OF_SEEDS,
    )


def _of_clips(blank: MetricScore, row: MetricRow, reports: Sequence[ScoreReport]) -> MetricScore:
    """Mean over clips of their means over seeds."""
    estimate = _estimate(clip_means(reports, row.id), reports, (row.low, row.high))
    score = replace(
        blank,
        value=estimate.mean,
        n_clips=estimate.n_used,
        n_infinite=estimate.n_infinite,
        # Clips too short for the metric have no value either, but are counted separately.
        n_missing=max(estimate.n_missing - blank.n_too_short, 0),
    )
    return _with_interval(score, estimate)


def _with_interval(score: MetricScore, estimate: Estimate) -> MetricScore:
    interval = estimate.interval
    return replace(
        score,
        low=interval.low,
        high=interval.high,
        level=interval.level if interval.reason is None else None,
        interval_reason=interval.reason,
        n_identities=interval.n_identities,
    )


def _estimate(
    values: Mapping[str, float], reports: Sequence[ScoreReport], bounds: Bounds
) -> Estimate:
    """Mean over clips, with an interval if the identities of all clips are known."""
    identities = identities_of(reports)
    names = [name for clip_id in values if (name := identities[clip_id]) is not None]
    known = names if len(names) == len(values) else None
    return mean_over_identities(list(values.values()), known, bounds=bounds)
