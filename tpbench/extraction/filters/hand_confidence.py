"""Hands that the detector itself doubts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tpbench.extraction.filters.base import ClipFilter, Direction
from tpbench.extraction.statistics import finite_median

if TYPE_CHECKING:
    from tpbench.extraction.evidence import ClipEvidence


class HandConfidence(ClipFilter):
    """How sure the hand detector is."""

    __slots__ = ()

    code: ClassVar[str] = "hands.low_confidence"
    measurement: ClassVar[str] = "hand_confidence"
    title: ClassVar[str] = "Hand confidence"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: ClipEvidence) -> float:
        """Return the median score of the hands that were seen, 0..1; NaN when none was."""
        seen = evidence.hand_scores[evidence.hand_scores > 0]
        return finite_median(seen)
