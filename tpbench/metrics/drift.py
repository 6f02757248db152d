"""Drift: how the quality of a clip changes over more than 100 frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tpbench.metrics.bootstrap import Estimate, mean_over_identities
from tpbench.metrics.curves import (
    WINDOW_FRAMES,
    StartEnd,
    as_curve,
    contrast,
    start_and_end,
)
from tpbench.metrics.trend import theil_sen_per_100_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SHORT_CLIP_FRAMES = 100
"""Clips of this many frames or fewer have no drift: they are left out of it, and counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipDrift:
    """How one metric drifts within one clip."""

    n_frames: int
    """Frames of the clip."""
    n_finite: int
    """Frames with a finite value: the slope is theirs."""
    n_infinite: int
    """Frames with an infinite value (PSNR of identical frames)."""
    slope_per_100_frames: float
    """Theil-Sen; NaN where fewer than two frames were measured."""
    ends: StartEnd
    """Last 15 % against first 15 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSummary:
    """How one metric drifts over the clips of a set."""

    slope_per_100_frames: Estimate
    """Mean of the clips' slopes, interval over identities."""
    end_minus_start: Estimate
    """Mean of the clips' end minus start, interval over identities."""
    n_used: int
    """Clips of more than 100 frames."""
    n_left_out: int
    """Clips of 100 frames or fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDrift:
    """How a distance between sets drifts over windows of the clips."""

    minus_first: NDArray[np.float64]
    """`(W,)`: value of each window used, minus that of the first."""
    slope_per_100_frames: float
    """Theil-Sen over the windows; NaN if they cover 100 frames or fewer."""
    ends: StartEnd | None
    """Last 15 % of the windows against the first 15 %; None if they cover 100 frames or fewer."""
    n_used: int
    """Windows that every clip reaches."""
    n_left_out: int
    """Windows that fewer clips reach than the first."""


def clip_drift(curve: Sequence[float] | NDArray[np.floating]) -> ClipDrift | None:
    """Return how a per-frame curve drifts within its clip; None for 100 frames or fewer.

    Slope (`theil_sen_per_100_frames`) and end minus start (`start_and_end`); how they take NaN and
    infinite frames stands there. Both are signed in the unit of the metric: whether up
    is bad is for the metric to say. What counts as long is the number of frames of the clip, not of
    those measured. A curve of terms between frames (TJE) goes through `on_frames` first.

    A clip scored against itself drifts by exactly 0 in every measure. A clip that was only encoded
    again drifts by what its codec does: the floor to hold results against.

    Args:
        curve: `(T,)`, one value per frame.

    Raises:
        ValueError: this is no curve.
    """
    values = as_curve(curve)
    if values.size <= SHORT_CLIP_FRAMES:
        return None
    return ClipDrift(
        n_frames=values.size,
        n_finite=int(np.isfinite(values).sum()),
        n_infinite=int(np.isinf(values).sum()),
        slope_per_100_frames=theil_sen_per_100_frames(values),
        ends=start_and_end(values),
    )


def summarise_drift(
    drifts: Sequence[ClipDrift | None],
    identities: Sequence[str] | None,
    *,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> DriftSummary:
    """Return the mean drift over clips, with intervals by bootstrap over identities.

    Every clip weighs the same, however long. Clips whose slope or contrast is NaN or infinite are
    counted in the estimate that leaves them out.

    Args:
        drifts: what `clip_drift` gave for each clip, None for short ones.
        identities: one per clip, short ones included; None if not known.
        level: of the intervals.
        n_resamples: draws of identities.
        seed: of these draws.

    Raises:
        ValueError: lengths differ, or an argument is out of range.
    """
    if identities is not None and len(identities) != len(drifts):
        message = f"one identity per clip: got {len(drifts)} clips, {len(identities)} identities"
        raise ValueError(message)
    long = [(index, drift) for index, drift in enumerate(drifts) if drift is not None]
    names = None if identities is None else [identities[index] for index, _ in long]

    def estimate(values: list[float]) -> Estimate:
        return mean_over_identities(values, names, level=level, n_resamples=n_resamples, seed=seed)

    return DriftSummary(
        slope_per_100_frames=estimate([drift.slope_per_100_frames for _, drift in long]),
        end_minus_start=estimate([drift.ends.end_minus_start for _, drift in long]),
        n_used=len(long),
        n_left_out=len(drifts) - len(long),
    )


def window_drift(
    values: Sequence[float] | NDArray[np.floating],
    n_clips: Sequence[int] | NDArray[np.integer],
    *,
    window_frames: int = WINDOW_FRAMES,
) -> WindowDrift:
    """Return how a distance between generated and real window k drifts with k.

    For FD(k), the Frechet distance between window k of all generated clips and window k of the real
    ones: FD(k) - FD(1), its slope per 100 frames and its end minus start. A Frechet distance grows
    as its sample shrinks (by half, for 400 features, from 50 samples to 16), so where clips end the
    curve would rise without any drift. Hence only the windows before the first that has fewer clips
    than window 1 are used; the others are left out and counted.

    Args:
        values: `(K,)`, the distance for each window in order; NaN and infinities as in `curves`.
        n_clips: `(K,)`, clips that reach each window.
        window_frames: frames from one window to the next.

    Raises:
        ValueError: shapes differ, there is no window, the window has no frame, or clips increase.
    """
    curve = as_curve(values)
    clips = np.asarray(n_clips)
    if clips.shape != curve.shape or not curve.size or window_frames < 1:
        message = (
            "one count of clips per window, at least one window, of 1 frame or more:"
            f" got {curve.shape} values, {clips.shape} counts, {window_frames} frames"
        )
        raise ValueError(message)
    if (np.diff(clips) > 0).any():
        message = f"no window can have more clips than the one before it; got {clips.tolist()}"
        raise ValueError(message)
    used = curve[clips == clips[0]]
    is_long = used.size * window_frames > SHORT_CLIP_FRAMES
    slope = theil_sen_per_100_frames(used) / window_frames if is_long else float("nan")
    return WindowDrift(
        minus_first=contrast(used, np.full_like(used, used[0])),
        slope_per_100_frames=slope,
        ends=start_and_end(used) if is_long else None,
        n_used=used.size,
        n_left_out=curve.size - used.size,
    )
