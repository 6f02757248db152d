"""Slide decks and other pages."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import Evidence
from tpbench.extraction.filters.base import Direction, ScreeningFilter
from tpbench.extraction.statistics import finite_median


class Slides(ScreeningFilter):
    """How much of the picture is a page: perfectly flat, and written or drawn upon."""

    __slots__ = ()

    code: ClassVar[str] = "overlay.slides"
    measurement: ClassVar[str] = "page_share"
    title: ClassVar[str] = "Area of slides and pages"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_most"

    def measure(self, evidence: Evidence) -> float:
        """Return the median over samples of the share of the picture that is a page, 0..1."""
        return finite_median(evidence.page_share)
