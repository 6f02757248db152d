"""How far the background moves from one frame to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from tpbench.detectors.hand_sides import body_size_px
from tpbench.wholebody import (
    LEFT_ELBOW,
    LEFT_HAND,
    LEFT_HIP,
    LEFT_SHOULDER,
    LEFT_WRIST,
    RIGHT_ELBOW,
    RIGHT_HAND,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tpbench.detectors.base import HandDetection, PersonDetection

_WIDTH_PX: Final = 256
_MIN_POINTS: Final = 8

_MIN_CONTRAST: Final = 8
"""Grey levels that a corner stands out by. Noise of 1.5 levels in the source makes corners of 1 to
3 on a plain wall once the picture is small, a picture on the wall makes 50."""

_GRID: Final = 4
_MIN_CELLS: Final = 3
"""Corners must lie in this many of the 4 x 4 cells of the picture: one thing that moves before a
plain wall is no camera."""

_LIMB_SHARE: Final = 0.25
"""Half width of a limb that is left out, sleeve included, in body sizes."""

_LIMBS: Final = (
    (LEFT_SHOULDER, LEFT_ELBOW),
    (LEFT_ELBOW, LEFT_WRIST),
    (RIGHT_SHOULDER, RIGHT_ELBOW),
    (RIGHT_ELBOW, RIGHT_WRIST),
    (LEFT_SHOULDER, LEFT_HIP),
    (RIGHT_SHOULDER, RIGHT_HIP),
)
_HANDS_OF_ARMS: Final = (
    (LEFT_ELBOW, LEFT_WRIST, LEFT_HAND),
    (RIGHT_ELBOW, RIGHT_WRIST, RIGHT_HAND),
)


class CameraShift:
    """Follows corners of the background through the frames of one piece."""

    def __init__(self) -> None:
        self._last: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
        self._face_box_px: NDArray[np.floating] | None = None

    def push(
        self,
        image: NDArray[np.uint8],
        face_box_px: NDArray[np.floating] | None,
        *,
        people: Sequence[PersonDetection] = (),
        hands: Sequence[HandDetection] = (),
    ) -> float:
        """Return the median shift of background corners since the frame before.

        Corners are tracked by Lucas and Kanade's optical flow on a 256 px wide grey picture, once
        the light of both pictures is equal. Left out are the person (4.4 face heights wide, 3 where
        a skeleton says more, from a face height above the face down to the bottom), and every arm,
        hand and torso that was found, wherever it reaches, in both frames.

        Args:
            image: (H, W, 3) uint8 RGB, of the same size for all frames.
            face_box_px: the person's face; None where it is lost, then the person is left out where
                it was last seen.
            people: all skeletons of the frame.
            hands: all hands of the frame.

        Returns:
            Share of the picture's diagonal; NaN for the first frame and where the background tells
            nothing: fewer than 8 corners, or all of them in one place.
        """
        height, width = image.shape[:2]
        scale = _WIDTH_PX / width
        size = (_WIDTH_PX, max(16, round(height * scale)))
        grey: NDArray[np.uint8] = cv2.cvtColor(
            cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
        )
        if face_box_px is not None:
            self._face_box_px = face_box_px
        mask = _background(size, self._face_box_px, scale, box_faces=1.5 if people else 2.2)
        for person in people:
            _leave_out_person(mask, person.keypoints_px * scale)
        for hand in hands:
            _leave_out_hand(mask, hand.keypoints_px * scale)
        last, self._last = self._last, (grey, mask)
        if last is None:
            return float("nan")
        moved = _moved_corners(last[0], grey, cv2.bitwise_and(last[1], mask))
        if moved is None:
            return float("nan")
        return float(np.linalg.norm(np.median(moved, axis=0)) / np.hypot(*size))


def _moved_corners(
    last: NDArray[np.uint8], now: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> NDArray[np.float32] | None:
    """Return how far each background corner moved, (n, 2) px; None where they tell nothing."""
    corners = cv2.goodFeaturesToTrack(
        last, maxCorners=80, qualityLevel=0.02, minDistance=6, mask=mask
    )
    if corners is None or len(corners) < _MIN_POINTS:
        return None
    corners = corners[_stands_out(last, corners)]
    if len(corners) < _MIN_POINTS:
        return None
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        last, _in_the_light_of(last, now, mask), corners, None, winSize=(11, 11)
    )
    held = found.ravel() == 1
    if held.sum() < _MIN_POINTS or not _spread(corners[held], last.shape):
        return None
    shifts: NDArray[np.float32] = (moved - corners).reshape(-1, 2)[held]
    return shifts


def _stands_out(grey: NDArray[np.uint8], corners: NDArray[np.float32]) -> NDArray[np.bool_]:
    kernel = np.ones((5, 5), np.uint8)
    contrast = cv2.subtract(cv2.dilate(grey, kernel), cv2.erode(grey, kernel))
    x, y = corners.reshape(-1, 2).astype(int).T
    stands_out: NDArray[np.bool_] = contrast[y, x] >= _MIN_CONTRAST
    return stands_out


def _spread(corners: NDArray[np.float32], size: tuple[int, ...]) -> bool:
    cells = np.floor(corners.reshape(-1, 2) * _GRID / (size[1], size[0])).astype(int)
    return len(np.unique(cells, axis=0)) >= _MIN_CELLS


def _in_the_light_of(
    last: NDArray[np.uint8], now: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return `now` with the background's mean and spread of `last`: flicker is no motion."""
    (mean_then, spread_then), (mean_now, spread_now) = (
        (float(m[0, 0]), float(s[0, 0]))
        for m, s in (cv2.meanStdDev(picture, mask=mask) for picture in (last, now))
    )
    gain = spread_then / spread_now if spread_now > 1 else 1.0
    lit = (now.astype(np.float32) - mean_now) * gain + mean_then
    levels: NDArray[np.uint8] = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
    return levels


def _background(
    size: tuple[int, int],
    face_box_px: NDArray[np.floating] | None,
    scale: float,
    *,
    box_faces: float,
) -> NDArray[np.uint8]:
    mask = np.full((size[1], size[0]), 255, dtype=np.uint8)
    if face_box_px is None:
        return mask
    x0, y0, x1, y1 = (float(value) * scale for value in face_box_px)
    middle, height = (x0 + x1) / 2, y1 - y0
    left, right = int(max(0, middle - box_faces * height)), int(max(0, middle + box_faces * height))
    mask[int(max(0, y0 - height)) :, left:right] = 0
    return mask


def _leave_out_person(mask: NDArray[np.uint8], points: NDArray[np.floating]) -> None:
    size = body_size_px(points)
    if not np.isfinite(size):
        return
    half_width = max(2, round(_LIMB_SHARE * size))
    for start, end in _LIMBS:
        _leave_out_line(mask, points[start], points[end], half_width)
    for elbow, wrist, hand in _HANDS_OF_ARMS:
        # Where a hand was not found it is beyond the wrist all the same.
        fingers = points[wrist] + 0.5 * (points[wrist] - points[elbow])
        _leave_out_line(mask, points[wrist], fingers, half_width)
        _leave_out_hand(mask, points[hand])


def _leave_out_hand(mask: NDArray[np.uint8], points: NDArray[np.floating]) -> None:
    known = points[np.isfinite(points).all(axis=1)]
    if not len(known):
        return
    middle = known.mean(axis=0)
    # A blurred hand is wider than its points, and fingers reach beyond the last joint.
    reach = 1.5 * float(np.hypot(*(known - middle).T).max()) + 3
    _leave_out_line(mask, middle, middle, round(reach))


def _leave_out_line(
    mask: NDArray[np.uint8],
    start: NDArray[np.floating],
    end: NDArray[np.floating],
    half_width_px: int,
) -> None:
    ends = np.stack([start, end])
    if not np.isfinite(ends).all():
        return
    # Lines far outside would overflow OpenCV's fixed-point numbers.
    (x0, y0), (x1, y1) = np.clip(np.rint(ends), -4 * _WIDTH_PX, 8 * _WIDTH_PX).astype(int).tolist()
    thickness = min(2 * half_width_px + 1, 255)
    cv2.line(mask, (x0, y0), (x1, y1), 0, thickness)
    for centre in ((x0, y0), (x1, y1)):
        cv2.circle(mask, centre, half_width_px, 0, thickness=-1)
