"""Peak signal-to-noise ratio, and what stands for that of an identical picture.

PSNR of identical pictures is infinite, which no mean, slope or difference can hold. Leaving such
frames out lets a clip get better by getting worse (perfect at its start, black at its end), and a
set by making a frame perfect. So wherever PSNR is averaged or followed over time, it is capped at
100 dB: an identical frame has 100 dB, and so has what lies above (in pictures of more than 10
million values, two that differ by one level in a few of them). The figure is that of DisCo's
script; it is the same for pictures of every size, and no distortion that can be seen comes near it
(one level in every pixel is 48 dB). Read `identical_share` beside it: each copied frame lifts a
mean as 100 dB do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import cv2

from tpbench.metrics.pictures import check_pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CAP_DB: Final = 100.0
"""What PSNR of a frame counts as where it lies above, or is infinite."""


def capped(psnr_db: float) -> float:
    """Return what a frame's PSNR counts as: itself, or `CAP_DB` where it lies above.

    >>> [capped(value) for value in (30.0, 100.0, 107.1, math.inf)]
    [30.0, 100.0, 100.0, 100.0]
    """
    return min(psnr_db, CAP_DB)


def mean_squared_error(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    """Return sum (real - generated)^2 / (H W 3), in squared grey levels, 0 to 65025.

    The sum is one of integers and exact. Subtracting uint8 arrays wraps around instead: a known
    script printed 28 dB for pictures that are 9 dB apart.

    Args:
        real: (H, W, 3) uint8 RGB.
        generated: the same.

    Raises:
        ValueError: they are no pictures or differ in size.
    """
    check_pair(real, generated)
    # OpenCV squares a root again: the sum is right but for its last bit, and that it is an integer.
    return round(cv2.norm(real, generated, cv2.NORM_L2SQR)) / real.size


def psnr(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio of one frame, 10 log10(255^2 / MSE).

    MSE is over all pixels and channels of the RGB picture. Equals scikit-image's
    `peak_signal_noise_ratio(data_range=255)`; PSNR of luma, or the mean over channels, are
    other numbers.

    Args:
        real: (H, W, 3) uint8 RGB.
        generated: the same.

    Returns:
        dB, 0 to about 48.13 + 10 log10(H W 3) (one value off by one), and inf for identical
        pictures.

    Raises:
        ValueError: they are no pictures or differ in size.
    """
    mse = mean_squared_error(real, generated)
    return 10.0 * math.log10(255.0**2 / mse) if mse > 0 else math.inf
