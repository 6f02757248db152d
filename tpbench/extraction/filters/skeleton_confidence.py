"""Skeletons that the detector itself doubts."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import ClipEvidence
from tpbench.extraction.filters.base import ClipFilter, Direction
from tpbench.extraction.statistics import finite_median
from tpbench.wholebody import LEFT_EYE, LEFT_SHOULDER, NOSE, RIGHT_EYE, RIGHT_WRIST


class SkeletonConfidence(ClipFilter):
    """How sure the skeleton detector is of the upper body."""

    __slots__ = ()

    code: ClassVar[str] = "skeleton.low_confidence"
    measurement: ClassVar[str] = "skeleton_confidence"
    title: ClassVar[str] = "Upper-body skeleton confidence"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: ClipEvidence) -> float:
        """Return the median over frames of the mean score of eyes, nose and arm joints, 0..1."""
        joints = [NOSE, LEFT_EYE, RIGHT_EYE, *range(LEFT_SHOULDER, RIGHT_WRIST + 1)]
        return finite_median(evidence.pose.scores[:, joints].mean(axis=1))
