"""Temporal metrics: jitter (TJE), lag, drift, and how long clips last (Kaplan-Meier).

Images are (H, W, 3) uint8 RGB, curves (T,), one value per frame; anything else raises a
`ValueError`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.metrics.bootstrap import (
    SHARES,
    Interval,
    contrast,
    finite_mean,
    mean_over_identities,
)
from tpbench.metrics.pixels import check_pair, check_picture, rgb_to_lab, row_strips


class EarlierPairs:
    """Returns the pair of frames that came `delta` frames earlier, holding `delta` + 1 pairs.

    Frames are held without copying: they must not be overwritten afterwards.

    Args:
        delta: distance in frames.
    """

    def __init__(self, delta: int) -> None:
        self._pairs: deque[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = deque(maxlen=delta + 1)

    def before(
        self, real: NDArray[np.uint8], generated: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
        """Add the next pair and return the earlier one; None for the first `delta` frames."""
        self._pairs.append((real, generated))
        return self._pairs[0] if len(self._pairs) == self._pairs.maxlen else None


_STRIP_VALUES: Final = 131072


def jitter_error(
    real: NDArray[np.uint8],
    real_before: NDArray[np.uint8],
    generated: NDArray[np.uint8],
    generated_before: NDArray[np.uint8],
) -> float:
    """Return one term of TJE: mean over pixels and channels of ||R_t - R_t-d| - |G_t - G_t-d||.

    Returns:
        Grey levels in [0, 255]; the sum is over integers, so it is exact.
    """
    check_pair(real, generated)
    check_pair(real, real_before)
    check_pair(generated, generated_before)
    total = 0.0
    for rows in row_strips(real, values=_STRIP_VALUES):
        real_change = cv2.absdiff(real[rows], real_before[rows])
        generated_change = cv2.absdiff(generated[rows], generated_before[rows])
        total += cv2.norm(real_change, generated_change, cv2.NORM_L1)
    return total / real.size


LAGS: Final = (2, 5, 10, 20, 50, 100)
"""Distances in frames between the frames that are compared."""
THUMBNAIL_PX: Final = 32
"""Side of the square thumbnails."""


def unit_thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return an image as a vector of length 1 whose dot product with another is the cosine.

    The image is shrunk to 32 x 32 by averaging areas (OpenCV's INTER_AREA, whatever its aspect
    ratio) rounded to whole levels, converted to CIELAB and divided by its norm; the mean is not
    subtracted. Black is the zero vector in CIELAB and gets a dimension of its own: black against
    black is 1, against others 0.

    Returns:
        (3073,) float64: L*, a*, b* of each pixel row by row, then the dimension of black.
    """
    check_picture(image, "given")
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    thumbnail = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    vector = np.zeros(3 * THUMBNAIL_PX**2 + 1)
    if thumbnail.any():
        vector[:-1] = rgb_to_lab(thumbnail).ravel()
    else:
        vector[-1] = 1.0
    return vector / np.linalg.norm(vector)


class LagCosines:
    """Cosines over one video, holding thumbnails of the longest lag + 1 frames."""

    def __init__(self) -> None:
        self._thumbnails: deque[NDArray[np.float64]] = deque(maxlen=LAGS[-1] + 1)

    def update(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Add the next frame and return its cosine to each frame that is one of `LAGS` earlier.

        Returns:
            (L,); NaN at lags that reach back before the first frame.
        """
        newest = unit_thumbnail(image)
        self._thumbnails.append(newest)
        cosines = np.full(len(LAGS), np.nan)
        for at, lag in enumerate(LAGS):
            if lag < len(self._thumbnails):
                cosines[at] = newest @ self._thumbnails[-1 - lag]
        return cosines


WINDOW_FRAMES: Final = 16
"""Frames of a window unless stated otherwise: the length of an FVD clip."""
SHORT_CLIP_FRAMES: Final = 100
"""Clips of this many frames or fewer are left out of drift, and counted."""
_END_SHARE: Final = 0.15
EXACT_PAIRS: Final = 250_000
"""Up to this many pairs of frames (707 frames) the median is taken over all of them."""


def as_curve(values: Sequence[float] | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the values as a `(T,)` float64 array."""
    curve = np.asarray(values, dtype=np.float64)
    if curve.ndim != 1:
        raise ValueError(f"a curve is (T,), one value per frame; got shape {curve.shape}")
    return curve


def end_minus_start(curve: Sequence[float] | NDArray[np.floating]) -> float:
    """Return the mean of the last 15 % of a curve minus that of its first 15 %.

    Each part has floor(0.15 T) frames, at least one. FramePack contrasts the same two parts by the
    absolute value of their difference; the sign is kept here, to separate improvement from decline.
    Values that are not finite: see `finite_mean` and `contrast`.
    """
    values = as_curve(curve)
    if not values.size:
        raise ValueError("a curve of 0 frames has no start and no end")
    # 0.15 * T can be slightly below a whole number.
    count = max(1, int(_END_SHARE * values.size + 1e-9))
    start, end = finite_mean(values[:count]), finite_mean(values[-count:])
    return float(contrast([end], [start])[0])


def theil_sen_per_100_frames(curve: Sequence[float] | NDArray[np.floating]) -> float:
    """Return the Theil-Sen slope of a curve per 100 frames.

    The median over all pairs of frames s < t of (m_t - m_s) / (t - s), times 100 (Theil 1950, Sen
    1968; equals `scipy.stats.theilslopes`). Its breakdown point is 29 % of the frames. Above 707
    measured frames only every k-th lag t - s is taken, over all frames, with the smallest k that
    leaves no more than 250,000 pairs: still deterministic, and hardly less precise.

    NaN and infinite frames are left out and the others keep their place in time. A curve whose only
    value is one infinity (PSNR of a clip against itself) has slope 0.

    Returns:
        Units of the metric per 100 frames; NaN where fewer than two frames can be compared.
    """
    values = as_curve(curve)
    frames = np.flatnonzero(np.isfinite(values))
    if frames.size >= 2:
        return 100 * _median_slope(values[frames], frames.astype(np.float64))
    measured = values[~np.isnan(values)]
    same_infinity = measured.size >= 2 and bool((measured == measured[0]).all())
    return 0.0 if same_infinity else float("nan")


def _median_slope(values: NDArray[np.float64], times: NDArray[np.float64]) -> float:
    """Median of the slopes over the pairs of items at every `step`-th lag."""
    step = math.ceil(times.size * (times.size - 1) // 2 / EXACT_PAIRS)
    slopes = [
        (values[lag:] - values[:-lag]) / (times[lag:] - times[:-lag])
        for lag in range(step, times.size, step)
    ]
    return float(np.median(np.concatenate(slopes), overwrite_input=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """How long a clip lasted."""

    frames: int
    """Frames before it failed; if it did not fail, frames up to which that is known."""
    failed: bool
    """False: censored, as the clip ended before a failure."""


def lasting(
    curve: Sequence[float] | NDArray[np.floating],
    level: float,
    *,
    hold_frames: int,
    vote_frames: int,
) -> Lasting | None:
    """Return how many frames pass before a curve falls below a level and stays there for a while.

    A frame misses the level if more than half of the `vote_frames` measured frames around it do
    (their median does): a good frame among bad ones is no recovery, a bad one among good ones no
    failure, and a step keeps its place. Near the ends of the clip, fewer frames vote. The clip
    fails at the start of the first run of `hold_frames` such frames, whatever comes after it.

    A clip without such a run has not failed: it is censored at its end or, if it ends in a shorter
    run, at the start of that run. NaN frames were not measured: runs continue across them.

    Args:
        curve: one value per frame, `(T,)`.
        level: finite, in the unit of the metric.
        hold_frames: measured frames in a row, 1 or more.
        vote_frames: odd, 1 or more.

    Returns:
        None where nothing was measured.

    Raises:
        ValueError: the curve is not `(T,)`, or an argument is out of range.
    """
    values = as_curve(curve)
    if vote_frames < 1 or vote_frames % 2 == 0:
        raise ValueError(f"an odd number of frames votes, 1 or more; got {vote_frames}")
    if not np.isfinite(level) or hold_frames < 1:
        raise ValueError(
            f"a level is finite and held for 1 frame or more; got {level} and {hold_frames}"
        )
    frames = np.flatnonzero(~np.isnan(values))
    if not frames.size:
        return None
    measured = values[frames]
    misses = _voted(measured < level, vote_frames)
    start = _first_run(misses, hold_frames)
    if start is not None:
        return Lasting(frames=int(frames[start]), failed=True)
    trailing = _trailing_run(misses)
    end = values.size if trailing is None else int(frames[trailing])
    return Lasting(frames=end, failed=False)


def _voted(fails: NDArray[np.bool_], voters: int) -> NDArray[np.bool_]:
    """Whether more than half of the frames around each fail, at most `voters` of them."""
    counts = np.concatenate([[0], np.cumsum(fails)])
    places = np.arange(fails.size)
    first = np.maximum(places - voters // 2, 0)
    after = np.minimum(places + voters // 2 + 1, fails.size)
    majority: NDArray[np.bool_] = 2 * (counts[after] - counts[first]) > after - first
    return majority


def _trailing_run(fails: NDArray[np.bool_]) -> int | None:
    passes = np.flatnonzero(~fails)
    start = int(passes[-1]) + 1 if passes.size else 0
    return start if start < fails.size else None


def _first_run(fails: NDArray[np.bool_], length: int) -> int | None:
    # Failing frames among the `length` from each frame on, as a difference of running counts.
    counts = np.concatenate([[0], np.cumsum(fails)])
    runs = np.flatnonzero(counts[length:] - counts[:-length] == length)
    return int(runs[0]) if runs.size else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Survival:
    """The share of clips that last longer than a number of frames."""

    frames: NDArray[np.int64]
    """(k,), ascending: the numbers of frames after which clips failed."""
    surviving: NDArray[np.float64]
    """(k,), in [0, 1]: the share that lasts longer than that; 1 before the first."""
    followed: int
    """Frames up to which the longest clip was followed, whether or not it failed then; 0 if there
    is none."""

    def restricted_mean(self, horizon: int) -> float:
        """Return the mean of min(frames lasted, horizon): the area under the curve up to there.

        Beyond the last clip the curve stays constant; `reaches` tells whether that is admissible.
        """
        inside = self.frames < horizon
        starts = np.concatenate([[0], self.frames[inside]])
        ends = np.concatenate([self.frames[inside], [horizon]])
        levels = np.concatenate([[1.0], self.surviving[inside]])
        return float(((ends - starts) * levels).sum())

    def reaches(self, horizon: int) -> bool:
        """Whether the curve is known up to a horizon: a clip was followed so far, or all failed."""
        return self.followed >= horizon or bool(self.surviving.size and self.surviving[-1] == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestrictedLasting:
    """The mean number of frames that clips last, up to a horizon."""

    frames: float
    """In [0, horizon]; NaN where `reason` says why."""
    interval: Interval
    """Over identities."""
    survival: Survival
    n_failed: int
    """Clips that failed within the horizon."""
    n_censored: int
    """Clips that ended within the horizon and had not failed."""
    reason: str | None
    """Why there is no value."""


def kaplan_meier(lastings: Sequence[Lasting]) -> Survival:
    """Return the product-limit estimate of the share of clips that last longer than t frames.

    S(t) = product over failure times t_j <= t of (1 - d_j / n_j), with d_j clips failing after t_j
    frames and n_j clips that lasted at least that long. A clip censored at t_j is still counted
    among the n_j (Kaplan & Meier 1958; so do R's survival and the package lifelines).

    Args:
        lastings: one per clip, in any order.
    """
    return _product_limit(*_arrays(lastings))


def _arrays(lastings: Sequence[Lasting]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    frames = np.array([lasting.frames for lasting in lastings], dtype=np.int64)
    failed = np.array([lasting.failed for lasting in lastings], dtype=bool)
    return frames, failed


def _product_limit(frames: NDArray[np.int64], failed: NDArray[np.bool_]) -> Survival:
    times, counts = np.unique(frames[failed], return_counts=True)
    at_risk = frames.size - np.searchsorted(np.sort(frames), times)
    surviving = np.cumprod(1 - counts / at_risk, dtype=np.float64)
    return Survival(
        frames=times, surviving=surviving, followed=int(frames.max()) if frames.size else 0
    )


def restricted_lasting(
    lastings: Sequence[Lasting],
    identities: Sequence[str] | None,
    horizon: int,
) -> RestrictedLasting:
    """Return the restricted mean lasting frames with an interval over identities.

    The interval is that of `mean_over_identities` over the clips' pseudo-values, N m - (N - 1) m_i
    with m the restricted mean of all N clips and m_i that without clip i (Andersen, Hansen & Klein
    2004). Without censoring these are min(frames, horizon) themselves, and their mean is m; with
    it, the interval is moved by the small difference between their mean and m.

    Args:
        lastings: one per clip.
        identities: one per clip; None if they are not known.
        horizon: frames, 1 or more.

    Raises:
        ValueError: lengths differ, or an argument is out of range.
    """
    if horizon < 1:
        raise ValueError(f"a horizon is 1 frame or later; got {horizon}")
    curve = kaplan_meier(lastings)
    value = curve.restricted_mean(horizon)
    # As shares of the horizon, since the interval has a rule for shares that are all 1.
    pseudo = np.array(_pseudo_values(lastings, horizon, value)) / horizon
    estimate = mean_over_identities(pseudo, identities, bounds=SHARES)
    reason = None
    if not lastings:
        reason = "no clip has a value"
    elif not curve.reaches(horizon):
        reason = (
            f"no clip is followed for {horizon} frames, the longest for {curve.followed}: "
            "the mean up to there is not known"
        )
    return RestrictedLasting(
        frames=value if reason is None else float("nan"),
        interval=_in_frames(estimate.interval, value / horizon - estimate.mean, horizon, reason),
        survival=curve,
        n_failed=sum(one.failed and one.frames < horizon for one in lastings),
        n_censored=sum(not one.failed and one.frames < horizon for one in lastings),
        reason=reason,
    )


def _pseudo_values(lastings: Sequence[Lasting], horizon: int, whole: float) -> list[float]:
    count = len(lastings)
    if count < 2:
        return [whole] * count
    if all(one.failed or one.frames >= horizon for one in lastings):
        return [float(min(one.frames, horizon)) for one in lastings]
    # Nothing after the horizon matters, and clips of equal length and ending have equal values.
    frames, failed = _arrays(lastings)
    failed &= frames < horizon
    frames = np.minimum(frames, horizon)
    keys = list(zip(frames.tolist(), failed.tolist(), strict=True))
    without = {
        key: _product_limit(np.delete(frames, at), np.delete(failed, at)).restricted_mean(horizon)
        for key, at in {key: at for at, key in enumerate(keys)}.items()
    }
    return [count * whole - (count - 1) * without[key] for key in keys]


def _in_frames(interval: Interval, by: float, horizon: int, reason: str | None) -> Interval:
    if reason is not None or interval.low is None or interval.high is None:
        return replace(interval, low=None, high=None, reason=reason or interval.reason)
    ends = interval.low + by, interval.high + by
    low, high = (horizon * min(max(end, 0.0), 1.0) for end in ends)
    return replace(interval, low=low, high=high)
