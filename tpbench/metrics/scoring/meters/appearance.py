"""Meters of colour and sharpness, which drift without any network seeing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tpbench.metrics.colour import colour_shift, lab_statistics
from tpbench.metrics.scoring.meters.base import Columns
from tpbench.metrics.sharpness import laplacian_variance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tpbench.metrics.scoring.meters.base import ClipSetting, FrameChunk


class ColourMeter:
    """Shift of the mean and of the spread of L*, a*, b*, and the distance of the mean colours."""

    def __init__(self) -> None:
        names = [f"colour_{kind}_{axis}" for kind in ("shift", "spread") for axis in "lab"]
        self._columns = Columns([*names, "colour_delta_e"])

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for real, generated in zip(chunk.real, chunk.generated, strict=True):
            shift = colour_shift(lab_statistics(real), lab_statistics(generated))
            self._columns.append(*shift.mean, *shift.spread, shift.delta_e)

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


class SharpnessMeter:
    """Variance of the Laplacian of either frame."""

    def __init__(self) -> None:
        self._columns = Columns(["sharpness_real", "sharpness_generated"])

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for real, generated in zip(chunk.real, chunk.generated, strict=True):
            self._columns.append(laplacian_variance(real), laplacian_variance(generated))

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


def colour_meter(_: ClipSetting) -> ColourMeter:
    """Return the meter of colours."""
    return ColourMeter()


def sharpness_meter(_: ClipSetting) -> SharpnessMeter:
    """Return the meter of sharpness."""
    return SharpnessMeter()
