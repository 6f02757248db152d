"""Conversations, audiences, screens within screens."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import Evidence
from tpbench.extraction.filters.base import Direction, ScreeningFilter
from tpbench.extraction.statistics import lasting, share


class SinglePerson(ScreeningFilter):
    """The share of frames that show a second face of comparable size."""

    __slots__ = ()

    code: ClassVar[str] = "person.multiple"
    measurement: ClassVar[str] = "multi_person_share"
    title: ClassVar[str] = "Frames with a second person"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_most"

    def measure(self, evidence: Evidence) -> float:
        """Return the share of searched frames with two prominent faces, 0..1, but for lone ones."""
        return share(lasting(evidence.num_faces > 1))
