"""Which hand is whose: a hand belongs to the wrist that it hangs on.

MediaPipe names hands by their looks and errs; the wrists of a body know better.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.wholebody import (
    LEFT_HIP,
    LEFT_SHOULDER,
    LEFT_WRIST,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tpbench.detectors.base import HandDetection

MAX_GAP_SHARE: Final = 0.5
"""A hand further from a wrist than this share of the body's size does not hang on it.

On talks the median gap is 0.1, the 99th percentile 0.2; fast gestures and two models that lag
differently need the rest.
"""

_TORSO_TO_SHOULDERS: Final = 0.7


def body_size_px(keypoints_px: NDArray[np.floating]) -> float:
    """Return about the shoulder width that the person has, or would have seen from the front.

    The greater of shoulder width and 0.7 times the torso's length; NaN if neither is known.

    Args:
        keypoints_px: (17 or more, 2) px, COCO body joints first; NaN where not found.
    """
    points = keypoints_px.astype(np.float64)
    shoulders = points[[LEFT_SHOULDER, RIGHT_SHOULDER]]
    hips = points[[LEFT_HIP, RIGHT_HIP]]
    width = np.hypot(*(shoulders[0] - shoulders[1]))
    torso = np.hypot(*(shoulders.mean(axis=0) - hips.mean(axis=0)))
    return float(np.fmax(width, _TORSO_TO_SHOULDERS * torso))


def sides_of_hands(
    hands: Sequence[HandDetection], keypoints_px: NDArray[np.floating]
) -> tuple[HandDetection | None, HandDetection | None]:
    """Return the person's own left hand and right hand, None where there is none.

    Both sides are settled together: of all ways to hang the hands on the wrists, the one with the
    most hands, then the least sum of gaps (in shares of the greatest allowed) and doubts (1 -
    score).

    Args:
        hands: all hands of the frame, other people's too.
        keypoints_px: (17 or more, 2) px, COCO body joints of the person first; NaN where not
        found.
    """
    limit_px = MAX_GAP_SHARE * body_size_px(keypoints_px)
    wrists = keypoints_px[[LEFT_WRIST, RIGHT_WRIST]]
    choices: list[int | None] = [None, *range(len(hands))]

    def cost(side: int, index: int | None) -> float:
        if index is None:
            return 2.0
        gap = float(np.hypot(*(hands[index].keypoints_px[0] - wrists[side]))) / limit_px
        # NaN, for a wrist or a body that was not found, is no reason to hang a hand on it.
        return gap + 1.0 - hands[index].score if gap <= 1.0 else float("inf")

    pairs = [
        (left, right)
        for left, right in itertools.product(choices, choices)
        if left is None or left != right
    ]
    left, right = min(pairs, key=lambda pair: cost(0, pair[0]) + cost(1, pair[1]))
    return (
        None if left is None else hands[left],
        None if right is None else hands[right],
    )
