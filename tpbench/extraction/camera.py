"""How far the background moves from one frame to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTH_PX: Final = 256
_MIN_POINTS: Final = 8


class CameraShift:
    """Follows corners of the background through the frames of one piece."""

    def __init__(self) -> None:
        self._last: NDArray[np.uint8] | None = None
        self._face_box_px: NDArray[np.floating] | None = None

    def push(self, image: NDArray[np.uint8], face_box_px: NDArray[np.floating] | None) -> float:
        """Return the median shift of background corners since the frame before.

        Corners are tracked by Lucas and Kanade's optical flow on a 256 px wide grey picture; the
        person (4.4 face heights wide, from a face height above the face down to the bottom) is left
        out.

        Args:
            image: (H, W, 3) uint8 RGB, of the same size for all frames.
            face_box_px: the person's face; None where it is lost, then the person is left out where
                it was last seen.

        Returns:
            Share of the picture's diagonal; NaN for the first frame and where fewer than 8 corners
            hold.
        """
        height, width = image.shape[:2]
        scale = _WIDTH_PX / width
        size = (_WIDTH_PX, max(16, round(height * scale)))
        grey: NDArray[np.uint8] = cv2.cvtColor(
            cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
        )
        if face_box_px is not None:
            self._face_box_px = face_box_px
        last, self._last = self._last, grey
        if last is None:
            return float("nan")
        corners = cv2.goodFeaturesToTrack(
            last,
            maxCorners=80,
            qualityLevel=0.02,
            minDistance=6,
            mask=_background(size, self._face_box_px, scale),
        )
        if corners is None or len(corners) < _MIN_POINTS:
            return float("nan")
        moved, found, _ = cv2.calcOpticalFlowPyrLK(last, grey, corners, None, winSize=(11, 11))
        held = found.ravel() == 1
        if held.sum() < _MIN_POINTS:
            return float("nan")
        shift = np.median((moved - corners).reshape(-1, 2)[held], axis=0)
        return float(np.linalg.norm(shift) / np.hypot(*size))


def _background(
    size: tuple[int, int], face_box_px: NDArray[np.floating] | None, scale: float
) -> NDArray[np.uint8] | None:
    if face_box_px is None:
        return None
    x0, y0, x1, y1 = (float(value) * scale for value in face_box_px)
    middle, height = (x0 + x1) / 2, y1 - y0
    mask = np.full((size[1], size[0]), 255, dtype=np.uint8)
    left, right = int(max(0, middle - 2.2 * height)), int(max(0, middle + 2.2 * height))
    mask[int(max(0, y0 - height)) :, left:right] = 0
    return mask
