"""Meters of LPIPS on whole frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tpbench.metrics.scoring.meters.base import Columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tpbench.metrics.lpips_distance import LpipsDistance
    from tpbench.metrics.scoring.meters.base import ClipSetting, FrameChunk


class LpipsMeter:
    """LPIPS of each pair of frames.

    Args:
        column: its name.
        network: what measures.
    """

    def __init__(self, column: str, network: LpipsDistance) -> None:
        self._columns = Columns([column])
        self._network = network

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for value in self._network.distances(np.stack(chunk.real), np.stack(chunk.generated)):
            self._columns.append(float(value))

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


def alex_meter(setting: ClipSetting) -> LpipsMeter:
    """Return the meter of `lpips`."""
    return LpipsMeter("lpips_alex", setting.toolbox.lpips("alex", "signed"))


def vgg_meter(setting: ClipSetting) -> LpipsMeter:
    """Return the meter of `lpips_vgg`."""
    return LpipsMeter("lpips_vgg", setting.toolbox.lpips("vgg", "signed"))


def disco_meter(setting: ClipSetting) -> LpipsMeter:
    """Return the meter of `disco_lpips`: VGG that gets [0, 1]."""
    return LpipsMeter("disco_lpips", setting.toolbox.lpips("vgg", "unit"))
