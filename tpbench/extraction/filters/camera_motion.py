"""Hand-held, panning and shaken cameras."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tpbench.extraction.filters.base import ClipFilter, Direction

if TYPE_CHECKING:
    from tpbench.extraction.evidence import ClipEvidence


class CameraMotion(ClipFilter):
    """How fast the background moves."""

    __slots__ = ()

    code: ClassVar[str] = "motion.camera"
    measurement: ClassVar[str] = "camera_speed_share"
    title: ClassVar[str] = "Camera speed"
    unit: ClassVar[str] = "diagonals/s"
    direction: ClassVar[Direction] = "at_most"

    def measure(self, evidence: ClipEvidence) -> float:
        """Return the mean background speed in picture diagonals per second; NaN if unknown."""
        shifts = evidence.camera_shift_share
        if not np.isfinite(shifts).any():
            return float("nan")
        return float(np.nanmean(shifts)) * float(evidence.fps)
