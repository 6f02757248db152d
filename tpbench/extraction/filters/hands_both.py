"""People of whom one hand is seldom seen."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tpbench.extraction.evidence import ClipEvidence
from tpbench.extraction.filters.base import ClipFilter, Direction
from tpbench.extraction.statistics import share


class HandsBoth(ClipFilter):
    """The share of frames in which both hands are seen."""

    __slots__ = ()

    code: ClassVar[str] = "hands.rarely_both"
    measurement: ClassVar[str] = "both_hands_share"
    title: ClassVar[str] = "Frames with both hands"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: ClipEvidence) -> float:
        """Return the share of frames with both hands, 0..1."""
        return share(np.all(evidence.hand_scores > 0, axis=1))
