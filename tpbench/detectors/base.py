"""What detectors see and say.

A detector takes a run of frames of one stretch and gives one answer a frame. Trackers inside it may
lean on earlier frames of the same stretch, so `reset` stands between stretches: what a detector
says of one stretch never depends on what it saw before. One process owns a detector; none is
thread-safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tpbench.video import Frame
from tpbench.wholebody import PoseSource

Side = Literal["left", "right"]
"""The person's own side, not the side of the picture."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceDetection:
    """One face."""

    box_px: NDArray[np.float32]
    """(4,) x0, y0, x1, y1 in px."""
    score: float
    """In [0, 1]."""
    eyes_px: NDArray[np.float32]
    """(2, 2) px: the person's own right eye, then the left eye."""
    nose_px: NDArray[np.float32]
    """(2,) px."""
    ears_px: NDArray[np.float32]
    """(2, 2) px: the person's own right ear (tragion), then the left ear."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HandDetection:
    """One hand. Sides are not settled here: that takes the wrists of a body."""

    keypoints_px: NDArray[np.float32]
    """(21, 2) px, wrist first, then thumb to little finger, as COCO-WholeBody has them."""
    score: float
    """In [0, 1]: how sure the model is that this is a hand."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PersonDetection:
    """One person's whole-body skeleton."""

    keypoints_px: NDArray[np.float32]
    """(133, 2) px in COCO-WholeBody order; NaN where a point was not found."""
    scores: NDArray[np.float32]
    """(133,) in [0, 1]; 0 where a point was not found."""
    body_wrists_px: NDArray[np.float32] | None = None
    """(2, 2) px: left and right wrist by the body model alone, where a model of hands has replaced
    them in `keypoints_px`; None where nothing replaces them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """All that one detector found in one frame; what it does not look for stays empty."""

    faces: tuple[FaceDetection, ...] = ()
    hands: tuple[HandDetection, ...] = ()
    people: tuple[PersonDetection, ...] = ()


class Detector(Protocol):
    """Finds something in the frames of one stretch."""

    @property
    def model_digest(self) -> str:
        """sha256 over the model files and settings that decide the answers."""
        ...

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Answer for each frame, in order. Frames of a stretch come with rising `time_s`."""
        ...

    def reset(self) -> None:
        """Forget the stretch: the next frame may come from anywhere."""
        ...

    def close(self) -> None:
        """Give back what the models hold. The detector is not used afterwards."""
        ...


class SkeletonDetector(Detector, Protocol):
    """A detector of whole-body skeletons: fills `people`, the most prominent person first."""

    @property
    def source(self) -> PoseSource:
        """Which family of models this is, as it stands in `WholeBodyPose.source`."""
        ...
