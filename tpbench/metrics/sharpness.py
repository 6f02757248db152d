"""Sharpness drift: variance of the Laplacian, generated against real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from tpbench.metrics.pictures import check_picture, row_strips

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRIP_VALUES: Final = 49152
# Luma (BT.601) in thousandths: all that follows are integers below 2^24, which float32 holds
# exactly, so that a picture of one colour has variance 0 and not 1e-10.
_MILLILUMA: Final = np.array([[299, 587, 114]], dtype=np.float32)


def laplacian_variance(image: NDArray[np.uint8]) -> float:
    """Return the variance over pixels of the Laplacian of luma.

    Luma is 0.299 R + 0.587 G + 0.114 B, unrounded: rounding to 8 bit would add about 1.7 to the
    variance, which is not small for blurred pictures. The Laplacian is that of the four neighbours
    (0 1 0 / 1 -4 1 / 0 1 0), the picture being mirrored at its border rows and columns.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        Squared grey levels, 0 or more; 0 for a picture of one colour.

    Raises:
        ValueError: it is no picture.
    """
    check_picture(image, "given")
    height_px = image.shape[0]
    total, total_of_squares = 0.0, 0.0
    for rows in row_strips(image, values=_STRIP_VALUES):
        # A row more on either side, so that only the picture's own border is mirrored.
        top, bottom = max(rows.start - 1, 0), min(rows.stop + 1, height_px)
        luma = cv2.transform(image[top:bottom].astype(np.float32), _MILLILUMA)
        laplacian = cv2.Laplacian(luma, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REFLECT_101)
        laplacian = laplacian[rows.start - top : rows.stop - top]
        mean, deviation = (float(moment[0, 0]) for moment in cv2.meanStdDev(laplacian))
        total += laplacian.size * mean
        total_of_squares += laplacian.size * (deviation**2 + mean**2)
    n_pixels: int = height_px * image.shape[1]
    variance = total_of_squares / n_pixels - (total / n_pixels) ** 2
    return max(0.0, variance) / 1000**2
