"""Camera motion, and black bars around the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import HandDetection, PersonDetection
from tpbench.extraction.measures import shrunk
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
"""Least contrast of a corner in grey levels. On a plain wall, source noise of 1.5 levels gives
corners of 1 to 3 levels after downscaling; a picture on the wall gives 50."""
_GRID: Final = 4
_MIN_CELLS: Final = 3
"""Corners must lie in this many of the 4 x 4 cells of the image: a single object that moves before
a plain wall is not camera motion."""
_CORNERS_LAST_FRAMES: Final = 8
"""Corners are tracked for this many frames before new ones are searched for."""
_KEPT_SHARE: Final = 0.7
"""New ones are searched for earlier if fewer than this share of them is left."""
_LIMB_SHARE: Final = 0.25
"""Half width of a masked limb, sleeve included, in body sizes."""
_LIMB_STARTS: Final = [
    LEFT_SHOULDER, LEFT_ELBOW, RIGHT_SHOULDER, RIGHT_ELBOW, LEFT_SHOULDER, RIGHT_SHOULDER,
]  # fmt: skip
_LIMB_ENDS: Final = [LEFT_ELBOW, LEFT_WRIST, RIGHT_ELBOW, RIGHT_WRIST, LEFT_HIP, RIGHT_HIP]
_HANDS: Final = (LEFT_HAND, RIGHT_HAND)
_ELBOWS: Final = [LEFT_ELBOW, RIGHT_ELBOW]
_WRISTS: Final = [LEFT_WRIST, RIGHT_WRIST]
_AROUND: Final = np.arange(-2, 3)
_LEVELS: Final = np.arange(256, dtype=np.float32)


class CameraShift:
    """Tracks corners of the background through the frames of one piece."""

    def __init__(self) -> None:
        self._last: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
        self._corners = _Corners()
        self._face_box_px: NDArray[np.floating] | None = None

    def push(
        self,
        image: NDArray[np.uint8],
        face_box_px: NDArray[np.floating] | None,
        *,
        people: Sequence[PersonDetection] = (),
        hands: Sequence[HandDetection] = (),
    ) -> float:
        """Return the median shift of background corners since the previous frame.

        Corners are tracked by Lucas and Kanade's optical flow on 256 px wide grey images, after
        matching their brightness and contrast. Masked are the person (4.4 face heights wide, 3 if a
        skeleton was found, from a face height above the face down to the bottom) and all detected
        arms, hands and torsos, in both frames.

        Args:
            image: (H, W, 3) uint8 RGB, of the same size for all frames.
            face_box_px: the person's face; None where it is lost, then the person is masked where
                it was last seen.
            people: all skeletons of the frame.
            hands: all hands of the frame.

        Returns:
            Share of the image diagonal; NaN for the first frame and where the background gives no
            estimate: fewer than 8 corners, or all of them in one place.
        """
        height, width = image.shape[:2]
        scale = _WIDTH_PX / width
        size = (_WIDTH_PX, max(16, round(height * scale)))
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        grey = shrunk(grey, size)
        if face_box_px is not None:
            self._face_box_px = face_box_px
        mask = _background(size, self._face_box_px, scale, box_faces=1.5 if people else 2.2)
        shown_hands: dict[bytes, NDArray[np.floating]] = {}
        for person in people:
            points = person.keypoints_px * scale
            _mask_arms_and_torso(mask, points)
            shown_hands |= {points[hand].tobytes(): points[hand] for hand in _HANDS}
        for found in hands:
            points = found.keypoints_px * scale
            shown_hands[points.tobytes()] = points
        for hand_points in shown_hands.values():
            _mask_hand(mask, hand_points)
        last, self._last = self._last, (grey, mask)
        if last is None:
            return float("nan")
        moved = self._corners.moved(last[0], grey, cv2.bitwise_and(last[1], mask))
        if moved is None:
            return float("nan")
        return float(np.linalg.norm(np.median(moved, axis=0)) / np.hypot(*size))


class _Corners:
    """Corners of the background, searched for anew every few frames and where many were lost."""

    def __init__(self) -> None:
        self._now: NDArray[np.float32] = np.zeros((0, 1, 2), np.float32)
        self._least = _MIN_POINTS
        self._age_frames = 0

    def moved(
        self, last: NDArray[np.uint8], now: NDArray[np.uint8], mask: NDArray[np.uint8]
    ) -> NDArray[np.float32] | None:
        """Return how far each corner moved, (n, 2) px; None if there is no estimate.

        Args:
            last: the frame before, grey.
            now: this frame, grey.
            mask: 0 where either may show a person.
        """
        corners = self._in(last, mask)
        self._now = corners[:0]
        if len(corners) < _MIN_POINTS:
            return None
        moved, found, _ = cv2.calcOpticalFlowPyrLK(
            last, _matched_brightness(last, now, mask), corners, None, winSize=(11, 11)
        )
        held = found.ravel() == 1
        if held.sum() < _MIN_POINTS or not _spread(corners[held], last.shape):
            return None
        self._now = moved[held]
        shifts: NDArray[np.float32] = (moved - corners).reshape(-1, 2)[held]
        return shifts

    def _in(self, grey: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the (n, 1, 2) corners of a frame: those known, or new ones."""
        known = self._now[_shown(mask, self._now) & _stands_out(grey, self._now)]
        self._age_frames += 1
        if len(known) >= self._least and self._age_frames < _CORNERS_LAST_FRAMES:
            return known
        found = cv2.goodFeaturesToTrack(
            grey, maxCorners=80, qualityLevel=0.02, minDistance=6, mask=mask
        )
        corners = known[:0] if found is None else np.asarray(found, dtype=np.float32)
        corners = corners[_stands_out(grey, corners)]
        self._least = max(_MIN_POINTS, ceil(_KEPT_SHARE * len(corners)))
        self._age_frames = 0
        return corners


def _shown(mask: NDArray[np.uint8], corners: NDArray[np.float32]) -> NDArray[np.bool_]:
    x, y = np.rint(corners.reshape(-1, 2)).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    shown: NDArray[np.bool_] = inside.copy()
    shown[inside] = mask[y[inside], x[inside]] > 0
    return shown


def _stands_out(grey: NDArray[np.uint8], corners: NDArray[np.float32]) -> NDArray[np.bool_]:
    x, y = corners.reshape(-1, 2).astype(int).T
    rows = np.clip(y[:, None] + _AROUND, 0, grey.shape[0] - 1)
    columns = np.clip(x[:, None] + _AROUND, 0, grey.shape[1] - 1)
    around = grey[rows[:, :, None], columns[:, None, :]].reshape(len(x), len(_AROUND) ** 2)
    stands_out: NDArray[np.bool_] = np.ptp(around, axis=1) >= _MIN_CONTRAST
    return stands_out


def _spread(corners: NDArray[np.float32], size: tuple[int, ...]) -> bool:
    cells = np.floor(corners.reshape(-1, 2) * _GRID / (size[1], size[0])).astype(int)
    return len(set((cells[:, 0] * _GRID + cells[:, 1]).tolist())) >= _MIN_CELLS


def _matched_brightness(
    last: NDArray[np.uint8], now: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return `now` with the background mean and spread of `last`, to ignore flicker."""
    (mean_then, spread_then), (mean_now, spread_now) = (
        (float(m[0, 0]), float(s[0, 0]))
        for m, s in (cv2.meanStdDev(picture, mask=mask) for picture in (last, now))
    )
    gain = spread_then / spread_now if spread_now > 1 else 1.0
    lit = (_LEVELS - mean_now) * gain + mean_then
    table = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(now, table), dtype=np.uint8)


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


def _mask_arms_and_torso(mask: NDArray[np.uint8], points: NDArray[np.floating]) -> None:
    size = body_size_px(points)
    if not np.isfinite(size):
        return
    elbows, wrists = points[_ELBOWS], points[_WRISTS]
    # A hand that was not found is still there, beyond the wrist.
    fingers = wrists + 0.5 * (wrists - elbows)
    starts = np.concatenate([points[_LIMB_STARTS], wrists])
    ends = np.concatenate([points[_LIMB_ENDS], fingers])
    _mask_lines(mask, starts, ends, max(2, round(_LIMB_SHARE * size)))


def _mask_hand(mask: NDArray[np.uint8], points: NDArray[np.floating]) -> None:
    known = points[np.isfinite(points).all(axis=1)]
    if not len(known):
        return
    middle = known.mean(axis=0)
    # A blurred hand is wider than its points, and fingers reach beyond the last joint.
    reach = 1.5 * float(np.hypot(*(known - middle).T).max()) + 3
    _mask_lines(mask, middle[None], middle[None], round(reach))


def _mask_lines(
    mask: NDArray[np.uint8],
    starts: NDArray[np.floating],
    ends: NDArray[np.floating],
    half_width_px: int,
) -> None:
    """Mask lines with round ends, given by points of shape (n, 2); those with NaN are left out."""
    lines = np.hstack([starts, ends])
    lines = lines[np.isfinite(lines).all(axis=1)]
    # Lines far outside would overflow OpenCV's fixed-point numbers.
    within = np.clip(np.rint(lines), -4 * _WIDTH_PX, 8 * _WIDTH_PX).astype(int).tolist()
    thickness = min(2 * half_width_px + 1, 255)
    for x0, y0, x1, y1 in within:
        cv2.line(mask, (x0, y0), (x1, y1), 0, thickness)
    for centre in {(x, y) for x0, y0, x1, y1 in within for x, y in ((x0, y0), (x1, y1))}:
        cv2.circle(mask, centre, half_width_px, 0, thickness=-1)


_BLACK_LEVELS: Final = 20
"""Highest level of a bar: 0, or 16 where a file declares the wrong range."""
_FLAT_LEVELS: Final = 12
"""Compression noise of a flat bar, in the brightest channel."""
_LIT_LEVELS: Final = 16
"""A pixel whose brightest channel exceeds the bar by this much is content."""
_BLEED_PX: Final = 2
_BLEED_LEVELS: Final = 2
"""Subsampled colour bleeds this far into the bar, where luma stays black."""
_BAR_SHARE: Final = 0.97
_OVERLAY_SHARE: Final = 0.5
"""Text fills less of a row."""
_PICTURE_SHARE: Final = 0.4
"""The first row of content is lit over at least this share of its length."""
_SHADE_PX: Final = 3
"""Most rows from black to content: scaling and compression blur the edge."""
_MIN_EXTENT_SHARE: Final = 0.2
_MIN_BAR_SHARE: Final = 0.01
_MIN_BAR_PX: Final = 4
_MIN_SIDE_PX: Final = 64
_MIN_CERTAIN_SHARE: Final = 0.3
"""Share of a shot's samples that must show the edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarSample:
    """The bars found in one sampled frame, in px of the source as displayed."""

    frame: int
    bars_px: tuple[int | None, int | None, int | None, int | None]
    """Left, top, right, bottom: width of the bar; 0 if there is certainly none, None if unknown."""
    dark_px: tuple[int, int, int, int]
    """How far the image is black from each edge inwards, bar or not."""


def no_bars(frame: int) -> BarSample:
    """Return the sample of a frame whose edges are not black."""
    return BarSample(frame=frame, bars_px=(0, 0, 0, 0), dark_px=(0, 0, 0, 0))


def sample_bars(frame: int, image: NDArray[np.uint8]) -> BarSample:
    """Detect bars in a frame at full size, (H, W, 3) uint8 RGB."""
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
    """Whether any edge of an image of any size is black: a cheap test that few pass."""
    lines = (image[:, 0], image[0], image[:, -1], image[-1])
    return any(float(np.percentile(line.max(axis=1), 90)) <= _BLACK_LEVELS for line in lines)


def content_window(
    samples: Sequence[BarSample], *, size_px: tuple[int, int], elsewhere: Sequence[BarSample] = ()
) -> Window | None:
    """Return the part of the image inside the bars; None if there are no bars.

    Args:
        samples: of one shot.
        size_px: width and height of the image.
        elsewhere: of the whole video; used where a shot is too dark to show its bars.
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

    Where the shot is too dark, the bar of the opposite side or of the whole video is assumed, as
    far as the shot is black there.
    """
    if (bar := _certain(samples, side)) is not None:
        return bar
    known = [bar for sample in samples if (bar := sample.bars_px[side]) is not None]
    guess = _certain(samples, (side + 2) % 4) or _certain(elsewhere, side)
    if guess is None:
        return 0
    return min([guess, *known, *(sample.dark_px[side] for sample in samples)])


def _certain(samples: Sequence[BarSample], side: int) -> int | None:
    """Return the narrowest bar of the samples that show one; None if too few do."""
    known = [bar for sample in samples if (bar := sample.bars_px[side]) is not None]
    if not known or len(known) < _MIN_CERTAIN_SHARE * len(samples):
        return None
    return min(known)


def _extent(lit_share: NDArray[np.floating]) -> tuple[int, int]:
    """Return the lit range; the full length if only something small, as a lamp, is lit."""
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
    """Detect a bar at one edge.

    Args:
        brightest: (H, W) brightest channel, over the lit extent of the image.
        grey: (H, W) luma, likewise.
        axis: 1 for rows, 0 for columns.
        step: 1 from the first row or column on, -1 from the last.

    Returns:
        The bar's width, 0 without one, None if too dark; and the length of the black run.
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
