"""Lag curve: how alike a video still is to itself some frames earlier.

A generated video whose identity, colours or framing drift falls faster with the lag than the real
one; one that freezes falls slower. The content's own motion is in both curves and cancels in their
difference. Lightness weighs most in the cosine, and vectors count by their direction: a video that
grows brighter hardly shows here, but in `tpbench.metrics.colour`.
"""

from __future__ import annotations

from collections import deque
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
