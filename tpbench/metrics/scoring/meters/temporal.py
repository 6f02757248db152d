"""Meters that look back: jitter, motion, and likeness to earlier frames."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tpbench.metrics.lag import LAGS, LagCosines
from tpbench.metrics.motion import EarlierPairs, frame_motion
from tpbench.metrics.scoring.meters.base import Columns
from tpbench.metrics.tje import jitter_error

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tpbench.metrics.scoring.meters.base import ClipSetting, FrameChunk


class TjeMeter:
    """Terms of TJE, each on the later of its two frames; the first `delta` frames have none.

    Args:
        delta: distance of the frames compared.
    """

    def __init__(self, delta: int) -> None:
        self._earlier = EarlierPairs(delta)
        self._columns = Columns([f"tje_d{delta}"])

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for real, generated in zip(chunk.real, chunk.generated, strict=True):
            before = self._earlier.before(real, generated)
            self._columns.append(
                jitter_error(real, before[0], generated, before[1]) if before else math.nan
            )

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


class MotionMeter:
    """Motion of either clip since the frame before."""

    def __init__(self) -> None:
        self._earlier = EarlierPairs(1)
        self._columns = Columns(["motion_real", "motion_generated"])

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for real, generated in zip(chunk.real, chunk.generated, strict=True):
            before = self._earlier.before(real, generated)
            self._columns.append(
                frame_motion(real, before[0]) if before else math.nan,
                frame_motion(generated, before[1]) if before else math.nan,
            )

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


class LagMeter:
    """Cosine of each clip's frame to its own frames some lags before."""

    def __init__(self) -> None:
        self._real, self._generated = LagCosines(), LagCosines()
        self._columns = Columns(
            [f"lag_{side}_{lag}" for side in ("real", "generated") for lag in LAGS]
        )

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for real, generated in zip(chunk.real, chunk.generated, strict=True):
            self._columns.append(*self._real.update(real), *self._generated.update(generated))

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


def tje_d1_meter(_: ClipSetting) -> TjeMeter:
    """Return the meter of `tje_d1`."""
    return TjeMeter(1)


def tje_d2_meter(_: ClipSetting) -> TjeMeter:
    """Return the meter of `tje_d2`."""
    return TjeMeter(2)


def tje_d5_meter(_: ClipSetting) -> TjeMeter:
    """Return the meter of `tje_d5`."""
    return TjeMeter(5)


def motion_meter(_: ClipSetting) -> MotionMeter:
    """Return the meter of motion."""
    return MotionMeter()


def lag_meter(_: ClipSetting) -> LagMeter:
    """Return the meter of lag curves."""
    return LagMeter()
