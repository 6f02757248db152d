"""Faces too small to animate."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import Evidence
from tpbench.extraction.filters.base import Direction, ScreeningFilter
from tpbench.extraction.statistics import finite_median


class FaceSize(ScreeningFilter):
    """The height of the face."""

    __slots__ = ()

    code: ClassVar[str] = "face.too_small"
    measurement: ClassVar[str] = "face_height_px"
    title: ClassVar[str] = "Face height"
    unit: ClassVar[str] = "px"
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: Evidence) -> float:
        """Return the median height of the face box in source px; NaN without a face."""
        heights = evidence.face_height_px
        return finite_median(heights)
