"""From values per frame to what a plot shows: means over windows, and few characters a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.metrics.registry import Reduction

CLIP_POINTS: Final = 150
"""A clip's curve has no more points: on a small plot, one every other pixel."""
MEAN_POINTS: Final = 100
"""Of a mean over clips, on a plot as wide as the page: one every ten pixels, little noise."""
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_MISSING: Final = 4095
_INFINITE: Final = 4094
LEVELS: Final = 4093
"""Of the scale from the lowest to the highest value."""


def window_frames(n_frames: int, *, points: int) -> int:
    """Return how many frames a window takes so that a curve has so many points at most.

    >>> [window_frames(n, points=150) for n in (101, 150, 151, 730)]
    [1, 1, 2, 5]
    """
    return max(1, -(-n_frames // points))


def window_values(
    columns: Sequence[NDArray[np.float64]],
    *,
    first_frame: int,
    window: int,
    reduction: Reduction,
) -> NDArray[np.float64]:
    """Reduce per-frame columns to one value for each window of frames, from frame 0 on.

    `ratio` is the sum of the first column over the sum of the second, on frames where both are
    measured; anything else is the mean over frames and columns. The last window may be shorter.

    Args:
        columns: `(T,)` each, in order of frames; NaN: not measured.
        first_frame: the frame of their first value.
        window: frames of a window.
        reduction: of the metric.

    Returns:
        `(ceil((first_frame + T) / window),)`; NaN for a window in which nothing was measured, and
        infinite where nothing but infinities was.
    """
    n_windows = -(-(first_frame + len(columns[0])) // window)
    laid = [_laid_out(column, first_frame, n_windows, window) for column in columns]
    if reduction != "ratio":
        return finite_means(np.concatenate(laid, axis=1))
    above, below = laid
    both = np.isfinite(above) & np.isfinite(below)
    sums = [np.where(both, part, 0.0).sum(axis=1) for part in (above, below)]
    values = np.full(n_windows, np.nan)
    np.divide(sums[0], sums[1], out=values, where=sums[1] != 0)
    return values


def finite_means(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the finite values of each row.

    NaN for a row without any value, infinity for one that has only (positive) infinities.
    """
    finite = np.isfinite(rows)
    count = finite.sum(axis=1)
    means = np.full(len(rows), np.nan)
    np.divide(np.where(finite, rows, 0.0).sum(axis=1), count, out=means, where=count > 0)
    means[(count == 0) & np.isposinf(rows).any(axis=1)] = np.inf
    return means


def mean_of_curves(curves: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the mean of curves of several lengths, point by point, over those that go so far."""
    longest = max(map(len, curves))
    padded = np.full((longest, len(curves)), np.nan)
    for i, curve in enumerate(curves):
        padded[: len(curve), i] = curve
    return finite_means(padded)


def packed(values: NDArray[np.float64], low: float, high: float) -> str:
    """Write a curve in two characters a value, to 1/4093 of the scale from `low` to `high`.

    >>> packed(np.array([0.0, 1.0, np.nan, np.inf]), 0.0, 1.0)
    'AA_9___-'
    """
    span = high - low or 1.0
    codes = np.full(len(values), _MISSING)
    finite = np.isfinite(values)
    codes[finite] = np.clip(np.rint((values[finite] - low) / span * LEVELS), 0, LEVELS)
    codes[np.isposinf(values)] = _INFINITE
    return "".join(_ALPHABET[code >> 6] + _ALPHABET[code & 63] for code in codes.tolist())


def _laid_out(
    column: NDArray[np.float64], first_frame: int, n_windows: int, window: int
) -> NDArray[np.float64]:
    """Return (n_windows, window), NaN where the column has no frame."""
    laid = np.full(n_windows * window, np.nan)
    laid[first_frame : first_frame + len(column)] = column
    return laid.reshape(n_windows, window)
