"""How much of a picture is a page: a slide, a document, a screen full of text.

Paper is perfectly flat, but so are green screens, studio walls and coloured bars once they are
encoded. What makes a page of a flat area is what stands on it: lines of text, or drawn boxes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from tpbench.extraction.picture import flat_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MIN_AREA_SHARE: Final = 0.03
"""Smaller flat areas are no pages of their own."""

_TEXT_SHARE: Final = 0.01
"""Of a page's area. A title alone covers 0.02, bullets 0.1; a sign on a studio wall 0.005."""

_BOX_AREA_SHARE: Final = 0.002
_BOX_FILLS: Final = 0.4
_MIN_BOXES: Final = 4
"""So many flat boxes inside a flat area, each of 0.2 % of the picture or more, are a chart or
a diagram. A person before a green screen makes none, marks taped to it are smaller."""


def page_share(image: NDArray[np.uint8], text: NDArray[np.bool_]) -> float:
    """Return the share of the picture that is flat and written or drawn upon, 0..1.

    Args:
        image: (H, W, 3) uint8 RGB.
        text: where it looks like text, as `picture.text_mask` says.
    """
    flat = flat_mask(image)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(flat.view(np.uint8), connectivity=4)
    shares = stats[:, cv2.CC_STAT_AREA] / flat.size
    windows = [(slice(y, y + height), slice(x, x + width)) for x, y, width, height, _ in stats]
    areas = {
        index: _filled(labels[windows[index]] == index)
        for index in range(1, count)
        if shares[index] >= _BOX_AREA_SHARE
    }
    rectangles = [index for index, area in areas.items() if area.mean() >= _BOX_FILLS]
    pages = np.zeros(count, dtype=np.bool_)
    for index, area in areas.items():
        if shares[index] < _MIN_AREA_SHARE:
            continue
        enclosed = np.unique(labels[windows[index]][area])
        boxes = np.count_nonzero(np.isin(enclosed, rectangles) & (enclosed != index))
        written = text[windows[index]][area].mean()
        pages[index] = written >= _TEXT_SHARE or boxes >= _MIN_BOXES
    return float(pages[labels].mean())


def _filled(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return an area with its holes. What cuts into it from the border of the picture is none."""
    contours, _ = cv2.findContours(
        area.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    filled = np.zeros(area.shape, dtype=np.uint8)
    cv2.drawContours(filled, contours, -1, 1, thickness=-1)
    return filled.astype(np.bool_)
