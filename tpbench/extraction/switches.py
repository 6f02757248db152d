"""How often the lines of a pose drawing come and go."""

from __future__ import annotations

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

_NECK: Final = (LEFT_SHOULDER, RIGHT_SHOULDER)
_LEFT_KNEE, _RIGHT_KNEE, _LEFT_ANKLE, _RIGHT_ANKLE = 13, 14, 15, 16

_LINES: Final[dict[str, tuple[tuple[int, ...], ...]]] = {
    "head": (
        (*_NECK, NOSE),
        (NOSE, LEFT_EYE),
        (NOSE, RIGHT_EYE),
        (LEFT_EYE, LEFT_EAR),
        (RIGHT_EYE, RIGHT_EAR),
    ),
    "shoulders": (_NECK,),
    "left_arm": ((LEFT_SHOULDER, LEFT_ELBOW), (LEFT_ELBOW, LEFT_WRIST)),
    "right_arm": ((RIGHT_SHOULDER, RIGHT_ELBOW), (RIGHT_ELBOW, RIGHT_WRIST)),
    "left_hip": ((*_NECK, LEFT_HIP),),
    "right_hip": ((*_NECK, RIGHT_HIP),),
    "legs": (
        (LEFT_HIP, _LEFT_KNEE),
        (RIGHT_HIP, _RIGHT_KNEE),
        (_LEFT_KNEE, _LEFT_ANKLE),
        (_RIGHT_KNEE, _RIGHT_ANKLE),
    ),
}
"""The body's lines of the drawing by part, each with the joints that must be seen. The neck is the
middle of both shoulders."""

_CLOUDS: Final = {"face": FACE, "left_hand": LEFT_HAND, "right_hand": RIGHT_HAND}

PARTS: Final = (*_LINES, *_CLOUDS)
"""What is counted separately. Sides are the person's own."""


SWITCH_COUNTS: Final = {part: f"{part}_switches" for part in PARTS}
"""Part -> name of its measurement in the manifest."""


def switches(pose: WholeBodyPose) -> dict[str, int]:
    """Count how often each part of the drawing appears or disappears from one frame to the next.

    A line of the body is drawn while the scores of its joints are above 0.3; of the lines of a part
    the one that switches most counts. Face and hands are drawn while any of their points is, with a
    score of 0.3 or more. That a line leaves the picture with its joint is no switch as long as the
    joint is known.

    Args:
        pose: one person over T frames.

    Returns:
        For each of `PARTS` a number from 0 to T - 1.
    """
    known = np.all(np.isfinite(pose.keypoints), axis=2)
    # The drawing compares joints in float64 and dots in float32.
    joints = known & (pose.scores.astype(np.float64) > VISIBLE_SCORE)
    counted = {
        part: max(_changes(np.all(joints[:, list(line)], axis=1)) for line in lines)
        for part, lines in _LINES.items()
    }
    dots = known & (pose.scores >= VISIBLE_SCORE)
    return counted | {part: _changes(np.any(dots[:, at], axis=1)) for part, at in _CLOUDS.items()}


def _changes(drawn: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(drawn[1:] != drawn[:-1]))


def switch_counts(pose: WholeBodyPose) -> dict[str, float]:
    """Return `switches` as measurements of the manifest, by their names."""
    return {SWITCH_COUNTS[part]: float(count) for part, count in switches(pose).items()}
