"""Spans too short for a benchmark about long clips."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import Evidence
from tpbench.extraction.filters.base import Direction, ScreeningFilter


class Length(ScreeningFilter):
    """The number of frames of the span."""

    __slots__ = ()

    code: ClassVar[str] = "clip.too_short"
    measurement: ClassVar[str] = "length_frames"
    title: ClassVar[str] = "Length"
    unit: ClassVar[str] = "frames"
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: Evidence) -> float:
        """Return the number of frames on the constant-rate timeline."""
        return float(evidence.n_frames)
