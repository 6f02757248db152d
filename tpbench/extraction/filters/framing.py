"""Framings that are no upper body."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tpbench.extraction.evidence import ClipEvidence
from tpbench.extraction.filters.base import ClipFilter, Direction
from tpbench.extraction.statistics import share
from tpbench.wholebody import (
    LEFT_ELBOW,
    LEFT_SHOULDER,
    RIGHT_ELBOW,
    RIGHT_SHOULDER,
    VISIBLE_SCORE,
)


class UpperBodyFraming(ClipFilter):
    """The share of frames in which shoulders and elbows are seen inside the picture."""

    __slots__ = ()

    code: ClassVar[str] = "framing.not_upper_body"
    measurement: ClassVar[str] = "upper_body_share"
    title: ClassVar[str] = "Frames with shoulders and elbows"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: ClipEvidence) -> float:
        """Return the share of frames with all four joints seen and inside the picture, 0..1."""
        joints = [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW, RIGHT_ELBOW]
        points = evidence.pose.keypoints[:, joints]
        size = np.array([evidence.width_px, evidence.height_px])
        with np.errstate(invalid="ignore"):
            inside = ((points >= 0) & (points <= size - 1)).all(axis=2)
        seen = evidence.pose.scores[:, joints] > VISIBLE_SCORE
        return share(np.all(inside & seen, axis=1))
