"""People whose hands are out of the picture."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tpbench.extraction.evidence import ClipEvidence
from tpbench.extraction.filters.base import ClipFilter, Direction
from tpbench.extraction.statistics import share


class HandsVisible(ClipFilter):
    """The share of frames in which at least one hand is seen."""

    __slots__ = ()

    code: ClassVar[str] = "hands.hidden"
    measurement: ClassVar[str] = "one_hand_share"
    title: ClassVar[str] = "Frames with a hand"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: ClipEvidence) -> float:
        """Return the share of frames with one hand or two, 0..1."""
        return share(np.any(evidence.hand_scores > 0, axis=1))
