"""Slides, pages and lines of text in a picture, found by flat areas and strokes."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.extraction.measures import shrunk

_PAGE_WIDTH_PX: Final = 480
_FLAT_RANGE_LEVELS: Final = 2
_FLAT_MIN_LUMA: Final = 24
_STROKE_LEVELS: Final = 160
"""Horizontal gradient (3x3 Sobel) of a stroke of text; below 255, where gradients are clipped."""
_MIN_AREA_SHARE: Final = 0.03
"""Smaller flat areas are not pages."""
_TEXT_SHARE: Final = 0.01
"""Of a page's area. A title alone covers 0.02, bullets 0.1; a sign on a studio wall 0.005."""
_BOX_AREA_SHARE: Final = 0.002
_BOX_FILLS: Final = 0.4
_MIN_BOXES: Final = 4
"""This many flat boxes inside a flat area, each at least 0.2 % of the image, are a chart or a
diagram. A person before a green screen gives none, and marks taped to it are smaller."""


def page_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image at the size in which text and pages are looked for: at most 480 px wide."""
    height, width = image.shape[:2]
    if width <= _PAGE_WIDTH_PX:
        return image
    size = (_PAGE_WIDTH_PX, max(1, round(_PAGE_WIDTH_PX * height / width)))
    return shrunk(image, size)


def flat_mask(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where the image is perfectly flat, as paper is: (h, w) bool, w at most 480.

    A pixel is flat when its 5x5 neighbourhood spans at most two levels in every channel. Near-black
    is not counted: dark stage backgrounds and clothes are crushed to flat black by every encoder.
    """
    page = page_image(image)
    kernel = np.ones((5, 5), np.uint8)
    span = _largest_channel(cv2.subtract(cv2.dilate(page, kernel), cv2.erode(page, kernel)))
    bright = _largest_channel(page) > _FLAT_MIN_LUMA
    flat: NDArray[np.bool_] = (span <= _FLAT_RANGE_LEVELS) & bright
    return flat


def _largest_channel(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    first, second, third = cv2.split(image)
    return np.asarray(cv2.max(cv2.max(first, second), third), dtype=np.uint8)


def text_mask(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where the image looks like lines of text: (h, w) bool, w at most 480.

    Text is a row of strong, dense, mostly vertical strokes: horizontal gradients are thresholded,
    joined sideways into lines, and a line stays when it is wider than high, densely filled, and of
    the height that text on video has (1.5 % to 12 % of the image).
    """
    page = cv2.cvtColor(page_image(image), cv2.COLOR_RGB2GRAY)
    height = page.shape[0]
    gradient = cv2.convertScaleAbs(cv2.Sobel(page, cv2.CV_16S, 1, 0, ksize=3))
    _, strokes = cv2.threshold(gradient, _STROKE_LEVELS, 1, cv2.THRESH_BINARY)
    joined = cv2.morphologyEx(strokes, cv2.MORPH_CLOSE, np.ones((3, 13), np.uint8))
    joined = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((4, 9), np.uint8))
    mask = np.zeros(page.shape, dtype=np.bool_)
    x, y, width, height_px = cv2.boundingRect(joined)
    if not width:
        return mask
    part = slice(y, y + height_px), slice(x, x + width)
    lines, strokes = mask[part], strokes[part]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(joined[part]), connectivity=4
    )
    _, _, w, h, area = stats.T
    like_lines = (w >= 2.5 * h) & (area >= 0.6 * w * h)
    like_lines &= (0.015 * height <= h) & (h <= 0.12 * height)
    for index in np.flatnonzero(like_lines[1:]) + 1:
        window = _window(stats[index])
        if strokes[window].mean() > 0.25:
            lines[window] |= labels[window] == index
    return mask


def _window(stats: NDArray[np.int32]) -> tuple[slice, slice]:
    """Return where a component lies, from its row of OpenCV's statistics."""
    x, y, width, height = (int(value) for value in stats[:4])
    return slice(y, y + height), slice(x, x + width)


def page_share(image: NDArray[np.uint8], text: NDArray[np.bool_]) -> float:
    """Return the share of the image that is flat and carries text or drawings, 0..1.

    Args:
        image: (H, W, 3) uint8 RGB.
        text: where it looks like text, from `text_mask`.
    """
    flat = flat_mask(image)
    if np.count_nonzero(flat) < _MIN_AREA_SHARE * flat.size:
        return 0.0
    _, labels, stats, _ = cv2.connectedComponentsWithStats(flat.view(np.uint8), connectivity=4)
    shares = stats[:, cv2.CC_STAT_AREA] / flat.size
    shares[0] = 0.0  # what is not flat
    boxes = _Boxes(labels, stats, np.flatnonzero(shares >= _BOX_AREA_SHARE).tolist())
    pages = [
        index
        for index in np.flatnonzero(shares >= _MIN_AREA_SHARE).tolist()
        if boxes.written_share(index, text) >= _TEXT_SHARE or boxes.inside(index) >= _MIN_BOXES
    ]
    return float(stats[pages, cv2.CC_STAT_AREA].sum() / flat.size)


class _Boxes:
    """Flat areas of some size, with their holes filled; each is filled when it is asked for."""

    def __init__(
        self, labels: NDArray[np.int32], stats: NDArray[np.int32], indices: list[int]
    ) -> None:
        self._labels, self._stats, self._indices = labels, stats, indices
        self._areas: dict[int, NDArray[np.bool_]] = {}

    def written_share(self, index: int, text: NDArray[np.bool_]) -> float:
        """Return which share of an area looks like text."""
        window = text[_window(self._stats[index])]
        return float(window[self._filled(index)].mean()) if window.any() else 0.0

    def inside(self, index: int) -> int:
        """Return how many other areas that fill a rectangle lie in one; 0 for fewer than a page."""
        if len(self._indices) <= _MIN_BOXES:
            return 0
        here = np.zeros(len(self._stats), dtype=np.bool_)
        here[self._labels[_window(self._stats[index])][self._filled(index)]] = True
        others = [other for other in self._indices if here[other] and other != index]
        return sum(self._filled(other).mean() >= _BOX_FILLS for other in others)

    def _filled(self, index: int) -> NDArray[np.bool_]:
        if index not in self._areas:
            window = self._labels[_window(self._stats[index])]
            self._areas[index] = _filled(window == index)
        return self._areas[index]


def _filled(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return an area with its holes filled. Notches that reach the image border stay."""
    contours, _ = cv2.findContours(
        area.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    filled = np.zeros(area.shape, dtype=np.uint8)
    cv2.drawContours(filled, contours, -1, 1, thickness=-1)
    return filled.astype(np.bool_)
