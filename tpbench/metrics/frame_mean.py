"""The mean of a per-frame metric over the frames of a clip, or of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanStatistics:
    """What a mean over frames is made of."""

    total: float = 0.0
    """Sum of the frames' values."""

    n_frames: int = 0
    """Frames."""

    def with_value(self, value: float) -> MeanStatistics:
        """Return the statistics with one frame more."""
        return MeanStatistics(total=self.total + value, n_frames=self.n_frames + 1)

    def __add__(self, other: MeanStatistics) -> MeanStatistics:
        """Pool the frames of both."""
        return MeanStatistics(
            total=self.total + other.total, n_frames=self.n_frames + other.n_frames
        )


def compute_mean(statistics: MeanStatistics) -> float:
    """Return total / n_frames; NaN where there is no frame."""
    if statistics.n_frames == 0:
        return float("nan")
    return statistics.total / statistics.n_frames


class FrameMean:
    """Accumulates a per-frame metric: `FrameMean(ssim)`, `FrameMean(mean_absolute_error)`.

    Args:
        per_frame: value of one pair of pictures, real first.
    """

    def __init__(self, per_frame: Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]) -> None:
        self._per_frame = per_frame
        self.statistics = MeanStatistics()

    def update(self, real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
        """Take in one pair of (H, W, 3) uint8 RGB pictures and return its own value.

        Raises:
            ValueError: whatever the per-frame metric refuses.
        """
        value = self._per_frame(real, generated)
        self.statistics = self.statistics.with_value(value)
        return value

    def compute(self) -> float:
        """Return the mean over the frames so far; NaN where there is none."""
        return compute_mean(self.statistics)

    def merge(self, other: FrameMean) -> None:
        """Pool with the frames of another accumulator of the same metric.

        Raises:
            ValueError: the other one accumulates another metric.
        """
        if other._per_frame is not self._per_frame:
            message = f"{self._per_frame} can't be pooled with {other._per_frame}"
            raise ValueError(message)
        self.statistics += other.statistics
