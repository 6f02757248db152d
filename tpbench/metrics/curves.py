"""Curves over frame numbers: means, contrasts, the Theil-Sen slope."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WINDOW_FRAMES = 16
"""Frames of a window unless stated otherwise: the length of an FVD clip."""
SHORT_CLIP_FRAMES = 100
"""Clips of this many frames or fewer have no drift: they are left out of it, and counted."""
_END_SHARE = 0.15


def as_curve(values: Sequence[float] | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the values as a `(T,)` float64 array.

    Raises:
        ValueError: they are not one row of numbers.
    """
    curve = np.asarray(values, dtype=np.float64)
    if curve.ndim != 1:
        raise ValueError(f"a curve is (T,), one value per frame; got shape {curve.shape}")
    return curve


def finite_mean(values: Sequence[float] | NDArray[np.floating]) -> float:
    """Return the mean of the finite values.

    Where none is finite: the infinity they share, or NaN if they share none or there are none.

    >>> finite_mean([1.0, 3.0, float("inf"), float("nan")])
    2.0
    >>> finite_mean([float("inf"), float("nan")])
    inf
    """
    measured = np.asarray(values, dtype=np.float64)
    measured = measured[~np.isnan(measured)]
    finite = measured[np.isfinite(measured)]
    if finite.size:
        return float(finite.mean())
    if measured.size and (measured == measured[0]).all():
        return float(measured[0])
    return float("nan")


def contrast(
    values: Sequence[float] | NDArray[np.floating], base: Sequence[float] | NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return values minus base, item by item: end minus start, run A minus run B.

    Equal infinities differ by 0; where either side is NaN, so is the result.

    Raises:
        ValueError: the shapes differ.
    """
    first, second = np.asarray(values, dtype=np.float64), np.asarray(base, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"both sides need one shape; got {first.shape} and {second.shape}")
    equal = first == second
    # The difference of equal infinities is replaced, so what NumPy says about it is no news.
    with np.errstate(invalid="ignore"):
        return np.where(equal, 0.0, first - second)


def end_minus_start(curve: Sequence[float] | NDArray[np.floating]) -> float:
    """Return the mean of the last 15 % of a curve minus that of its first 15 %.

    Each part has floor(0.15 T) frames, at least one. FramePack contrasts the same two parts by the
    absolute value of their difference; the sign is kept here, because a clip that gets better is
    not one that gets worse. Values that are not finite: see the module's rule.

    Args:
        curve: `(T,)`, T >= 1.

    Raises:
        ValueError: this is no curve, or it is empty.
    """
    values = as_curve(curve)
    if not values.size:
        raise ValueError("a curve of 0 frames has no start and no end")
    # 0.15 * T can fall a hair short of a whole number.
    count = max(1, int(_END_SHARE * values.size + 1e-9))
    start, end = finite_mean(values[:count]), finite_mean(values[-count:])
    return float(contrast([end], [start])[0])


EXACT_PAIRS = 250_000
"""Up to this many pairs of frames (707 frames) the median is taken over all of them."""


def theil_sen_per_100_frames(curve: Sequence[float] | NDArray[np.floating]) -> float:
    """Return the Theil-Sen slope of a curve per 100 frames.

    The median over all pairs of frames s < t of (m_t - m_s) / (t - s), times 100 (Theil 1950, Sen
    1968; equals `scipy.stats.theilslopes`). Up to 29 % of the frames may be anything before it
    breaks. Above 707 measured frames only every k-th lag t - s is taken, over all frames, with the
    smallest k that leaves no more than 250,000 pairs: no less deterministic, and hardly less sharp.

    NaN and infinite frames are left out and the others keep their place in time. A curve of nothing
    but one infinity (PSNR of a clip against itself) has slope 0.

    Args:
        curve: `(T,)`, any T.

    Returns:
        Units of the metric per 100 frames; NaN where fewer than two frames can be compared.

    Raises:
        ValueError: this is no curve.
    """
    values = as_curve(curve)
    frames = np.flatnonzero(np.isfinite(values))
    if frames.size >= 2:
        lags = _thinned_lags(frames.size)
        return 100 * float(_median_slope(values[frames], frames.astype(np.float64), lags))
    measured = values[~np.isnan(values)]
    same_infinity = measured.size >= 2 and bool((measured == measured[0]).all())
    return 0.0 if same_infinity else float("nan")


def _thinned_lags(count: int) -> NDArray[np.intp]:
    pairs = count * (count - 1) // 2
    step = math.ceil(pairs / EXACT_PAIRS)
    return np.arange(step, count, step)


def _median_slope(
    values: NDArray[np.float64], times: NDArray[np.float64], lags: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Median of the slopes between items `lag` places apart; values (..., n), times (n,)."""
    count = times.size
    slopes = np.empty((*values.shape[:-1], int((count - lags).sum())))
    at = 0
    for lag in lags:
        size = count - lag
        rise = values[..., lag:] - values[..., :-lag]
        np.divide(rise, times[lag:] - times[:-lag], out=slopes[..., at : at + size])
        at += size
    median: NDArray[np.float64] = np.median(slopes, axis=-1, overwrite_input=True)
    return median
