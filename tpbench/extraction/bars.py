"""Black bars around a picture (letterbox, pillarbox, both): found shot by shot, and left out.

A bar is flat black from the picture's edge to a straight line, behind which the picture sets in all
at once. A dark background has no such line: it ends along a person's outline, or fades. Where a
sampled picture is too dark at an edge to tell, it has no say; where one of them shows anything
beyond the line, there is no bar. Writing or a logo on a bar does not hide it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from tpbench.video.display import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

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
