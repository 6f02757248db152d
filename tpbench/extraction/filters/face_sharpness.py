"""Pictures out of focus, smeared or blown up."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import ClipEvidence
from tpbench.extraction.filters.base import ClipFilter, Direction
from tpbench.extraction.statistics import finite_median


class FaceSharpness(ClipFilter):
    """How sharp the face is."""

    __slots__ = ()

    code: ClassVar[str] = "image.blurred"
    measurement: ClassVar[str] = "face_sharpness"
    title: ClassVar[str] = "Face sharpness"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: ClipEvidence) -> float:
        """Return the median sharpness of the face; NaN when none was seen."""
        return finite_median(evidence.face_sharpness)
