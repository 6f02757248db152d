"""Motion: how much moves, temporal jitter (TJE), and lag behind the driving video."""

from __future__ import annotations

from collections import deque
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.metrics.appearance import rgb_to_lab
from tpbench.metrics.pixels import check_pair, check_picture, row_strips


def frame_motion(image: NDArray[np.uint8], before: NDArray[np.uint8]) -> float:
    """Return how many grey levels a frame differs from an earlier one, mean of |I_t - I_t-d|.

    Args:
        image: (H, W, 3) uint8 RGB, frame t.
        before: the same, frame t - d.

    Returns:
        Grey levels in [0, 255]; the sum is one of integers and exact.

    Raises:
        ValueError: they are no pictures or differ in size.
    """
    check_pair(image, before)
    return float(cv2.norm(image, before, cv2.NORM_L1)) / image.size


class EarlierPairs:
    """Hands back the pair of frames that came some frames before, holding as many and one more.

    Frames are kept as they come, not copied: they must not be overwritten afterwards.

    Args:
        delta: how many frames before.
    """

    def __init__(self, delta: int) -> None:
        self._pairs: deque[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = deque(maxlen=delta + 1)

    def before(
        self, real: NDArray[np.uint8], generated: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
        """Take in the next pair and return the earlier one; None for the first `delta` frames."""
        self._pairs.append((real, generated))
        return self._pairs[0] if len(self._pairs) == self._pairs.maxlen else None


_STRIP_VALUES: Final = 32768


def jitter_error(
    real: NDArray[np.uint8],
    real_before: NDArray[np.uint8],
    generated: NDArray[np.uint8],
    generated_before: NDArray[np.uint8],
) -> float:
    """Return one term of TJE: mean over pixels and channels of ||R_t - R_t-d| - |G_t - G_t-d||.

    Args:
        real: (H, W, 3) uint8 RGB, frame t of the real video.
        real_before: the same, frame t - d.
        generated: the same, frame t of the generated video.
        generated_before: the same, frame t - d.

    Returns:
        Grey levels in [0, 255]; the sum is one of integers and exact.

    Raises:
        ValueError: they are no pictures or differ in size.
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
"""Distances in frames at which the benchmark compares."""
THUMBNAIL_PX: Final = 32
"""Side of the square thumbnails."""


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


class LagCosines:
    """Follows one video, holding thumbnails of the longest lag + 1 frames."""

    def __init__(self) -> None:
        self._thumbnails: deque[NDArray[np.float64]] = deque(maxlen=LAGS[-1] + 1)

    def update(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Take in the next frame and return its cosine to the frame each of `LAGS` before it.

        Args:
            image: (H, W, 3) uint8 RGB; frames may differ in size.

        Returns:
            (L,); NaN at lags that reach back before the first frame.

        Raises:
            ValueError: it is no picture.
        """
        newest = unit_thumbnail(image)
        self._thumbnails.append(newest)
        cosines = np.full(len(LAGS), np.nan)
        for at, lag in enumerate(LAGS):
            if lag < len(self._thumbnails):
                cosines[at] = newest @ self._thumbnails[-1 - lag]
        return cosines
