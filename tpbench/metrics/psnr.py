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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2

from tpbench.metrics.pictures import check_pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CAP_DB: Final = 100.0
"""What PSNR of a frame counts as where it lies above, or is infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PsnrStatistics:
    """What the PSNR of a clip is made of."""

    total_db: float = 0.0
    """Sum over the frames, each capped."""

    n_frames: int = 0

    n_identical: int = 0
    """Of them, those that equal the real frame in every value."""

    def with_value(self, psnr_db: float) -> PsnrStatistics:
        """Return the statistics with one frame more; inf: it is identical to the real one."""
        return self + PsnrStatistics(
            total_db=capped(psnr_db), n_frames=1, n_identical=int(math.isinf(psnr_db))
        )

    def __add__(self, other: PsnrStatistics) -> PsnrStatistics:
        """Pool the frames of both."""
        return PsnrStatistics(
            total_db=self.total_db + other.total_db,
            n_frames=self.n_frames + other.n_frames,
            n_identical=self.n_identical + other.n_identical,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PsnrSummary:
    """PSNR of a clip."""

    psnr_db: float
    """Mean over the frames, each capped at `CAP_DB`; NaN where there is no frame."""

    identical_share: float
    """Share of the frames that are identical to the real ones; NaN without frames."""

    n_frames: int
    """Frames, identical ones included."""


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


def compute_psnr(statistics: PsnrStatistics) -> PsnrSummary:
    """Return the mean over frames of the per-frame PSNR, capped at `CAP_DB`.

    PSNR of the MSE pooled over frames is another number, never a larger one as long as no frame
    reaches the cap.
    """
    n_frames = statistics.n_frames
    if n_frames == 0:
        return PsnrSummary(psnr_db=math.nan, identical_share=math.nan, n_frames=0)
    return PsnrSummary(
        psnr_db=statistics.total_db / n_frames,
        identical_share=statistics.n_identical / n_frames,
        n_frames=n_frames,
    )


class Psnr:
    """Accumulates PSNR over the frames of a clip, or of many."""

    def __init__(self) -> None:
        self.statistics = PsnrStatistics()

    def update(self, real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
        """Take in one pair of pictures and return its own PSNR in dB, not capped; see `psnr`."""
        value = psnr(real, generated)
        self.statistics = self.statistics.with_value(value)
        return value

    def compute(self) -> PsnrSummary:
        """Return the summary of the frames so far; see `compute_psnr`."""
        return compute_psnr(self.statistics)

    def merge(self, other: Psnr) -> None:
        """Pool with the frames of another accumulator."""
        self.statistics += other.statistics
