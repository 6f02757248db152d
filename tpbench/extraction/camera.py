"""What belongs to the camera: its motion, and black bars around the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import HandDetection, PersonDetection
from tpbench.video.display import Window
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
    body_size_px,
)

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


_BLACK_LEVELS: Final = 20
"""Bars are no brighter: 0, or 16 where a file's range is declared wrongly."""
_FLAT_LEVELS: Final = 12
"""What compression adds to a flat bar, in the brightest channel."""
_LIT_LEVELS: Final = 16
"""A pixel whose brightest channel is this much brighter than the bar is picture."""
_BLEED_PX: Final = 2
_BLEED_LEVELS: Final = 2
"""Colour, which is stored coarsely, reaches so far over the line, where brightness stays black."""
_BAR_SHARE: Final = 0.97
_OVERLAY_SHARE: Final = 0.5
"""Writing fills less of a row."""
_PICTURE_SHARE: Final = 0.4
"""The picture's first row is lit over this share of its length, at least."""
_SHADE_PX: Final = 3
"""From black to picture it takes this many rows, at most: scaling and compression blur the line."""
_MIN_EXTENT_SHARE: Final = 0.2
_MIN_BAR_SHARE: Final = 0.01
_MIN_BAR_PX: Final = 4
_MIN_SIDE_PX: Final = 64
_MIN_CERTAIN_SHARE: Final = 0.3
"""Of a shot's samples, so many must show the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarSample:
    """What one sampled picture says of bars, in px of the source as displayed."""

    frame: int
    bars_px: tuple[int | None, int | None, int | None, int | None]
    """Left, top, right, bottom: width of the bar; 0 where there surely is none, None unknown."""
    dark_px: tuple[int, int, int, int]
    """How far the picture is black from each edge on, bar or not."""


def no_bars(frame: int) -> BarSample:
    """Return what a picture says whose edges are not black."""
    return BarSample(frame=frame, bars_px=(0, 0, 0, 0), dark_px=(0, 0, 0, 0))


def sample_bars(frame: int, image: NDArray[np.uint8]) -> BarSample:
    """Look for bars in a picture at full size, (H, W, 3) uint8 RGB."""
    red, green, blue = cv2.split(image)
    brightest = cv2.max(cv2.max(red, green), blue)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    rows, columns = (_extent(_share_above(brightest, _BLACK_LEVELS, axis)) for axis in (1, 0))
    upright = (brightest[:, slice(*columns)], grey[:, slice(*columns)], 1)
    sideways = (brightest[slice(*rows)], grey[slice(*rows)], 0)
    left = _edge(*sideways, step=1)
    top = _edge(*upright, step=1)
    right = _edge(*sideways, step=-1)
    bottom = _edge(*upright, step=-1)
    return BarSample(
        frame=frame,
        bars_px=(left[0], top[0], right[0], bottom[0]),
        dark_px=(left[1], top[1], right[1], bottom[1]),
    )


def may_have_bars(image: NDArray[np.uint8]) -> bool:
    """Whether any edge of a picture of any size is black: cheap, and true for few."""
    lines = (image[:, 0], image[0], image[:, -1], image[-1])
    return any(float(np.percentile(line.max(axis=1), 90)) <= _BLACK_LEVELS for line in lines)


def content_window(
    samples: Sequence[BarSample], *, size_px: tuple[int, int], elsewhere: Sequence[BarSample] = ()
) -> Window | None:
    """Return the part of the picture that is no bar; None where there are no bars.

    Args:
        samples: of one shot.
        size_px: width and height of the picture.
        elsewhere: of the whole video: they speak for a shot too dark to tell.
    """
    bars = [_bar(samples, elsewhere, side) for side in range(4)]
    for side in range(4):
        length_px = size_px[side % 2]
        if bars[side] < max(_MIN_BAR_PX, _MIN_BAR_SHARE * length_px):
            bars[side] = 0
    left, top, right, bottom = bars
    width_px, height_px = size_px[0] - left - right, size_px[1] - top - bottom
    if not any(bars) or min(width_px, height_px) < _MIN_SIDE_PX:
        return None
    return Window(left, top, width_px, height_px)


def _bar(samples: Sequence[BarSample], elsewhere: Sequence[BarSample], side: int) -> int:
    """Return the width of the bar at one side of a shot, 0 without one.

    A shot too dark there to tell has the bar of the other side, or of the whole video, as far as it
    is black.
    """
    if (bar := _certain(samples, side)) is not None:
        return bar
    known = [bar for sample in samples if (bar := sample.bars_px[side]) is not None]
    guess = _certain(samples, (side + 2) % 4) or _certain(elsewhere, side)
    if guess is None:
        return 0
    return min([guess, *known, *(sample.dark_px[side] for sample in samples)])


def _certain(samples: Sequence[BarSample], side: int) -> int | None:
    """Return the bar that enough samples show, none of them a narrower one; None if too few do."""
    known = [bar for sample in samples if (bar := sample.bars_px[side]) is not None]
    if not known or len(known) < _MIN_CERTAIN_SHARE * len(samples):
        return None
    return min(known)


def _extent(lit_share: NDArray[np.floating]) -> tuple[int, int]:
    """Return from where to where there is anything lit; all, if that is a lamp and no picture."""
    places = np.flatnonzero(lit_share > 1 - _BAR_SHARE)
    if not len(places) or places[-1] - places[0] < _MIN_EXTENT_SHARE * len(lit_share):
        return 0, len(lit_share)
    return int(places[0]), int(places[-1]) + 1


def _share_above(plane: NDArray[np.uint8], level: float, axis: int) -> NDArray[np.float32]:
    """Return the share of pixels brighter than a level in each row (axis 1) or column (0)."""
    above = cv2.compare(np.ascontiguousarray(plane), float(level), cv2.CMP_GT)
    shares = cv2.reduce(above, axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel() / np.float32(255)
    return np.asarray(shares, dtype=np.float32)


def _edge(
    brightest: NDArray[np.uint8], grey: NDArray[np.uint8], axis: int, *, step: int
) -> tuple[int | None, int]:
    """Look for a bar at one edge.

    Args:
        brightest: (H, W) brightest channel, over the extent of the picture.
        grey: (H, W) brightness, alike.
        axis: 1 to look at rows, 0 at columns.
        step: 1 from the first row or column on, -1 from the last.

    Returns:
        The bar's width, 0 without one, None if too dark to tell; and how far all rows are black.
    """
    at = 0 if step > 0 else -1
    level = float(np.median(brightest[at] if axis else brightest[:, at]))
    if level > _BLACK_LEVELS:
        return 0, 0
    is_bar = _share_above(brightest, level + _FLAT_LEVELS, axis)[::step] <= 1 - _BAR_SHARE
    if not is_bar[0]:
        return 0, 0
    lit = _share_above(brightest, level + _LIT_LEVELS, axis)[::step]
    dark_px = len(is_bar) if is_bar.all() else int(np.argmin(is_bar))
    for row in range(1, len(is_bar)):
        begins = is_bar[row - 1] and not is_bar[row]
        if begins and lit[row : row + _SHADE_PX].max() >= _PICTURE_SHARE:
            grey_level = float(np.median(grey[at] if axis else grey[:, at]))
            bright = _share_above(grey, grey_level + _BLEED_LEVELS, axis)[::step]
            bleeds = bright[row : row + _BLEED_PX] <= 1 - _BAR_SHARE
            bled_px = int(np.cumprod(bleeds).sum())
            return row + bled_px, dark_px + (bled_px if row == dark_px else 0)
        if lit[row] > _OVERLAY_SHARE:
            break
    return None, dark_px
