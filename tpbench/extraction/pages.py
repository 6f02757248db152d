"""Slides, pages and lines of text in a picture, found by flat areas and strokes."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

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
    page: NDArray[np.uint8] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return page


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
    height, width = page.shape
    gradient = cv2.convertScaleAbs(cv2.Sobel(page, cv2.CV_16S, 1, 0, ksize=3))
    _, strokes = cv2.threshold(gradient, _STROKE_LEVELS, 1, cv2.THRESH_BINARY)
    joined = cv2.morphologyEx(strokes, cv2.MORPH_CLOSE, np.ones((3, 13), np.uint8))
    joined = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((4, 9), np.uint8))
    mask = np.zeros((height, width), dtype=np.bool_)
    if not joined.any():
        return mask
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=4)
    _, _, w, h, area = stats.T
    like_lines = (w >= 2.5 * h) & (area >= 0.6 * w * h)
    like_lines &= (0.015 * height <= h) & (h <= 0.12 * height)
    for index in np.flatnonzero(like_lines[1:]) + 1:
        window = _window(stats[index])
        if strokes[window].mean() > 0.25:
            mask[window] |= labels[window] == index
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
    count, labels, stats, _ = cv2.connectedComponentsWithStats(flat.view(np.uint8), connectivity=4)
    shares = stats[:, cv2.CC_STAT_AREA] / flat.size
    if not (shares[1:] >= _MIN_AREA_SHARE).any():
        return 0.0
    areas = {
        int(index): _filled(labels[_window(stats[index])] == index)
        for index in np.flatnonzero(shares[1:] >= _BOX_AREA_SHARE) + 1
    }
    rectangles = [index for index, area in areas.items() if area.mean() >= _BOX_FILLS]
    pages = np.zeros(count, dtype=np.bool_)
    for index, area in areas.items():
        if shares[index] < _MIN_AREA_SHARE:
            continue
        window = _window(stats[index])
        enclosed = np.unique(labels[window][area])
        boxes = np.count_nonzero(np.isin(enclosed, rectangles) & (enclosed != index))
        written = text[window][area].mean()
        pages[index] = written >= _TEXT_SHARE or boxes >= _MIN_BOXES
    return float(stats[pages, cv2.CC_STAT_AREA].sum() / flat.size)


def _filled(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return an area with its holes filled. Notches that reach the image border stay."""
    contours, _ = cv2.findContours(
        area.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    filled = np.zeros(area.shape, dtype=np.uint8)
    cv2.drawContours(filled, contours, -1, 1, thickness=-1)
    return filled.astype(np.bool_)
