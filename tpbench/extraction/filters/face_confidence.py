"""Faces that the detector itself doubts."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import Evidence
from tpbench.extraction.filters.base import Direction, ScreeningFilter
from tpbench.extraction.statistics import finite_median


class FaceConfidence(ScreeningFilter):
    """How sure the face detector is."""

    __slots__ = ()

    code: ClassVar[str] = "face.low_confidence"
    measurement: ClassVar[str] = "face_confidence"
    title: ClassVar[str] = "Face confidence"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: Evidence) -> float:
        """Return the median face score, 0..1; NaN without a face."""
        scores = evidence.face_scores
        return finite_median(scores)
