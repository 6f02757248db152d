"""Reduces columns to values per clip, and clips to values of a set, for the scores of a report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tpbench.errors import ConfigError, number_of
from tpbench.metrics.bootstrap import Interval, finite_mean, mean_over_identities
from tpbench.metrics.distances import DISCO_FVD, FID, FVD, FrechetMetric, frame_sample, kid
from tpbench.metrics.registry import METRICS, MetricRow, Pooling, Protocol
from tpbench.metrics.scoring.meters import FEATURES_OF, METERS
from tpbench.metrics.scoring.records import ClipMeasurement, RecordFolder, feature_count
from tpbench.metrics.scoring.report import ClipScores, MetricScore
from tpbench.metrics.scoring.tools import read_features
from tpbench.metrics.temporal import (
    SHORT_CLIP_FRAMES,
    WINDOW_FRAMES,
    Lasting,
    end_minus_start,
    lasting,
    restricted_lasting,
    theil_sen_per_100_frames,
)

_OF_LONG_CLIPS: Final = frozenset({"slope", "end_minus_start", "lasting"})
_NO_INTERVAL: Final = Interval(low=None, high=None, level=0.0, n_identities=0, reason=None)
_NO_VECTORS: Final[Mapping[str, float]] = MappingProxyType({"n_real": 0, "n_generated": 0})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipValue:
    """One metric of one clip."""

    value: float
    """NaN where there is none."""
    blank: str | None = None
    """Why there is none; None if there is."""
    n_values: int = 0
    """Of means: how many values of frames (or terms between frames) it is the mean of."""
    too_short: bool = False
    """Whether the clip is left out of this metric, which needs more than 100 frames."""


def clip_value(
    row: MetricRow,
    columns: Mapping[str, NDArray[np.float64]],
    protocol: Protocol,
    *,
    first_frame: int = 0,
) -> ClipValue:
    """Reduce a clip's columns as the metric says (see `registry.Reduction`).

    Args:
        row: the metric; not one over all clips ("set").
        columns: by name, (n_frames,) each; those not needed are ignored.
        protocol: has the levels of failure.
        first_frame: frames of the clip before the first that was scored; they count towards its
            length.

    Raises:
        KeyError: a column is missing.
    """
    curves = [columns[name] for name in row.columns]
    if row.reduction in _OF_LONG_CLIPS and first_frame + curves[0].size <= SHORT_CLIP_FRAMES:
        short = f"the clip has {SHORT_CLIP_FRAMES} frames or fewer"
        return ClipValue(value=math.nan, blank=short, too_short=True)
    value, n_values = math.nan, 0
    match row.reduction:
        case "mean":
            values = np.concatenate(curves)
            value, n_values = finite_mean(values), int(np.isfinite(values).sum())
        case "ratio":
            value = _ratio(*curves)
        case "difference":
            value = finite_mean(curves[0]) - finite_mean(curves[1])
        case "slope":
            value = theil_sen_per_100_frames(_curve(curves))
        case "end_minus_start":
            value = end_minus_start(_curve(curves))
        case "lasting":
            if (found := lasting_of(row, columns, protocol)) is not None:
                value = found.frames / curves[0].size if found.failed else 1.0
        case other:
            raise ValueError(f"'{row.id}' is no value of one clip: {other}")
    blank = _why_blank(row, curves) if math.isnan(value) else None
    return ClipValue(value=value, blank=blank, n_values=n_values)


def _why_blank(row: MetricRow, curves: Sequence[NDArray[np.float64]]) -> str:
    if curves[0].size <= row.lag_frames:
        return f"no two of the frames scored are {row.lag_frames} apart"
    n_measured = 0
    if row.reduction in {"slope", "end_minus_start"}:
        n_measured = int(np.isfinite(_curve(curves)).sum())
    if n_measured and row.reduction == "slope":
        return "fewer than two frames have a value"
    if n_measured:
        return "no frame at its start, or none at its end, has a value"
    return row.blank or "no frame has a value"


def _curve(curves: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the only curve, or the ratio of two; NaN where the second is 0."""
    if len(curves) == 1:
        return curves[0]
    over, under = curves
    ratio = np.full(over.size, np.nan)
    np.divide(over, under, out=ratio, where=under != 0)
    return ratio


def _ratio(over: NDArray[np.float64], under: NDArray[np.float64]) -> float:
    measured = ~(np.isnan(over) | np.isnan(under))
    total = float(under[measured].sum())
    return float(over[measured].sum()) / total if total else float("nan")


def lasting_of(
    row: MetricRow, columns: Mapping[str, NDArray[np.float64]], protocol: Protocol
) -> Lasting | None:
    """Return how long a clip lasts before it fails, at the protocol's level; None: not measured."""
    return lasting(
        _curve([columns[name] for name in row.columns]),
        protocol.levels[row.failure_of or row.id],
        hold_frames=protocol.hold_frames,
        vote_frames=protocol.vote_frames,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredClip:
    """One clip's scores, and which metrics it is too short for."""

    scores: ClipScores
    too_short: frozenset[str]
    lastings: Mapping[str, Lasting | None] = field(default_factory=dict)
    """By metric of restricted lasting: how long the clip lasts; None where nothing was measured."""


def score_clip_record(
    record: ClipMeasurement, metrics: Collection[str], protocol: Protocol, identity: str | None
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
        pooling: "mean_of_clips", all clips weighted equally; or "mean_of_frames", each weighted by
            its number of frames if the metric is a mean over frames. The interval over identities
            uses the same weights.
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
        # A clip without measured frames is left out; its weight only has to be above 0.
        weights=[max(1, weight) for weight in weights] if by_frames else None,
        bounds=(row.low, row.high),
    )
    blanks = _joined(clip.scores.blanks[row.id] for clip in used if row.id in clip.scores.blanks)
    return replace(
        _blank_of(row, "measured", estimate.interval),
        value=estimate.mean,
        reason=_why_no_mean(estimate.mean, len(clips) - len(used), blanks),
        missing_reason=None if math.isnan(estimate.mean) else blanks,
        n_clips=estimate.n_used,
        n_infinite=estimate.n_infinite,
        n_missing=estimate.n_missing,
        n_too_short=len(clips) - len(used),
        pooling="mean_of_frames" if by_frames else "mean_of_clips",
        mean_of_clips=finite_mean(values) if by_frames else estimate.mean,
        mean_of_frames=estimate.mean if by_frames else _mean_over_frames(values, weights),
        n_values=sum(weights),
    )


def _mean_over_frames(values: Sequence[float], n_values: Sequence[int]) -> float:
    """Return the mean over the values of all frames of all clips; NaN if there are none."""
    if not any(n_values):
        return math.nan
    found = zip(values, n_values, strict=True)
    return math.fsum(value * count for value, count in found if count) / sum(n_values)


def lasting_score(row: MetricRow, clips: Sequence[ScoredClip]) -> MetricScore:
    """Return the restricted mean lasting frames of a set, with its interval over identities.

    `details` has the horizon, how many clips failed or ended before it, and the survival curve: the
    share of clips that last longer than a number of frames.
    """
    found = [(clip.lastings[row.id], clip.scores.identity) for clip in clips]
    used = [(lasts, name) for lasts, name in found if lasts is not None]
    identities = [name for _, name in used if name is not None]
    over_all = restricted_lasting(
        [lasts for lasts, _ in used],
        identities if len(identities) == len(used) else None,
        row.horizon_frames,
    )
    curve = over_all.survival
    return replace(
        _blank_of(row, "measured", over_all.interval),
        value=over_all.frames,
        reason=over_all.reason,
        n_clips=len(used),
        n_missing=len(clips) - len(used),
        pooling="all_together",
        details={
            "horizon_frames": row.horizon_frames,
            "n_failed": over_all.n_failed,
            "n_censored": over_all.n_censored,
            "failed_after_frames": curve.frames.tolist(),
            "surviving": curve.surviving.tolist(),
        },
    )


def not_measured(row: MetricRow, reason: str) -> MetricScore:
    """Return the empty score of a metric that can't be measured on this machine."""
    return replace(_blank_of(row, "not_measured"), reason=reason)


def _blank_of(
    row: MetricRow, status: Literal["measured", "not_measured"], interval: Interval = _NO_INTERVAL
) -> MetricScore:
    return MetricScore(
        metric=row.id,
        version=row.version,
        direction=row.direction,
        unit=row.unit,
        status=status,
        low=interval.low,
        high=interval.high,
        level=None if interval.low is None else interval.level,
        interval_reason=interval.reason,
        n_identities=interval.n_identities,
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


def _joined(reasons: Iterable[str]) -> str | None:
    """Return reasons in one line, most frequent first, with their counts if they differ."""
    counts = Counter(reasons).most_common()
    if len(counts) < 2:
        return counts[0][0] if counts else None
    return "; ".join(f"{reason} ({number_of(count, 'clip')})" for reason, count in counts)


REACHING_SHARE: Final = 0.8
"""Minimum share of the long clips that reach the last window of a drift."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipFeatures:
    """Features of one pair of clips, memory-mapped."""

    clip_id: str
    real: NDArray[np.float32]
    """(k, d), one row per frame or window."""
    generated: NDArray[np.float32]
    """(k, d)"""


def pooled_metric_scores(
    metrics: Sequence[str],
    records: Sequence[ClipMeasurement],
    folder: RecordFolder,
    protocol: Protocol,
) -> dict[str, MetricScore]:
    """Return metrics over all clips together, drift over windows of the protocol's length."""
    scores: dict[str, MetricScore] = {}
    for meter in dict.fromkeys(FEATURES_OF[name] for name in metrics):
        clips = [_features(record, meter, folder) for record in records]
        rows = [METRICS[name] for name in metrics if FEATURES_OF[name] == meter]
        frechet = {"inception": FID, "i3d": FVD, "disco_i3d": DISCO_FVD}[meter]
        drifts = [row for row in rows if row.id.startswith("drift_")]
        for row in rows:
            if row.id == "kid":
                scores[row.id] = pooled_kid(row, clips)
            elif row not in drifts:
                scores[row.id] = pooled_frechet(row, frechet, clips)
        if drifts:
            frames = protocol.window_frames if meter == "i3d" else protocol.fid_window_frames
            per_window = 1 if meter == "i3d" else frames
            scores |= pooled_drift(
                drifts, frechet, clips, rows_per_window=per_window, frames=frames
            )
    return scores


def _features(record: ClipMeasurement, meter: str, folder: RecordFolder) -> ClipFeatures:
    size = {"n": feature_count(meter, record.n_frames), "dim": METERS[meter].feature_dim}
    real = read_features(folder.real_features(meter, record.real_features[meter]), **size)
    generated = read_features(folder.generated_features(record.clip_id, meter), **size)
    if real is None or generated is None:
        raise ConfigError(
            f"{record.clip_id}: its features were removed during the run; run the command again"
        )
    return ClipFeatures(clip_id=record.clip_id, real=real, generated=generated)


def pooled_frechet(
    row: MetricRow, metric: FrechetMetric, clips: Sequence[ClipFeatures]
) -> MetricScore:
    """Return a Fréchet distance over all vectors of all clips.

    `details` has the numbers of vectors. Clips too short for a window are left out and counted.
    """
    used = [clip for clip in clips if len(clip.generated)]
    if not used:
        return _pooled(row, clips, warning=f"no clip has the {WINDOW_FRAMES} frames of a window")
    score = metric.pooled((clip.real, clip.generated) for clip in used)
    return _pooled(
        row,
        clips,
        value=score.value,
        n_used=len(used),
        warning=score.warning,
        details={"n_real": score.n_real, "n_generated": score.n_generated},
    )


def pooled_kid(row: MetricRow, clips: Sequence[ClipFeatures]) -> MetricScore:
    """Return KID over the frames of all clips; if very many, of a sample (see `frame_sample`)."""
    if sum(len(clip.generated) for clip in clips) < 2:
        return _pooled(row, clips, warning="the clips have fewer than two frames in all")
    score = kid(
        frame_sample((clip.clip_id, clip.real) for clip in clips),
        frame_sample((clip.clip_id, clip.generated) for clip in clips),
    )
    details = {
        "n_real": score.n_real,
        "n_generated": score.n_generated,
        "subset_mean": score.subset_mean,
        "subset_std": score.subset_std,
    }
    return _pooled(row, clips, value=score.value, n_used=len(clips), details=details)


def pooled_drift(
    rows: Sequence[MetricRow],
    metric: FrechetMetric,
    clips: Sequence[ClipFeatures],
    *,
    rows_per_window: int,
    frames: int,
) -> dict[str, MetricScore]:
    """Return how the distance between window k of generated and of real clips changes with k.

    A Fréchet distance depends on the sample size, so all windows are taken from the same clips:
    long ones, whose whole windows cover more than 100 frames. As many windows are used as at least
    `REACHING_SHARE` of the long clips reach; those that end earlier are left out, so one short clip
    does not shorten the curve of all others. The warning counts the clips and windows left out.

    A window of `frames` frames has `rows_per_window` vectors of a clip: 1 of I3D, 16 of Inception.
    Slopes are per 100 frames; the other metrics are last 15 % of the windows minus first 15 %.
    """
    windows = [len(clip.generated) // rows_per_window for clip in clips]
    long = [clip for clip, n in zip(clips, windows, strict=True) if n * frames > SHORT_CLIP_FRAMES]
    if not long:
        needed = (SHORT_CLIP_FRAMES // frames + 1) * frames
        why = f"no clip has more than {SHORT_CLIP_FRAMES} frames in whole windows of {frames}: it "
        return {row.id: _pooled(row, clips, warning=f"{why}takes {needed} frames") for row in rows}
    reach = [len(clip.generated) // rows_per_window for clip in long]
    n_windows = _windows_most_reach(reach)
    long = [clip for clip, n in zip(long, reach, strict=True) if n >= n_windows]
    scores = []
    for k in range(n_windows):
        part = slice(k * rows_per_window, (k + 1) * rows_per_window)
        scores.append(metric.pooled((clip.real[part], clip.generated[part]) for clip in long))
    curve = [score.value for score in scores]
    said = [text for text in (_what_is_left_out(reach, n_windows), scores[0].warning) if text]
    details = {
        "n_real": scores[0].n_real,
        "n_generated": scores[0].n_generated,
        "windows": curve,
        "n_windows": n_windows,
        "n_windows_of_longest": max(reach),
        "clips_per_window": [len(long)] * n_windows,
    }
    slope, delta = theil_sen_per_100_frames(curve) / frames, end_minus_start(curve)
    return {
        row.id: _pooled(
            row,
            clips,
            value=slope if row.id.endswith("_slope") else delta,
            n_used=len(long),
            warning="; ".join(said) or None,
            details=details,
        )
        for row in rows
    }


def _pooled(
    row: MetricRow,
    clips: Sequence[ClipFeatures],
    *,
    value: float = math.nan,
    n_used: int = 0,
    warning: str | None = None,
    details: Mapping[str, Any] = _NO_VECTORS,
) -> MetricScore:
    blank = math.isnan(value)
    n_left_out = len(clips) - n_used
    return replace(
        _blank_of(row, "measured"),
        value=value,
        reason=(warning or _why_no_mean(value, n_left_out)) if blank else None,
        interval_reason="all clips together give one value: resampling would measure its bias",
        warning=None if blank else warning,
        n_clips=n_used,
        n_too_short=n_left_out,
        pooling="all_together",
        details=details,
    )


def _windows_most_reach(reach: Sequence[int]) -> int:
    """Return the greatest number of windows that at least `REACHING_SHARE` of the clips have.

    >>> _windows_most_reach([7] + [60] * 29), _windows_most_reach([7] * 15 + [60] * 15)
    (60, 7)
    """
    # 80 % of 5 clips is exactly 4; a product of floats may come out slightly above.
    wanted = math.ceil(REACHING_SHARE * len(reach) - 1e-9)
    return sorted(reach, reverse=True)[wanted - 1]


def _what_is_left_out(reach: Sequence[int], n_windows: int) -> str | None:
    """Return which clips end before the last window used, and which windows too few clips reach."""
    ending = sum(n < n_windows for n in reach)
    beyond = sum(n > n_windows for n in reach)
    said = []
    if ending:
        said.append(
            f"{ending} of {len(reach)} clips of more than {SHORT_CLIP_FRAMES} frames end before "
            f"window {n_windows} and are left out"
        )
    if beyond:
        said.append(
            f"windows {n_windows + 1} to {max(reach)} are left out: {beyond} of {len(reach)} clips "
            f"reach beyond window {n_windows}, and want {REACHING_SHARE:.0%}"
        )
    return "; ".join(said) or None
