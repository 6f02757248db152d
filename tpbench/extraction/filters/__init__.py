"""The filters, one small file each, and the order they are asked in."""

from __future__ import annotations

from typing import Final

from tpbench.extraction.filters.base import ClipFilter, ScreeningFilter
from tpbench.extraction.filters.camera_motion import CameraMotion
from tpbench.extraction.filters.darkness import Dark
from tpbench.extraction.filters.face_confidence import FaceConfidence
from tpbench.extraction.filters.face_frontal import FaceFrontal
from tpbench.extraction.filters.face_present import FacePresent
from tpbench.extraction.filters.face_sharpness import FaceSharpness
from tpbench.extraction.filters.face_size import FaceSize
from tpbench.extraction.filters.face_yaw import FaceYaw
from tpbench.extraction.filters.framing import UpperBodyFraming
from tpbench.extraction.filters.hand_confidence import HandConfidence
from tpbench.extraction.filters.hand_sharpness import HandSharpness
from tpbench.extraction.filters.hands_both import HandsBoth
from tpbench.extraction.filters.hands_visible import HandsVisible
from tpbench.extraction.filters.identity import Identity
from tpbench.extraction.filters.length import Length
from tpbench.extraction.filters.overexposure import Overexposed
from tpbench.extraction.filters.overlaid_text import OverlaidText
from tpbench.extraction.filters.single_person import SinglePerson
from tpbench.extraction.filters.skeleton_blinking import SkeletonBlinking
from tpbench.extraction.filters.skeleton_confidence import SkeletonConfidence
from tpbench.extraction.filters.skeleton_jitter import SkeletonJitter
from tpbench.extraction.filters.slides import Slides
from tpbench.extraction.filters.source_size import SourceSize
from tpbench.extraction.filters.still import Still

SCREENING_FILTERS: Final[tuple[type[ScreeningFilter], ...]] = (
    SourceSize,
    Length,
    Dark,
    Overexposed,
    Still,
    Slides,
    OverlaidText,
    FacePresent,
    SinglePerson,
    FaceSize,
    FaceConfidence,
)
"""Asked first, on two pictures a second; a span that one of them rejects costs nothing further."""

CLIP_FILTERS: Final[tuple[type[ClipFilter], ...]] = (
    FaceYaw,
    FaceFrontal,
    FaceSharpness,
    UpperBodyFraming,
    SkeletonConfidence,
    SkeletonJitter,
    SkeletonBlinking,
    HandsVisible,
    HandsBoth,
    HandConfidence,
    HandSharpness,
    CameraMotion,
    Identity,
)
"""Asked, together with the others once more, on every frame of the tracked person."""

ALL_FILTERS: Final[tuple[type[ScreeningFilter | ClipFilter], ...]] = (
    *SCREENING_FILTERS,
    *CLIP_FILTERS,
)

__all__ = ["ALL_FILTERS", "CLIP_FILTERS", "SCREENING_FILTERS", "ClipFilter", "ScreeningFilter"]
