"""Reads the hips back from an official DWPose rendering, which is lossy."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_BELOW_PX = 400
"""Hands never come so low in the sample talks, and their dots are blue as well."""


def find_hip_dots(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return where the left and the right hip are drawn in a 512 px rendering; NaN where not.

    The dots have radius 4 and the colours (0, 85, 255) and (0, 255, 170).

    Returns:
        (2, 2) px.
    """
    red, green, blue = image[_BELOW_PX:].astype(np.int16).transpose(2, 0, 1)
    left = (red < 60) & (green > 55) & (green < 125) & (blue > 190)
    right = (red < 70) & (green > 190) & (blue > 110) & (blue < 215) & (green - blue > 25)
    return np.array([_lowest_dot(mask) for mask in (left, right)])


def _lowest_dot(mask: NDArray[np.bool_]) -> tuple[float, float]:
    _, _, stats, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    dots = [
        index
        for index in range(1, len(stats))
        if 25 <= stats[index][cv2.CC_STAT_AREA] <= 90 and max(stats[index][2:4]) <= 12
    ]
    if not dots:
        return float("nan"), float("nan")
    x, y = centres[max(dots, key=lambda index: stats[index][cv2.CC_STAT_TOP])]
    return float(x), float(y) + _BELOW_PX
