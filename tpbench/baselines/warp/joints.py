"""The points of a pose that the warp uses, and what they are joined to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.wholebody import (
    FACE,
    LEFT_EAR,
    LEFT_ELBOW,
    LEFT_EYE,
    LEFT_HAND,
    LEFT_HIP,
    LEFT_SHOULDER,
    LEFT_WRIST,
    NOSE,
    RIGHT_EAR,
    RIGHT_ELBOW,
    RIGHT_EYE,
    RIGHT_HAND,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    VISIBLE_SCORE,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tpbench.wholebody import WholeBodyPose

    Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Where the points of one arm stand among the 133."""

    shoulder: int
    elbow: int
    wrist: int
    hand: slice


ARMS: Final = (
    Arm(shoulder=LEFT_SHOULDER, elbow=LEFT_ELBOW, wrist=LEFT_WRIST, hand=LEFT_HAND),
    Arm(shoulder=RIGHT_SHOULDER, elbow=RIGHT_ELBOW, wrist=RIGHT_WRIST, hand=RIGHT_HAND),
)
HEAD: Final = (NOSE, LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR)
TORSO: Final = (LEFT_SHOULDER, RIGHT_SHOULDER, RIGHT_HIP, LEFT_HIP)
"""In the order of an outline."""

BONES_OF_HAND: Final = tuple(
    (0 if step == 0 else 4 * finger + step, 4 * finger + step + 1)
    for finger in range(5)
    for step in range(4)
)
PALM: Final = (0, 1, 5, 9, 13, 17)

_MAX_SIZES_OUT: Final = 16
_SMALLEST_UNIT_PX: Final = 8.0


def visible_points(pose: WholeBodyPose, index: int) -> Points:
    """Return (133, 2) float64 px of one frame, NaN where a point is not seen.

    Not seen is what a DWPose drawing doesn't show: points that are not finite, more than 16
    picture sizes out, or scored too low.
    """
    points = pose.keypoints[index].astype(np.float64)
    reach_px = _MAX_SIZES_OUT * max(pose.width_px, pose.height_px)
    near = (np.abs(points) < reach_px).all(axis=-1)
    points[~(near & (pose.scores[index] >= VISIBLE_SCORE))] = np.nan
    return np.asarray(points)


def visible(points: Points) -> NDArray[np.bool_]:
    """Return (...,) whether points (..., 2) are seen."""
    finite: NDArray[np.bool_] = np.isfinite(points[..., 0])
    return finite


def shows_a_person(points: Points) -> bool:
    """Return whether (133, 2) points have a face or both shoulders, and some size."""
    return body_unit_px(points) >= _SMALLEST_UNIT_PX


def face_height(points: Points) -> float:
    """Return brows to chin in px, or twice the way from nose to eyes without face points; or 0."""
    face = points[FACE][visible(points[FACE])]
    if len(face) >= 2:
        return float(np.ptp(face[:, 1]))
    head = points[list(HEAD)][visible(points[list(HEAD)])]
    return 2.0 * float(max(np.ptp(head[:, 0]), np.ptp(head[:, 1]))) if len(head) >= 2 else 0.0


def body_unit_px(points: Points) -> float:
    """Return about the width of the shoulders from in front: what lengths are measured in.

    A person who stands sideways shows narrow shoulders; twice the face's height stands in then.
    """
    shoulders = points[LEFT_SHOULDER] - points[RIGHT_SHOULDER]
    width = float(np.hypot(*shoulders))
    return max(0.0 if np.isnan(width) else width, 2.0 * face_height(points))
