"""Skeletons that tremble."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tpbench.extraction.evidence import ClipEvidence
from tpbench.extraction.filters.base import ClipFilter, Direction
from tpbench.extraction.statistics import finite_median
from tpbench.wholebody import (
    LEFT_ELBOW,
    LEFT_SHOULDER,
    RIGHT_ELBOW,
    RIGHT_SHOULDER,
    VISIBLE_SCORE,
)


class SkeletonJitter(ClipFilter):
    """How much shoulders and elbows tremble from frame to frame."""

    __slots__ = ()

    code: ClassVar[str] = "skeleton.jitter"
    measurement: ClassVar[str] = "skeleton_jitter_share"
    title: ClassVar[str] = "Skeleton jitter"
    unit: ClassVar[str] = "shoulder widths"
    direction: ClassVar[Direction] = "at_most"

    def measure(self, evidence: ClipEvidence) -> float:
        """Return the median joint acceleration in shoulder widths per frame squared.

        The acceleration of a joint is |p[t+1] - 2 p[t] + p[t-1]|, the shoulder width is the median
        of the span. NaN under three frames, and where both shoulders are never seen together.
        """
        joints = [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW, RIGHT_ELBOW]
        points = evidence.pose.keypoints[:, joints].astype(np.float64)
        points[evidence.pose.scores[:, joints] <= VISIBLE_SCORE] = np.nan
        width = finite_median(np.linalg.norm(points[:, 0] - points[:, 1], axis=1))
        steps = np.linalg.norm(points[2:] - 2 * points[1:-1] + points[:-2], axis=2)
        if not width > 0:
            return float("nan")
        return finite_median(steps) / width
