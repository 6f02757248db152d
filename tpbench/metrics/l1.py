"""Mean absolute error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2

from tpbench.metrics.pictures import check_pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def mean_absolute_error(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    """Return how many grey levels two pictures differ by, on average over pixels and channels.

    sum |real - generated| / (H W 3). The sum is one of integers and exact: nothing wraps around.

    Args:
        real: (H, W, 3) uint8 RGB.
        generated: the same.

    Returns:
        Levels in [0, 255]; 0 for identical pictures. The order of the channels doesn't matter.

    Raises:
        ValueError: they are no pictures or differ in size.
    """
    check_pair(real, generated)
    return float(cv2.norm(real, generated, cv2.NORM_L1)) / real.size


def disco_l1(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    """Return the "L1" of the published TikTok tables.

    DisCo's evaluation divides the mean absolute error by the number of pixels once more:
    mean_absolute_error / (H W). So the figure depends on the resolution: 17.4 levels print as
    2.66e-4 at 256 x 256 and as a fourth of that at 512 x 512. Only compare figures of one size.

    Args:
        real: (H, W, 3) uint8 RGB.
        generated: the same.

    Returns:
        In [0, 255 / (H W)].

    Raises:
        ValueError: they are no pictures or differ in size.
    """
    height_px, width_px = real.shape[:2]
    return mean_absolute_error(real, generated) / int(height_px * width_px)
