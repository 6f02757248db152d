"""Black and night pictures."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import Evidence
from tpbench.extraction.filters.base import Direction, ScreeningFilter
from tpbench.extraction.statistics import finite_median


class Dark(ScreeningFilter):
    """How bright the span is at its median."""

    __slots__ = ()

    code: ClassVar[str] = "image.too_dark"
    measurement: ClassVar[str] = "luminance_levels"
    title: ClassVar[str] = "Mean luma"
    unit: ClassVar[str] = "levels"
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: Evidence) -> float:
        """Return the median over samples of the mean luma, 0..255."""
        return finite_median(evidence.luminance)
