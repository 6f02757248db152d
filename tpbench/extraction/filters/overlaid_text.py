"""Captions and titles burnt into the picture."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import Evidence
from tpbench.extraction.filters.base import Direction, ScreeningFilter


class OverlaidText(ScreeningFilter):
    """How much of the picture lasting text covers."""

    __slots__ = ()

    code: ClassVar[str] = "overlay.text"
    measurement: ClassVar[str] = "text_share"
    title: ClassVar[str] = "Area of lasting text"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_most"

    def measure(self, evidence: Evidence) -> float:
        """Return the share of the picture under text that stands half of the span or longer."""
        return evidence.text_share
