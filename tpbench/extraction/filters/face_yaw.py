"""People who look away."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tpbench.extraction.evidence import ClipEvidence
from tpbench.extraction.filters.base import ClipFilter, Direction
from tpbench.extraction.statistics import finite_median


class FaceYaw(ClipFilter):
    """How far the head is turned at its median."""

    __slots__ = ()

    code: ClassVar[str] = "face.turned"
    measurement: ClassVar[str] = "face_yaw_deg"
    title: ClassVar[str] = "Head turn (median)"
    unit: ClassVar[str] = "deg"
    direction: ClassVar[Direction] = "at_most"

    def measure(self, evidence: ClipEvidence) -> float:
        """Return the median absolute yaw in degrees; NaN without a face."""
        yaw = np.abs(evidence.face_yaw_deg)
        return finite_median(yaw)
