"""Sources too small to make a clip of."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import Evidence
from tpbench.extraction.filters.base import Direction, ScreeningFilter


class SourceSize(ScreeningFilter):
    """The shorter side of the source picture."""

    __slots__ = ()

    code: ClassVar[str] = "source.too_small"
    measurement: ClassVar[str] = "source_short_side_px"
    title: ClassVar[str] = "Shorter side of the source"
    unit: ClassVar[str] = "px"
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: Evidence) -> float:
        """Return min(width, height) of the source in px."""
        return float(min(evidence.width_px, evidence.height_px))
