"""What one picture, or a pair of them, says by itself: light, sharpness, motion, slides, text.

Everything here is a pure function of RGB pictures and cheap enough for every sampled frame. The
slide and text measures are deliberately crude (no OCR model): they catch pages and burnt-in
captions, not every logo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

THUMB_WIDTH_PX: Final = 64
"""Thumbnails for motion and appearance have this width; heights keep the aspect."""

_PAGE_WIDTH_PX: Final = 480
_FLAT_RANGE_LEVELS: Final = 2
_FLAT_MIN_LUMA: Final = 24


def lab_thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a (h, 64, 3) float32 thumbnail in CIELAB (OpenCV's 8-bit scaling, 0..255)."""
    height, width = image.shape[:2]
    size = (THUMB_WIDTH_PX, max(1, round(THUMB_WIDTH_PX * height / width)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    lab: NDArray[np.float32] = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    return lab


def lab_distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the mean absolute difference of two thumbnails, in 8-bit CIELAB levels (0..255)."""
    return float(np.abs(first - second).mean())


def luminance(image: NDArray[np.uint8]) -> float:
    """Return the mean BT.601 luma of a picture, 0..255."""
    red, green, blue = image.reshape(-1, 3).mean(axis=0)
    return float(0.299 * red + 0.587 * green + 0.114 * blue)


def sharpness(image: NDArray[np.uint8], box_px: NDArray[np.floating], *, side_px: int) -> float:
    """Return the variance of the Laplacian inside a box, the box scaled to `side_px` squared.

    The scaling makes people of different size comparable, and a small picture blown up counts as
    blurred, which it is. Divided by the patch's own grey variance, so that a low-contrast (dark)
    patch is not taken for a blurred one.

    Args:
        image: (H, W, 3) uint8 RGB.
        box_px: (4,) x0, y0, x1, y1; clipped to the picture.
        side_px: side of the square patch that is measured.

    Returns:
        A ratio of variances, 0 for a flat patch; NaN where the box is NaN, lies outside the picture
        or has under 4 px of it.
    """
    if not np.isfinite(box_px).all():
        return float("nan")
    height, width = image.shape[:2]
    x0, y0 = np.maximum(np.floor(box_px[:2]), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(box_px[2:]), (width, height)).astype(int)
    if x1 - x0 < 4 or y1 - y0 < 4:
        return float("nan")
    grey = cv2.cvtColor(image[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY)
    shrinks = grey.shape[0] > side_px or grey.shape[1] > side_px
    patch = cv2.resize(
        grey, (side_px, side_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    ).astype(np.float32)
    variance = float(patch.var())
    if variance < 1.0:
        return 0.0
    return float(cv2.Laplacian(patch, cv2.CV_32F).var()) / variance


def flat_mask(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where the picture is perfectly flat, as paper is: (h, w) bool, w at most 480.

    A pixel is flat when its 5x5 neighbourhood spans at most two levels in every channel. Near-black
    is not counted: dark stage backgrounds and clothes are crushed to flat black by every encoder.
    """
    page = _page(image)
    kernel = np.ones((5, 5), np.uint8)
    span = cv2.subtract(cv2.dilate(page, kernel), cv2.erode(page, kernel)).max(axis=2)
    bright = page.max(axis=2) > _FLAT_MIN_LUMA
    flat: NDArray[np.bool_] = (span <= _FLAT_RANGE_LEVELS) & bright
    return flat


def text_mask(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where the picture looks like lines of text: (h, w) bool, w at most 480.

    Text is a row of strong, dense, mostly vertical strokes: horizontal gradients are thresholded,
    joined sideways into lines, and a line stays when it is wider than high, densely filled, and of
    the height that text on video has (1.5 % to 12 % of the picture).
    """
    page = cv2.cvtColor(_page(image), cv2.COLOR_RGB2GRAY)
    height, width = page.shape
    gradient = np.abs(cv2.Sobel(page, cv2.CV_32F, 1, 0, ksize=3))
    strokes = (gradient > 160).astype(np.uint8)
    joined = cv2.morphologyEx(strokes, cv2.MORPH_CLOSE, np.ones((3, 13), np.uint8))
    joined = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((4, 9), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=4)
    mask = np.zeros((height, width), dtype=np.bool_)
    for index in range(1, count):
        x, y, w, h, area = stats[index]
        if w < 2.5 * h or area < 0.6 * w * h or not 0.015 * height <= h <= 0.12 * height:
            continue
        if strokes[y : y + h, x : x + w].mean() > 0.25:
            mask |= labels == index
    return mask


def _page(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if width <= _PAGE_WIDTH_PX:
        return image
    size = (_PAGE_WIDTH_PX, max(1, round(_PAGE_WIDTH_PX * height / width)))
    page: NDArray[np.uint8] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return page
