"""Hand-held, panning and shaken cameras."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from tpbench.extraction.evidence import ClipEvidence
from tpbench.extraction.filters.base import ClipFilter, Direction

KNOWN_SHARE: Final = 0.5
"""A verdict takes this share of frames. Before a plain wall a few have corners now and then: those
of whatever moves."""


class CameraMotion(ClipFilter):
    """How fast the background moves."""

    __slots__ = ()

    code: ClassVar[str] = "motion.camera"
    measurement: ClassVar[str] = "camera_speed_share"
    title: ClassVar[str] = "Camera speed"
    unit: ClassVar[str] = "diagonals/s"
    direction: ClassVar[Direction] = "at_most"

    def measure(self, evidence: ClipEvidence) -> float:
        """Return the mean background speed in picture diagonals per second.

        NaN where the background tells something in under half of the frames: a plain wall, say.
        """
        shifts = evidence.camera_shift_share
        if not shifts.size or np.isfinite(shifts).mean() < KNOWN_SHARE:
            return float("nan")
        return float(np.nanmean(shifts)) * float(evidence.fps)
