"""Slide decks and other pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tpbench.extraction.filters.base import Direction, ScreeningFilter
from tpbench.extraction.statistics import finite_median

if TYPE_CHECKING:
    from tpbench.extraction.evidence import Evidence


class Slides(ScreeningFilter):
    """How much of the picture is perfectly flat, as paper is."""

    __slots__ = ()

    code: ClassVar[str] = "overlay.slides"
    measurement: ClassVar[str] = "flat_share"
    title: ClassVar[str] = "Flat picture area"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_most"

    def measure(self, evidence: Evidence) -> float:
        """Return the median over samples of the flat, not black share of the picture, 0..1."""
        return finite_median(evidence.flat_share)
