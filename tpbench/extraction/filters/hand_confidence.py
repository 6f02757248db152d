"""Hands that the detector itself doubts."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import ClipEvidence
from tpbench.extraction.filters.base import ClipFilter, Direction
from tpbench.extraction.statistics import finite_percentile


class HandConfidence(ClipFilter):
    """How sure the hand detector is in its worst tenth."""

    __slots__ = ()

    code: ClassVar[str] = "hands.low_confidence"
    measurement: ClassVar[str] = "hand_confidence"
    title: ClassVar[str] = "Hand confidence"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: ClipEvidence) -> float:
        """Return the 10th percentile of the scores of the hands seen, 0..1; NaN if none was."""
        seen = evidence.hand_scores[evidence.hand_scores > 0]
        return finite_percentile(seen, 10)
