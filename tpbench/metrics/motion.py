"""How much a frame moved since an earlier one: what the motion ratio and TJE are made of."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import cv2

from tpbench.metrics.pictures import check_pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def frame_motion(image: NDArray[np.uint8], before: NDArray[np.uint8]) -> float:
    """Return how many grey levels a frame differs from an earlier one, mean of |I_t - I_t-d|.

    Args:
        image: (H, W, 3) uint8 RGB, frame t.
        before: the same, frame t - d.

    Returns:
        Grey levels in [0, 255]; the sum is one of integers and exact.

    Raises:
        ValueError: they are no pictures or differ in size.
    """
    check_pair(image, before)
    return float(cv2.norm(image, before, cv2.NORM_L1)) / image.size


class EarlierPairs:
    """Hands back the pair of frames that came some frames before, holding as many and one more.

    Frames are kept as they come, not copied: they must not be overwritten afterwards.

    Args:
        delta: how many frames before.
    """

    def __init__(self, delta: int) -> None:
        self._pairs: deque[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = deque(maxlen=delta + 1)

    def before(
        self, real: NDArray[np.uint8], generated: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
        """Take in the next pair and return the earlier one; None for the first `delta` frames."""
        self._pairs.append((real, generated))
        return self._pairs[0] if len(self._pairs) == self._pairs.maxlen else None
