"""Skeletons whose lines come and go."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import ClipEvidence
from tpbench.extraction.filters.base import ClipFilter, Direction
from tpbench.extraction.steadying import switches


class SkeletonBlinking(ClipFilter):
    """How often the line of the pose drawing that switches most comes or goes."""

    __slots__ = ()

    code: ClassVar[str] = "skeleton.blinking"
    measurement: ClassVar[str] = "switch_rate_hz"
    title: ClassVar[str] = "Switches of the worst line"
    unit: ClassVar[str] = "per s"
    direction: ClassVar[Direction] = "at_most"

    def measure(self, evidence: ClipEvidence) -> float:
        """Return the switches of the worst part of the drawing per second; NaN for no frames."""
        if not evidence.n_frames:
            return float("nan")
        return max(switches(evidence.pose).values()) / evidence.duration_s
