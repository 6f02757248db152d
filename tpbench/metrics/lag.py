"""Lag curve: how alike a video still is to itself some frames earlier.

A generated video whose identity, colours or framing drift falls faster with the lag than the real
one; one that freezes falls slower. The content's own motion is in both curves and cancels in their
difference. Lightness weighs most in the cosine, and vectors count by their direction: a video that
grows brighter hardly shows here, but in `tpbench.metrics.colour`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from tpbench.metrics.colour import rgb_to_lab
from tpbench.metrics.pictures import check_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAGS: Final = (2, 5, 10, 20, 50, 100)
"""Distances in frames at which the benchmark compares."""

THUMBNAIL_PX: Final = 32
"""Side of the square thumbnails."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LagStatistics:
    """What a lag curve is made of."""

    lags: tuple[int, ...]
    """(L,) distances in frames, increasing."""

    totals: NDArray[np.float64]
    """(L,) sum of the cosines at each lag."""

    n_pairs: NDArray[np.int64]
    """(L,) pairs of frames at each lag."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LagCurve:
    """Mean cosine at each lag."""

    lags: tuple[int, ...]
    """(L,) distances in frames, increasing."""

    cosines: NDArray[np.float64]
    """(L,) in [-1, 1], 1 for a video that doesn't change; NaN where no pair is so far apart."""

    n_pairs: NDArray[np.int64]
    """(L,) pairs of frames at each lag."""


def unit_thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return a picture as a vector of length 1 whose dot product with another is the cosine.

    The picture is shrunk to 32 x 32 by averaging areas (OpenCV's INTER_AREA, whatever its aspect
    ratio) rounded to whole levels, turned into CIELAB and divided by its norm; the mean is not
    taken off. Black has no direction in CIELAB and gets one of its own: black against black is 1,
    against others 0.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (3073,) float64: L*, a*, b* of each pixel row by row, then the direction of black.

    Raises:
        ValueError: it is no picture.
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


def compute_lag_curve(statistics: LagStatistics) -> LagCurve:
    """Return mean over t of cos(f_t, f_t-lag) at each lag; NaN where there is no pair."""
    cosines = np.full(len(statistics.lags), np.nan)
    np.divide(statistics.totals, statistics.n_pairs, out=cosines, where=statistics.n_pairs > 0)
    return LagCurve(lags=statistics.lags, cosines=cosines, n_pairs=statistics.n_pairs)


def lag_difference(real: LagCurve, generated: LagCurve) -> NDArray[np.float64]:
    """Return generated minus real: below 0 drifts, above 0 moves too little.

    Returns:
        (L,) in [-2, 2]; NaN where one of the curves is.

    Raises:
        ValueError: the curves have different lags.
    """
    if real.lags != generated.lags:
        message = f"the real curve has lags {real.lags}, the generated one {generated.lags}"
        raise ValueError(message)
    return generated.cosines - real.cosines


class LagCosines:
    """Accumulates the lag curve of one video, holding thumbnails of the longest lag + 1 frames.

    Args:
        lags: distances in frames, increasing.

    Raises:
        ValueError: there is none, or they don't increase from 1 or more.
    """

    def __init__(self, lags: tuple[int, ...] = LAGS) -> None:
        if not lags or lags[0] < 1 or list(lags) != sorted(set(lags)):
            message = f"lags increase from 1 frame or more; these are {lags}"
            raise ValueError(message)
        self._lags = lags
        self._totals = np.zeros(len(lags))
        self._n_pairs = np.zeros(len(lags), dtype=np.int64)
        self._thumbnails: deque[NDArray[np.float64]] = deque(maxlen=lags[-1] + 1)

    @property
    def statistics(self) -> LagStatistics:
        """What came in so far."""
        return LagStatistics(
            lags=self._lags, totals=self._totals.copy(), n_pairs=self._n_pairs.copy()
        )

    def update(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Take in the next frame and return its cosine to each frame a lag before it.

        Args:
            image: (H, W, 3) uint8 RGB; frames may differ in size.

        Returns:
            (L,); NaN at lags that reach back before the first frame.

        Raises:
            ValueError: it is no picture.
        """
        newest = unit_thumbnail(image)
        self._thumbnails.append(newest)
        cosines = np.full(len(self._lags), np.nan)
        for at, lag in enumerate(self._lags):
            if lag < len(self._thumbnails):
                cosines[at] = newest @ self._thumbnails[-1 - lag]
        reached = ~np.isnan(cosines)
        self._totals[reached] += cosines[reached]
        self._n_pairs += reached
        return cosines

    def compute(self) -> LagCurve:
        """Return the curve of the frames so far; see `compute_lag_curve`."""
        return compute_lag_curve(self.statistics)
