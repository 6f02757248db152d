"""People who seldom face the camera."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tpbench.extraction.evidence import ClipEvidence
from tpbench.extraction.filters.base import ClipFilter, Direction
from tpbench.extraction.statistics import share

FRONTAL_DEG = 45.0
"""Up to here both eyes and the mouth are seen; peers use 30 for portraits, talks turn more."""


class FaceFrontal(ClipFilter):
    """The share of frames in which the face is turned towards the camera."""

    __slots__ = ()

    code: ClassVar[str] = "face.rarely_frontal"
    measurement: ClassVar[str] = "frontal_share"
    title: ClassVar[str] = "Frames facing the camera"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: ClipEvidence) -> float:
        """Return the share of all frames with |yaw| up to `FRONTAL_DEG`; no face is not frontal."""
        with np.errstate(invalid="ignore"):
            return share(np.abs(evidence.face_yaw_deg) <= FRONTAL_DEG)
