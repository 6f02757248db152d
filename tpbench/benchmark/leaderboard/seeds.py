"""One value per metric from one run or several: mean over seeds per clip, then over clips."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tpbench.benchmark.judging import badness
from tpbench.metrics.bootstrap import (
    STATISTICS_VERSION,
    Bounds,
    Estimate,
    finite_mean,
    mean_over_identities,
)
from tpbench.metrics.registry import MetricRow
from tpbench.metrics.scoring.report import MetricScore, ScoreReport

_NO_INTERVAL_OF_SEEDS = "the mean over seeds of what all clips give together"


def clip_means(reports: Sequence[ScoreReport], metric_id: str) -> dict[str, float]:
    """Return a metric's mean over seeds by clip id.

    Of a clip the finite values count, as in `finite_mean`; a clip that failed with one seed is
    that of the others.

    Args:
        reports: one per seed.
        metric_id: one with values per clip.
    """
    clips = sorted({clip_id for report in reports for clip_id in report.clips})
    found = {
        clip_id: [
            report.clips[clip_id].values[metric_id]
            for report in reports
            if clip_id in report.clips and metric_id in report.clips[clip_id].values
        ]
        for clip_id in clips
    }
    return {clip_id: finite_mean(values) for clip_id, values in found.items() if values}


def clip_badness(metric: MetricRow, reports: Sequence[ScoreReport]) -> dict[str, float]:
    """Return by clip id what a metric is judged by, the mean over seeds (see `judging.badness`).

    With a target that is each seed's own distance to it: seeds of both sides don't cancel either.
    NaN where no seed has a value.

    Args:
        metric: one with values per clip.
        reports: one per seed.
    """
    found: dict[str, list[float]] = {}
    for report in reports:
        for clip_id, clip in report.clips.items():
            if metric.id in clip.values:
                found.setdefault(clip_id, []).append(badness(metric, clip.values[metric.id]))
    return {
        clip_id: values[0] if len(values) == 1 else finite_mean(values)
        for clip_id, values in sorted(found.items())
    }


def identities_of(reports: Sequence[ScoreReport]) -> dict[str, str | None]:
    """Return who is seen, by clip id, sorted by it."""
    found = {
        clip_id: scores.identity for report in reports for clip_id, scores in report.clips.items()
    }
    return {clip_id: found[clip_id] for clip_id in sorted(found)}


def distance_of(row: MetricRow, reports: Sequence[ScoreReport]) -> Estimate:
    """Return the mean over clips of the distance to a metric's target, over all seeds."""
    return _estimate(clip_badness(row, reports), identities_of(reports), (0.0, None))


def score_over_seeds(row: MetricRow, reports: Mapping[int, ScoreReport]) -> MetricScore:
    """Return one metric of one model over all of its seeds.

    With one seed that is what its scores say. With several, the interval is that of the clips'
    means over seeds, by bootstrap over identities: it holds for other people, not for other seeds.
    `details` are then `spread`, the standard deviation of the value over seeds (n - 1; None for
    fewer than two), and `n_seeds`, those with a value.

    Args:
        row: the metric.
        reports: by seed.
    """
    scores = {seed: report.metrics[row.id] for seed, report in reports.items()}
    first = next(iter(scores.values()))
    if len(scores) == 1:
        return _with_todays_interval(row, first, next(iter(reports.values())))
    measured = {seed: score for seed, score in scores.items() if score.status == "measured"}
    if not measured:
        return replace(first, details={"spread": None, "n_seeds": 0})
    remarks = [score.warning for score in measured.values() if score.warning]
    if lacking := sorted(scores.keys() - measured.keys()):
        remarks.append(f"not measured with seed {', '.join(map(str, lacking))}")
    finite = [score.value for score in measured.values() if math.isfinite(score.value)]
    merge = _of_sets if row.reduction == "set" else _of_clips
    found = merge(row, first, [reports[seed] for seed in measured])
    return replace(
        found,
        reason=next(iter(measured.values())).reason if math.isnan(found.value) else None,
        warning="; ".join(dict.fromkeys(remarks)) or None,
        pooling=first.pooling,
        mean_of_clips=finite_mean([score.mean_of_clips for score in scores.values()]),
        mean_of_frames=finite_mean([score.mean_of_frames for score in scores.values()]),
        n_values=max(score.n_values for score in scores.values()),
        details={
            "spread": statistics.stdev(finite) if len(finite) > 1 else None,
            "n_seeds": len(measured),
        },
    )


def _with_todays_interval(row: MetricRow, score: MetricScore, report: ScoreReport) -> MetricScore:
    """Return a score with the interval that this tpbench gives, whichever wrote it."""
    of_clips = row.reduction != "set" and score.status == "measured"
    if report.statistics == STATISTICS_VERSION or not of_clips:
        return score
    values = {name: clip.values[row.id] for name, clip in report.clips.items()}
    return _with_interval(score, _estimate(values, identities_of([report]), (row.low, row.high)))


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
    values: Mapping[str, float], identities: Mapping[str, str | None], bounds: Bounds
) -> Estimate:
    """Mean over clips, with its interval if it is known of all who is seen."""
    names = [name for clip_id in values if (name := identities[clip_id]) is not None]
    known = names if len(names) == len(values) else None
    return mean_over_identities(list(values.values()), known, bounds=bounds)


def _of_sets(row: MetricRow, first: MetricScore, reports: Sequence[ScoreReport]) -> MetricScore:
    """Mean of values that are each of all clips together."""
    scores = [report.metrics[row.id] for report in reports]
    return MetricScore(
        metric=row.id,
        version=first.version,
        direction=first.direction,
        unit=first.unit,
        status="measured",
        value=finite_mean([score.value for score in scores]),
        n_clips=max(score.n_clips for score in scores),
        n_identities=scores[0].n_identities,
        n_too_short=max(score.n_too_short for score in scores),
        interval_reason=scores[0].interval_reason or _NO_INTERVAL_OF_SEEDS,
    )


def _of_clips(row: MetricRow, first: MetricScore, reports: Sequence[ScoreReport]) -> MetricScore:
    """Mean over clips of their means over seeds."""
    values = clip_means(reports, row.id)
    estimate = _estimate(values, identities_of(reports), (row.low, row.high))
    too_short = max(report.metrics[row.id].n_too_short for report in reports)
    score = MetricScore(
        metric=row.id,
        version=first.version,
        direction=first.direction,
        unit=first.unit,
        status="measured",
        value=estimate.mean,
        n_clips=estimate.n_used,
        n_infinite=estimate.n_infinite,
        # A clip too short for the metric has no value either, and is counted on its own.
        n_missing=max(estimate.n_missing - too_short, 0),
        n_too_short=too_short,
    )
    return _with_interval(score, estimate)
