"""Hands smeared by motion or compression."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import ClipEvidence
from tpbench.extraction.filters.base import ClipFilter, Direction
from tpbench.extraction.statistics import finite_median


class HandSharpness(ClipFilter):
    """How sharp the hands are."""

    __slots__ = ()

    code: ClassVar[str] = "hands.blurred"
    measurement: ClassVar[str] = "hand_sharpness"
    title: ClassVar[str] = "Hand sharpness"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: ClipEvidence) -> float:
        """Return the median sharpness of the hands that were seen; NaN when none was."""
        return finite_median(evidence.hand_sharpness)
