"""Spans in which one person turns into another."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import ClipEvidence
from tpbench.extraction.filters.base import ClipFilter, Direction
from tpbench.extraction.statistics import finite_percentile


class Identity(ClipFilter):
    """How far the person's looks drift away from the start of the track."""

    __slots__ = ()

    code: ClassVar[str] = "person.changed"
    measurement: ClassVar[str] = "appearance_change"
    title: ClassVar[str] = "Change of appearance"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_most"

    def measure(self, evidence: ClipEvidence) -> float:
        """Return the 95th percentile of the appearance change over the clip, 0..1."""
        change = evidence.appearance_change
        return finite_percentile(change, 95)
