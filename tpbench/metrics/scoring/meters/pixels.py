"""Meters of single frames: one function, one column."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tpbench.metrics.l1 import disco_l1, mean_absolute_error
from tpbench.metrics.psnr import CAP_DB, capped, psnr
from tpbench.metrics.scoring.meters.base import Columns
from tpbench.metrics.ssim import disco_ssim, ssim

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from tpbench.metrics.scoring.meters.base import ClipSetting, FrameChunk


class PsnrMeter:
    """PSNR of each pair of frames, capped, and whether they are identical (1) or not (0)."""

    def __init__(self) -> None:
        self._columns = Columns(["psnr", "identical"])

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for real, generated in zip(chunk.real, chunk.generated, strict=True):
            value = psnr(real, generated)
            self._columns.append(capped(value), float(math.isinf(value)))

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


class FrameMeter:
    """Asks one function about each pair of frames.

    Args:
        column: its name.
        function: of the real and the generated picture.
    """

    def __init__(
        self, column: str, function: Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]
    ) -> None:
        self._columns = Columns([column])
        self._function = function

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for real, generated in zip(chunk.real, chunk.generated, strict=True):
            self._columns.append(self._function(real, generated))

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


def disco_psnr(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    """Return PSNR of one frame in dB as DisCo's script has it: 100 for identical frames only.

    Raises:
        ValueError: they are no pictures or differ in size.
    """
    value = psnr(real, generated)
    return CAP_DB if math.isinf(value) else value


def psnr_meter(_: ClipSetting) -> PsnrMeter:
    """Return the meter of `psnr` and `identical`."""
    return PsnrMeter()


def ssim_meter(_: ClipSetting) -> FrameMeter:
    """Return the meter of `ssim`."""
    return FrameMeter("ssim", ssim)


def l1_meter(_: ClipSetting) -> FrameMeter:
    """Return the meter of `l1`."""
    return FrameMeter("l1", mean_absolute_error)


def disco_psnr_meter(_: ClipSetting) -> FrameMeter:
    """Return the meter of `disco_psnr`."""
    return FrameMeter("disco_psnr", disco_psnr)


def disco_ssim_meter(_: ClipSetting) -> FrameMeter:
    """Return the meter of `disco_ssim`."""
    return FrameMeter("disco_ssim", disco_ssim)


def disco_l1_meter(_: ClipSetting) -> FrameMeter:
    """Return the meter of `disco_l1`."""
    return FrameMeter("disco_l1", disco_l1)
