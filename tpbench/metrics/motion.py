"""Motion ratio: how much of the real video's motion the generated one has."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2

from tpbench.metrics.pictures import check_pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionStatistics:
    """What a motion ratio is made of."""

    real_total: float = 0.0
    """Sum of the real frames' motion, in grey levels."""

    generated_total: float = 0.0
    """Sum of the generated frames' motion, in grey levels."""

    n_terms: int = 0
    """Frames that have one `delta` frames before them."""

    def __add__(self, other: MotionStatistics) -> MotionStatistics:
        """Pool the frames of both."""
        return MotionStatistics(
            real_total=self.real_total + other.real_total,
            generated_total=self.generated_total + other.generated_total,
            n_terms=self.n_terms + other.n_terms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionSummary:
    """Motion of a generated video against the real one's."""

    ratio: float
    """generated / real: 0 is frozen, 1 as much as the real one, more is flicker; NaN: `reason`."""

    real_motion: float
    """Mean |R_t - R_t-d| over pixels, channels and frames, in grey levels; NaN without terms."""

    generated_motion: float
    """The same of the generated video."""

    n_terms: int
    """Frames that have one `delta` frames before them."""

    reason: str | None
    """Why there is no ratio; None where there is one."""


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


def compute_motion(statistics: MotionStatistics) -> MotionSummary:
    """Return mean |G_t - G_t-d| / mean |R_t - R_t-d|.

    The ratio of the means and not the mean of ratios, so that frames in which the real person rests
    don't blow it up. Our own measure; it accompanies TJE, which a frozen video can win.
    """
    n_terms = statistics.n_terms
    if n_terms == 0:
        reason = "no frame has another one delta frames before it"
        return MotionSummary(
            ratio=math.nan,
            real_motion=math.nan,
            generated_motion=math.nan,
            n_terms=0,
            reason=reason,
        )
    still = statistics.real_total == 0
    return MotionSummary(
        ratio=math.nan if still else statistics.generated_total / statistics.real_total,
        real_motion=statistics.real_total / n_terms,
        generated_motion=statistics.generated_total / n_terms,
        n_terms=n_terms,
        reason="the real video doesn't change at all" if still else None,
    )


class Motion:
    """Accumulates the motion of a real and a generated video, holding `delta` + 1 pairs of frames.

    Frames are kept as they come, not copied: they must not be overwritten afterwards.

    Args:
        delta: distance of the frames compared.

    Raises:
        ValueError: delta is below 1.
    """

    def __init__(self, delta: int = 1) -> None:
        if delta < 1:
            message = f"delta is at least 1 frame, not {delta}"
            raise ValueError(message)
        self.delta = delta
        self.statistics = MotionStatistics()
        self._pairs: deque[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = deque(maxlen=delta + 1)

    def update(self, real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> tuple[float, float]:
        """Take in the next frame of both videos and return its motion.

        Returns:
            Motion of the real and of the generated frame in grey levels, see `frame_motion`; NaN
            for the first `delta` frames.

        Raises:
            ValueError: they are no pictures, differ in size, or differ from the frames before.
        """
        check_pair(real, generated)
        self._pairs.append((real, generated))
        if len(self._pairs) <= self.delta:
            return math.nan, math.nan
        real_before, generated_before = self._pairs[0]
        moved = frame_motion(real, real_before), frame_motion(generated, generated_before)
        self.statistics += MotionStatistics(
            real_total=moved[0], generated_total=moved[1], n_terms=1
        )
        return moved

    def compute(self) -> MotionSummary:
        """Return the summary of the frames so far; see `compute_motion`."""
        return compute_motion(self.statistics)

    def merge(self, other: Motion) -> None:
        """Pool with the frames of another video.

        Raises:
            ValueError: the other one compares frames at another distance.
        """
        if other.delta != self.delta:
            message = f"motion at delta {self.delta} can't be pooled with delta {other.delta}"
            raise ValueError(message)
        self.statistics += other.statistics
