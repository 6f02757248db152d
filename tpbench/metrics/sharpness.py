"""Sharpness drift: variance of the Laplacian, generated against real."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from tpbench.metrics.pictures import check_pair, check_picture, row_strips

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRIP_VALUES: Final = 49152
# Luma (BT.601) in thousandths: all that follows are integers below 2^24, which float32 holds
# exactly, so that a picture of one colour has variance 0 and not 1e-10.
_MILLILUMA: Final = np.array([[299, 587, 114]], dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharpnessStatistics:
    """What a sharpness ratio is made of."""

    real_total: float = 0.0
    """Sum over the real frames of the Laplacian's variance, in squared grey levels."""

    generated_total: float = 0.0
    """The same of the generated frames."""

    n_frames: int = 0
    """Frames."""

    def __add__(self, other: SharpnessStatistics) -> SharpnessStatistics:
        """Pool the frames of both."""
        return SharpnessStatistics(
            real_total=self.real_total + other.real_total,
            generated_total=self.generated_total + other.generated_total,
            n_frames=self.n_frames + other.n_frames,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SharpnessSummary:
    """Sharpness of a generated clip against the real one's."""

    ratio: float
    """generated / real: below 1 is blurred, above is noisy or oversharpened; NaN: `reason`."""

    real_variance: float
    """Mean over the real frames of the Laplacian's variance; NaN without frames."""

    generated_variance: float
    """The same of the generated frames."""

    n_frames: int
    """Frames."""

    reason: str | None
    """Why there is no ratio; None where there is one."""


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


def sharpness_ratio(real_variance: float, generated_variance: float) -> float:
    """Return generated / real; NaN where the real one has no edge at all."""
    return generated_variance / real_variance if real_variance > 0 else math.nan


def compute_sharpness(statistics: SharpnessStatistics) -> SharpnessSummary:
    """Return mean variance of the generated frames over that of the real ones.

    The ratio of the means and not the mean of ratios, so that a real frame that is nearly flat (a
    fade) doesn't blow it up.
    """
    n_frames = statistics.n_frames
    if n_frames == 0:
        return SharpnessSummary(
            ratio=math.nan,
            real_variance=math.nan,
            generated_variance=math.nan,
            n_frames=0,
            reason="there is no frame",
        )
    flat = statistics.real_total <= 0
    return SharpnessSummary(
        ratio=sharpness_ratio(statistics.real_total, statistics.generated_total),
        real_variance=statistics.real_total / n_frames,
        generated_variance=statistics.generated_total / n_frames,
        n_frames=n_frames,
        reason="the real frames have no edges" if flat else None,
    )


class Sharpness:
    """Accumulates sharpness over the frames of a clip, or of many."""

    def __init__(self) -> None:
        self.statistics = SharpnessStatistics()

    def update(self, real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
        """Take in one pair of (H, W, 3) uint8 RGB pictures and return its own ratio.

        Returns:
            See `sharpness_ratio`.

        Raises:
            ValueError: they are no pictures or differ in size.
        """
        check_pair(real, generated)
        of_real, of_generated = laplacian_variance(real), laplacian_variance(generated)
        self.statistics += SharpnessStatistics(
            real_total=of_real, generated_total=of_generated, n_frames=1
        )
        return sharpness_ratio(of_real, of_generated)

    def compute(self) -> SharpnessSummary:
        """Return the summary of the frames so far; see `compute_sharpness`."""
        return compute_sharpness(self.statistics)

    def merge(self, other: Sharpness) -> None:
        """Pool with the frames of another accumulator."""
        self.statistics += other.statistics
