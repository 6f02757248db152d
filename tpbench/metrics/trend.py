"""The slope of a curve: Theil-Sen.

A clip's own slope has no interval. Neighbouring frames are alike, and where they stay so for a good
part of the clip nothing in it tells drift from a slow sway: intervals over blocks of frames, named
95 %, left out the truth in up to half of made curves (`docs/statistics.md`). What is sure is the
mean over people; see `bootstrap.mean_over_identities`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tpbench.metrics.curves import as_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

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
