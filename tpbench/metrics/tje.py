"""Temporal jitter error (TJE): does the generated video change where and as much as the real one?

Two things to know about it. It is blind to the sign: motion played backwards scores 0. And a frozen
video scores just the mean motion of the real one, which may be better than an honest attempt: read
it beside the motion ratio (`tpbench.metrics.motion`). Re-encoding alone costs up to 1.75 levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2

from tpbench.metrics.pictures import check_pair, row_strips

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
