"""Filters on the face, and on the presence of a second one."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.dataset import Measurement
from tpbench.extraction.filters.base import (
    Filter,
    best_share,
    highest_percentile,
    lowest_percentile,
)
from tpbench.extraction.measures import ClipEvidence, Evidence, finite_median, lasting, share

FRONTAL_DEG: Final = 45.0
"""Up to here both eyes and the mouth are seen; others use 30 for portraits; speakers turn more."""


def frontal(seen: ClipEvidence) -> NDArray[np.bool_]:
    """Return in which frames |yaw| <= `FRONTAL_DEG`: (T,); one without a face is not frontal."""
    with np.errstate(invalid="ignore"):
        return np.abs(seen.face_yaw_deg) <= FRONTAL_DEG


SCREENING: Final[tuple[Filter[Evidence], ...]] = (
    Filter(
        measurement=Measurement(
            code="face.missing",
            name="face_share",
            title="Frames with a face",
            direction="at_least",
            meaning="The share of frames that show a face.",
        ),
        measure=lambda seen: 1.0 - share(lasting(seen.num_faces == 0)),
        per_frame=lambda seen: ~lasting(seen.num_faces == 0),
        best_case=lambda seen, unseen: best_share(~lasting(seen.num_faces == 0), unseen.frames),
    ),
    Filter(
        measurement=Measurement(
            code="person.multiple",
            name="multi_person_share",
            title="Frames with a second person",
            direction="at_most",
            meaning="The share of frames that show a second face of comparable size.",
        ),
        measure=lambda seen: share(lasting(seen.num_faces > 1)),
        per_frame=lambda seen: lasting(seen.num_faces > 1),
        best_case=lambda seen, unseen: (
            1.0 - best_share(~lasting(seen.num_faces > 1), unseen.frames)
        ),
    ),
    Filter(
        measurement=Measurement(
            code="face.too_small",
            name="face_height_px",
            title="Face height",
            unit="px",
            direction="at_least",
            meaning="The height of the face.",
        ),
        measure=lambda seen: finite_median(seen.face_height_px),
        per_frame=lambda seen: seen.face_height_px,
        best_case=lambda seen, unseen: highest_percentile(seen.face_height_px, 50, unseen.frames),
    ),
    Filter(
        measurement=Measurement(
            code="face.low_confidence",
            name="face_confidence",
            title="Face confidence",
            direction="at_least",
            meaning="How sure the face detector is.",
        ),
        measure=lambda seen: finite_median(seen.face_scores),
        per_frame=lambda seen: seen.face_scores,
        best_case=lambda seen, unseen: highest_percentile(seen.face_scores, 50, unseen.frames),
    ),
)

WHOLE: Final[tuple[Filter[ClipEvidence], ...]] = (
    Filter(
        measurement=Measurement(
            code="face.turned",
            name="face_yaw_deg",
            title="Head turn (median)",
            unit="deg",
            direction="at_most",
            meaning="How far the head is turned at its median.",
        ),
        measure=lambda seen: finite_median(np.abs(seen.face_yaw_deg)),
        per_frame=lambda seen: np.abs(seen.face_yaw_deg),
        best_case=lambda seen, unseen: lowest_percentile(
            np.abs(seen.face_yaw_deg), 50, unseen.frames
        ),
    ),
    Filter(
        measurement=Measurement(
            code="face.rarely_frontal",
            name="frontal_share",
            title="Frames facing the camera",
            direction="at_least",
            meaning="The share of frames in which the face is turned towards the camera.",
        ),
        measure=lambda seen: share(frontal(seen)),
        per_frame=frontal,
        best_case=lambda seen, unseen: best_share(frontal(seen), unseen.frames),
    ),
    Filter(
        measurement=Measurement(
            code="image.blurred",
            name="face_sharpness",
            title="Face sharpness",
            direction="at_least",
            meaning="How sharp the face is.",
        ),
        measure=lambda seen: finite_median(seen.face_sharpness),
        per_frame=lambda seen: seen.face_sharpness,
        best_case=lambda seen, unseen: highest_percentile(seen.face_sharpness, 50, unseen.frames),
    ),
)
