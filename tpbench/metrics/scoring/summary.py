"""From the records of all clips to the report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tpbench.errors import ConfigError
from tpbench.metrics.bootstrap import mean_over_identities
from tpbench.metrics.curves import SHORT_CLIP_FRAMES, finite_mean
from tpbench.metrics.drift import Lasting, restricted_lasting
from tpbench.metrics.frechet import DISCO_FVD, FID, FVD
from tpbench.metrics.registry import METRICS, MetricRow, Pooling, Protocol
from tpbench.metrics.scoring.features import read_features
from tpbench.metrics.scoring.meters import FEATURES_OF, METERS
from tpbench.metrics.scoring.records import ClipRecord, RecordFolder, feature_count
from tpbench.metrics.scoring.reduce import (
    ClipFeatures,
    ClipValue,
    PooledScore,
    clip_value,
    lasting_of,
    pooled_drift,
    pooled_frechet,
    pooled_kid,
)
from tpbench.metrics.scoring.report import ClipScores, MetricScore

_NO_INTERVAL_OF_POOLS = "all clips together give one value: resampling would measure its bias"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredClip:
    """One clip's scores, and which metrics it is too short for."""

    scores: ClipScores
    too_short: frozenset[str]
    lastings: Mapping[str, Lasting | None] = field(default_factory=dict)
    """By metric of restricted lasting: how long the clip lasts; None where nothing was measured."""


def score_clip_record(
    record: ClipRecord, metrics: Collection[str], protocol: Protocol, identity: str | None
) -> ScoredClip:
    """Return all metrics of one clip that have a value per clip."""
    values: dict[str, ClipValue] = {
        name: clip_value(METRICS[name], record.columns, protocol, first_frame=record.first_frame)
        for name in metrics
        if METRICS[name].reduction != "set"
    }
    scores = ClipScores(
        clip_id=record.clip_id,
        identity=identity,
        n_frames=record.n_frames,
        real_sha256=record.real_sha256,
        generated_sha256=record.generated_sha256,
        codec=record.codec,
        notes=tuple(record.notes),
        values={name: found.value for name, found in values.items()},
        n_values={name: found.n_values for name, found in values.items() if found.n_values},
        blanks={name: found.blank for name, found in values.items() if found.blank},
    )
    short = frozenset(name for name, found in values.items() if found.too_short)
    lastings = {
        name: lasting_of(METRICS[name], record.columns, protocol)
        for name in metrics
        if METRICS[name].horizon_frames
    }
    return ScoredClip(scores=scores, too_short=short, lastings=lastings)


def mean_score(
    row: MetricRow, clips: Sequence[ScoredClip], pooling: Pooling = "mean_of_clips"
) -> MetricScore:
    """Return the value of a set from the values of its clips.

    Args:
        row: a metric with a value per clip.
        clips: all that were scored.
        pooling: "mean_of_clips", every clip weighing the same; or "mean_of_frames", each weighing
            as many times as it has frames, where its value is a mean over frames. The interval over
            identities weighs clips in the same way.
    """
    used = [clip for clip in clips if row.id not in clip.too_short]
    values = [clip.scores.values[row.id] for clip in used]
    names = [clip.scores.identity for clip in used]
    identities = [name for name in names if name is not None]
    known = identities if len(identities) == len(names) else None
    weights = [clip.scores.n_values.get(row.id, 0) for clip in used]
    by_frames = pooling == "mean_of_frames" and row.reduction == "mean"
    estimate = mean_over_identities(
        values,
        known,
        # A clip in which nothing was measured has no frames, and is left out whatever it weighs.
        weights=[max(1, weight) for weight in weights] if by_frames else None,
        bounds=(row.low, row.high),
    )
    interval = estimate.interval
    blanks = _told(clip.scores.blanks[row.id] for clip in used if row.id in clip.scores.blanks)
    return MetricScore(
        metric=row.id,
        version=row.version,
        direction=row.direction,
        unit=row.unit,
        status="measured",
        value=estimate.mean,
        low=interval.low,
        high=interval.high,
        level=interval.level if interval.reason is None else None,
        reason=_why_no_mean(estimate.mean, len(clips) - len(used), blanks),
        missing_reason=None if math.isnan(estimate.mean) else blanks,
        interval_reason=interval.reason,
        n_clips=estimate.n_used,
        n_identities=interval.n_identities,
        n_infinite=estimate.n_infinite,
        n_missing=estimate.n_missing,
        n_too_short=len(clips) - len(used),
        pooling="mean_of_frames" if by_frames else "mean_of_clips",
        mean_of_clips=finite_mean(values) if by_frames else estimate.mean,
        mean_of_frames=estimate.mean if by_frames else _mean_over_frames(values, weights),
        n_values=sum(weights),
    )


def lasting_score(row: MetricRow, clips: Sequence[ScoredClip]) -> MetricScore:
    """Return the restricted mean lasting frames of a set, with its interval over identities.

    `details` has the horizon, how many clips failed or ended before it, and the curve: the share of
    clips that last longer than so many frames.
    """
    found = [(clip.lastings[row.id], clip.scores.identity) for clip in clips]
    used = [(lasting, name) for lasting, name in found if lasting is not None]
    identities = [name for _, name in used if name is not None]
    lasting = restricted_lasting(
        [lasting for lasting, _ in used],
        identities if len(identities) == len(used) else None,
        row.horizon_frames,
    )
    interval, curve = lasting.interval, lasting.survival
    return replace(
        _blank_of(row, "measured"),
        value=lasting.frames,
        low=interval.low,
        high=interval.high,
        level=interval.level if interval.reason is None else None,
        reason=lasting.reason,
        interval_reason=interval.reason,
        n_clips=len(used),
        n_identities=interval.n_identities,
        n_missing=len(clips) - len(used),
        pooling="all_together",
        details={
            "horizon_frames": row.horizon_frames,
            "n_failed": lasting.n_failed,
            "n_censored": lasting.n_censored,
            "failed_after_frames": curve.frames.tolist(),
            "surviving": curve.surviving.tolist(),
        },
    )


def _mean_over_frames(values: Sequence[float], n_values: Sequence[int]) -> float:
    """Return the mean over the values of all frames of all clips; NaN where there are none."""
    if not any(n_values):
        return math.nan
    found = zip(values, n_values, strict=True)
    return math.fsum(value * count for value, count in found if count) / sum(n_values)


def pooled_metric_scores(
    metrics: Sequence[str],
    records: Sequence[ClipRecord],
    folder: RecordFolder,
    protocol: Protocol,
) -> dict[str, MetricScore]:
    """Return the metrics over all clips together.

    Args:
        metrics: ids of such metrics.
        records: of all scored clips, by clip id.
        folder: where their features lie.
        protocol: has the length of the windows.
    """
    scores: dict[str, MetricScore] = {}
    for meter in dict.fromkeys(FEATURES_OF[name] for name in metrics):
        clips = [_features(record, meter, folder) for record in records]
        wanted = [name for name in metrics if FEATURES_OF[name] == meter]
        for name, pooled in _pooled(meter, wanted, clips, protocol).items():
            scores[name] = _pooled_score(METRICS[name], pooled)
    return scores


def not_measured(row: MetricRow, reason: str) -> MetricScore:
    """Return the blank of a metric that can't be measured here."""
    return replace(_blank_of(row, "not_measured"), reason=reason)


def _blank_of(row: MetricRow, status: Literal["measured", "not_measured"]) -> MetricScore:
    return MetricScore(
        metric=row.id,
        version=row.version,
        direction=row.direction,
        unit=row.unit,
        status=status,
    )


def _pooled(
    meter: str, wanted: Sequence[str], clips: Sequence[ClipFeatures], protocol: Protocol
) -> dict[str, PooledScore]:
    frechet = {"inception": FID, "i3d": FVD, "disco_i3d": DISCO_FVD}[meter]
    whole: Mapping[str, Callable[[], PooledScore]] = {
        "fid": lambda: pooled_frechet(frechet, clips),
        "fvd": lambda: pooled_frechet(frechet, clips),
        "disco_fvd": lambda: pooled_frechet(frechet, clips),
        "kid": lambda: pooled_kid(clips),
    }
    found = {name: whole[name]() for name in wanted if name in whole}
    if drifts := [name for name in wanted if name not in whole]:
        of_windows = meter == "i3d"
        frames = protocol.window_frames if of_windows else protocol.fid_window_frames
        rows = 1 if of_windows else frames
        drift = pooled_drift(frechet, clips, rows_per_window=rows, frames=frames)
        for name in drifts:
            found[name] = drift.slope if name.endswith("_slope") else drift.delta
    return found


def _features(record: ClipRecord, meter: str, folder: RecordFolder) -> ClipFeatures:
    size = {"n": feature_count(meter, record.n_frames), "dim": METERS[meter].feature_dim}
    real = read_features(folder.real_features(meter, record.real_features[meter]), **size)
    generated = read_features(folder.generated_features(record.clip_id, meter), **size)
    if real is None or generated is None:
        raise ConfigError(
            f"{record.clip_id}: its features were removed during the run; run the command again"
        )
    return ClipFeatures(
        clip_id=record.clip_id, n_frames=record.n_frames, real=real, generated=generated
    )


def _pooled_score(row: MetricRow, pooled: PooledScore) -> MetricScore:
    blank = math.isnan(pooled.value)
    return MetricScore(
        metric=row.id,
        version=row.version,
        direction=row.direction,
        unit=row.unit,
        status="measured",
        value=pooled.value,
        reason=(pooled.warning or _why_no_mean(math.nan, pooled.n_too_short)) if blank else None,
        interval_reason=_NO_INTERVAL_OF_POOLS,
        warning=None if blank else pooled.warning,
        n_clips=pooled.n_clips,
        n_too_short=pooled.n_too_short,
        pooling="all_together",
        details={
            "n_real": pooled.n_real,
            "n_generated": pooled.n_generated,
            **pooled.details,
        },
    )


def _why_no_mean(mean: float, n_too_short: int, blanks: str | None = None) -> str | None:
    if not math.isnan(mean):
        return None
    why = "" if blanks is None else f": {blanks}"
    if n_too_short:
        clips = "clip" if n_too_short == 1 else "clips"
        left_out = f"{n_too_short} {clips} of {SHORT_CLIP_FRAMES} frames or fewer left out"
        return f"{left_out}, and no other has a value{why}"
    return f"no clip has a value{why}"


def _told(reasons: Iterable[str]) -> str | None:
    """Return reasons in a line, the most frequent first; with their numbers if they differ."""
    counts = Counter(reasons).most_common()
    if len(counts) < 2:
        return counts[0][0] if counts else None
    return "; ".join(f"{reason} ({count} clips)" for reason, count in counts)
