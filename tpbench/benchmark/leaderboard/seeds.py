"""One value per metric from one run or several: mean over seeds per clip, then over clips."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tpbench.benchmark.judging import badness
from tpbench.benchmark.leaderboard.model import Cell
from tpbench.metrics.bootstrap import STATISTICS_VERSION, Bounds, Estimate, mean_over_identities
from tpbench.metrics.curves import finite_mean
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


def cell(row: MetricRow, seeds: Mapping[int, ScoreReport]) -> Cell:
    """Return one metric of one model over all of its seeds.

    With one seed that is what its scores say. With several, the interval is that of the clips'
    means over seeds, by bootstrap over identities: it holds for other people, not for other seeds.
    """
    found = _cell(row, seeds)
    if row.target is None or row.reduction == "set" or math.isnan(found.value):
        return found
    reports = list(seeds.values())
    distance = _estimate(clip_badness(row, reports), identities_of(reports), (0.0, None))
    return replace(
        found,
        distance=distance.mean,
        distance_low=distance.interval.low,
        distance_high=distance.interval.high,
    )


def _cell(row: MetricRow, seeds: Mapping[int, ScoreReport]) -> Cell:
    scores = {seed: report.metrics[row.id] for seed, report in seeds.items()}
    measured = {seed: score for seed, score in scores.items() if score.status == "measured"}
    if len(scores) == 1 or not measured:
        score, report = next(iter(scores.values())), next(iter(seeds.values()))
        return _as_scored(_with_todays_interval(row, score, report))
    lacking = sorted(scores.keys() - measured.keys())
    remarks = [score.warning for score in measured.values() if score.warning]
    if lacking:
        remarks.append(f"not measured with seed {', '.join(map(str, lacking))}")
    reports = [seeds[seed] for seed in measured]
    found = _of_sets(measured) if row.reduction == "set" else _of_clips(row, reports)
    return Cell(
        value=found.value,
        low=found.low,
        high=found.high,
        level=found.level,
        n_clips=found.n_clips,
        n_identities=found.n_identities,
        n_infinite=found.n_infinite,
        n_missing=found.n_missing,
        n_too_short=found.n_too_short,
        reason=next(iter(measured.values())).reason if math.isnan(found.value) else None,
        interval_reason=found.interval_reason,
        warning="; ".join(dict.fromkeys(remarks)) or None,
        spread=_spread([score.value for score in measured.values()]),
    )


def _with_todays_interval(row: MetricRow, score: MetricScore, report: ScoreReport) -> MetricScore:
    """Return a score with the interval that this tpbench gives, whichever wrote it."""
    of_clips = row.reduction != "set" and score.status == "measured"
    if report.statistics == STATISTICS_VERSION or not of_clips:
        return score
    values = {name: clip.values[row.id] for name, clip in report.clips.items()}
    interval = _estimate(values, identities_of([report]), (row.low, row.high)).interval
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


def _as_scored(score: MetricScore) -> Cell:
    return Cell(
        value=score.value,
        low=score.low,
        high=score.high,
        level=score.level,
        n_clips=score.n_clips,
        n_identities=score.n_identities,
        n_infinite=score.n_infinite,
        n_missing=score.n_missing,
        n_too_short=score.n_too_short,
        reason=score.reason,
        missing_reason=score.missing_reason,
        interval_reason=score.interval_reason,
        warning=score.warning,
    )


def _of_sets(scores: Mapping[int, MetricScore]) -> Cell:
    """Mean of values that are each of all clips together."""
    first = next(iter(scores.values()))
    return Cell(
        value=finite_mean([score.value for score in scores.values()]),
        low=None,
        high=None,
        level=None,
        n_clips=max(score.n_clips for score in scores.values()),
        n_identities=first.n_identities,
        n_infinite=0,
        n_missing=0,
        n_too_short=max(score.n_too_short for score in scores.values()),
        interval_reason=first.interval_reason or _NO_INTERVAL_OF_SEEDS,
    )


def _of_clips(row: MetricRow, reports: Sequence[ScoreReport]) -> Cell:
    """Mean over clips of their means over seeds."""
    values = clip_means(reports, row.id)
    estimate = _estimate(values, identities_of(reports), (row.low, row.high))
    interval = estimate.interval
    too_short = max(report.metrics[row.id].n_too_short for report in reports)
    return Cell(
        value=estimate.mean,
        low=interval.low,
        high=interval.high,
        level=interval.level if interval.reason is None else None,
        n_clips=estimate.n_used,
        n_identities=interval.n_identities,
        n_infinite=estimate.n_infinite,
        # A clip too short for the metric has no value either, and is counted on its own.
        n_missing=max(estimate.n_missing - too_short, 0),
        n_too_short=too_short,
        interval_reason=interval.reason,
    )


def _spread(values: Sequence[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.stdev(finite) if len(finite) > 1 else None
