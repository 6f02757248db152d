"""Burnt-out pictures."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import Evidence
from tpbench.extraction.filters.base import Direction, ScreeningFilter
from tpbench.extraction.statistics import finite_percentile


class Overexposed(ScreeningFilter):
    """How bright the brightest tenth of the span is."""

    __slots__ = ()

    code: ClassVar[str] = "image.too_bright"
    measurement: ClassVar[str] = "luminance_p90_levels"
    title: ClassVar[str] = "Mean luma, 90th percentile"
    unit: ClassVar[str] = "levels"
    direction: ClassVar[Direction] = "at_most"

    def measure(self, evidence: Evidence) -> float:
        """Return the 90th percentile over samples of the mean luma, 0..255."""
        return finite_percentile(evidence.luminance, 90)
