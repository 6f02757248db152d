"""Spans without a face."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import Evidence
from tpbench.extraction.filters.base import Direction, ScreeningFilter
from tpbench.extraction.statistics import lasting, share


class FacePresent(ScreeningFilter):
    """The share of frames that show a face."""

    __slots__ = ()

    code: ClassVar[str] = "face.missing"
    measurement: ClassVar[str] = "face_share"
    title: ClassVar[str] = "Frames with a face"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: Evidence) -> float:
        """Return the share of searched frames with a face, 0..1; lone frames without are let go."""
        return 1.0 - share(lasting(evidence.num_faces == 0))
