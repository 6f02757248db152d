"""Columns to values per clip, and clips to values per set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.metrics.curves import (
    SHORT_CLIP_FRAMES,
    WINDOW_FRAMES,
    end_minus_start,
    finite_mean,
    theil_sen_per_100_frames,
)
from tpbench.metrics.drift import Lasting, lasting
from tpbench.metrics.frechet import FrechetMetric
from tpbench.metrics.kid import frame_sample, kid
from tpbench.metrics.registry import MetricRow, Protocol

_OF_LONG_CLIPS: Final = frozenset({"slope", "end_minus_start", "lasting"})


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
    """Whether the clip is left out of this metric: it speaks of more than 100 frames."""


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
        columns: by name, (n_frames,) each; more than are needed does no harm.
        protocol: has the levels of failure.
        first_frame: frames of the clip before the first that was scored; a clip is as long as it
            is, whether or not frame 0 counts.

    Raises:
        KeyError: a column is missing.
    """
    found = _clip_value(row, columns, protocol, first_frame)
    if found.too_short:
        return replace(found, blank=f"the clip has {SHORT_CLIP_FRAMES} frames or fewer")
    if not np.isnan(found.value):
        return found
    return replace(found, blank=_why_blank(row, [columns[name] for name in row.columns]))


def _clip_value(
    row: MetricRow,
    columns: Mapping[str, NDArray[np.float64]],
    protocol: Protocol,
    first_frame: int,
) -> ClipValue:
    curves = [columns[name] for name in row.columns]
    if row.reduction in _OF_LONG_CLIPS and first_frame + curves[0].size <= SHORT_CLIP_FRAMES:
        return ClipValue(value=float("nan"), too_short=True)
    if row.reduction == "mean":
        values = np.concatenate(curves)
        return ClipValue(value=finite_mean(values), n_values=int(np.isfinite(values).sum()))
    if row.reduction == "slope":
        return ClipValue(value=theil_sen_per_100_frames(_curve(curves)))
    if row.reduction == "lasting":
        found = lasting_of(row, columns, protocol)
        return ClipValue(value=_lasting_share(found, curves[0].size))
    return ClipValue(value=_reduced(row, curves))


def _reduced(row: MetricRow, curves: Sequence[NDArray[np.float64]]) -> float:
    value = float("nan")
    match row.reduction:
        case "ratio":
            value = _ratio(*curves)
        case "difference":
            value = finite_mean(curves[0]) - finite_mean(curves[1])
        case "end_minus_start":
            value = end_minus_start(_curve(curves))
        case other:
            raise ValueError(f"'{row.id}' is no value of one clip: {other}")
    return value


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
    """Return how long a clip lasts before it fails; None where nothing was measured.

    Args:
        row: a `lasting_*` share, or a restricted mean of one.
        columns: as for `clip_value`.
        protocol: has the level, and how long a failure lasts.
    """
    return lasting(
        _curve([columns[name] for name in row.columns]),
        protocol.levels[row.failure_of or row.id],
        hold_frames=protocol.hold_frames,
        vote_frames=protocol.vote_frames,
    )


def _lasting_share(found: Lasting | None, n_frames: int) -> float:
    if found is None:
        return float("nan")
    return found.frames / n_frames if found.failed else 1.0


REACHING_SHARE: Final = 0.8
"""Share of the long clips that reach the last window of a drift, at least."""
_NO_FEATURES = f"no clip has the {WINDOW_FRAMES} frames of a window"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipFeatures:
    """Features of one pair of clips, read as they are used."""

    clip_id: str
    n_frames: int
    """Frames scored."""
    real: NDArray[np.float32]
    """(k, d), one row per frame or window."""
    generated: NDArray[np.float32]
    """(k, d)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledScore:
    """One metric over all clips."""

    value: float
    """NaN where there is none; `warning` says why."""
    n_real: int
    """Vectors: frames or windows. Of drift: those of its first window."""
    n_generated: int
    n_clips: int
    """Clips they come from."""
    n_too_short: int = 0
    """Clips left out: those without a window; of drift those whose windows take in 100 frames or
    fewer, and those that end before the last window used."""
    warning: str | None = None
    """What has to be said beside the value."""
    details: Mapping[str, float | list[float] | None] = field(default_factory=dict)
    """More numbers that belong to it."""


def pooled_frechet(metric: FrechetMetric, clips: Sequence[ClipFeatures]) -> PooledScore:
    """Return a Fréchet distance over all vectors of all clips."""
    used = [clip for clip in clips if len(clip.generated)]
    if not used:
        return _nothing(clips)
    score = metric.pooled((clip.real, clip.generated) for clip in used)
    return PooledScore(
        value=score.value,
        n_real=score.n_real,
        n_generated=score.n_generated,
        n_clips=len(used),
        n_too_short=len(clips) - len(used),
        warning=score.warning,
    )


def pooled_kid(clips: Sequence[ClipFeatures]) -> PooledScore:
    """Return KID over the frames of all clips; of very many a fixed sample, see `frame_sample`."""
    if sum(len(clip.generated) for clip in clips) < 2:
        return _nothing(clips, "the clips have fewer than two frames in all")
    score = kid(
        frame_sample((clip.clip_id, clip.real) for clip in clips),
        frame_sample((clip.clip_id, clip.generated) for clip in clips),
    )
    return PooledScore(
        value=score.value,
        n_real=score.n_real,
        n_generated=score.n_generated,
        n_clips=len(clips),
        details={"subset_mean": score.subset_mean, "subset_std": score.subset_std},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledDrift:
    """How a Fréchet distance drifts: both of its measures, from one pass over the windows."""

    slope: PooledScore
    """Per 100 frames."""
    delta: PooledScore
    """Last 15 % of the windows minus the first 15 %."""


def pooled_drift(
    metric: FrechetMetric, clips: Sequence[ClipFeatures], *, rows_per_window: int, frames: int
) -> PooledDrift:
    """Return how the distance between window k of generated and of real clips changes with k.

    A Fréchet distance hangs on the size of its sample, so all windows are of the same clips. Of the
    clips whose whole windows take in more than 100 frames, as many windows are used as at least
    `REACHING_SHARE` of them reach, and the clips that end before are left out: one short clip does
    not cut the curve of all others. What was left out, clips or windows, stands in the warning.

    Args:
        metric: which distance.
        clips: all of them.
        rows_per_window: vectors of a clip in a window: 1 of I3D, 16 of Inception.
        frames: frames of a window.
    """
    windows = [len(clip.generated) // rows_per_window for clip in clips]
    long = [clip for clip, n in zip(clips, windows, strict=True) if n * frames > SHORT_CLIP_FRAMES]
    if not long:
        needed = (SHORT_CLIP_FRAMES // frames + 1) * frames
        nothing = _nothing(
            clips,
            f"no clip has more than {SHORT_CLIP_FRAMES} frames in whole windows of {frames}: it "
            f"takes {needed} frames",
        )
        return PooledDrift(slope=nothing, delta=nothing)
    reach = [len(clip.generated) // rows_per_window for clip in long]
    n_windows = _windows_most_reach(reach)
    long = [clip for clip, n in zip(long, reach, strict=True) if n >= n_windows]
    scores = []
    for k in range(n_windows):
        rows = slice(k * rows_per_window, (k + 1) * rows_per_window)
        scores.append(metric.pooled((clip.real[rows], clip.generated[rows]) for clip in long))
    curve = [score.value for score in scores]
    common = PooledScore(
        value=theil_sen_per_100_frames(curve) / frames,
        n_real=scores[0].n_real,
        n_generated=scores[0].n_generated,
        n_clips=len(long),
        n_too_short=len(clips) - len(long),
        warning=_joined(_what_is_left_out(reach, n_windows), scores[0].warning),
        details={
            "windows": curve,
            "n_windows": n_windows,
            "n_windows_of_longest": max(reach),
            "clips_per_window": [len(long)] * n_windows,
        },
    )
    return PooledDrift(slope=common, delta=replace(common, value=end_minus_start(curve)))


def _windows_most_reach(reach: Sequence[int]) -> int:
    """Return the greatest number of windows that at least `REACHING_SHARE` of the clips have.

    >>> _windows_most_reach([7] + [60] * 29), _windows_most_reach([7] * 15 + [60] * 15)
    (60, 7)
    """
    # A share of 5 clips is exactly 4, whatever the product of floats says.
    wanted = math.ceil(REACHING_SHARE * len(reach) - 1e-9)
    return sorted(reach, reverse=True)[wanted - 1]


def _what_is_left_out(reach: Sequence[int], n_windows: int) -> str | None:
    """Say which clips end before the last window used, and which windows too few clips reach."""
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


def _joined(*said: str | None) -> str | None:
    return "; ".join(text for text in said if text) or None


def _nothing(clips: Sequence[ClipFeatures], why: str = _NO_FEATURES) -> PooledScore:
    return PooledScore(
        value=float("nan"),
        n_real=0,
        n_generated=0,
        n_clips=0,
        n_too_short=len(clips),
        warning=why,
    )
