"""The meter of pose accuracy: skeletons found again in the generated frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tpbench.metrics.pose_accuracy import pose_statistics
from tpbench.metrics.scoring.meters.base import Columns
from tpbench.metrics.scoring.meters.table import METERS, POSE_PARTS, POSE_SUMS
from tpbench.metrics.scoring.skeletons import SkeletonFinder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tpbench.metrics.scoring.meters.base import ClipSetting, FrameChunk


class PoseMeter:
    """Sums of each part and frame, from which AKD, PCK and missing rates are made.

    Args:
        finder: of the generated clip's skeletons.
    """

    def __init__(self, finder: SkeletonFinder) -> None:
        self._columns = Columns(METERS["pose"].columns)
        self._finder = finder

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        real = chunk.real_skeletons()
        found = self._finder.find(chunk.generated)
        for at, image in enumerate(chunk.real):
            parts = pose_statistics(
                real.keypoints[at],
                real.scores[at],
                found.keypoints[at],
                found.scores[at],
                width_px=image.shape[1],
                height_px=image.shape[0],
            )
            self._columns.append(
                *(
                    float(getattr(getattr(parts, part), name))
                    for part in POSE_PARTS
                    for name in POSE_SUMS
                )
            )

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


def pose_meter(setting: ClipSetting) -> PoseMeter:
    """Return the meter of pose accuracy."""
    return PoseMeter(SkeletonFinder(setting.toolbox.suite("generated"), setting.fps))
