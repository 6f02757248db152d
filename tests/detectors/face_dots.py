"""The white face dots of a DWPose drawing, found again in a lossy video of it."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

RADIUS_PX: Final = 3


def find_face_dots(drawing: np.ndarray) -> np.ndarray:
    """Return the (N, 2) px middles of white discs of radius 3.

    Dots of eyes and lips run into one another. So discs are taken away one after another, each
    time the one that covers most of the white that is left, as long as it lies in the white and
    covers something of its own.

    Args:
        drawing: (H, W, 3) uint8.
    """
    size = 2 * RADIUS_PX + 1
    disc = np.zeros((size, size), dtype=np.float32)
    cv2.circle(disc, (RADIUS_PX, RADIUS_PX), RADIUS_PX, 1, -1)
    white = (drawing.min(axis=2) > 150).astype(np.uint8)
    x0, y0, width, height = cv2.boundingRect(white)
    margin = 3 * size
    left = np.pad(white[y0 : y0 + height, x0 : x0 + width], margin).astype(np.float32)
    gain = cv2.filter2D(left, -1, disc)
    fits = gain >= 0.85 * disc.sum()
    gain[~fits] = 0
    dots: list[tuple[int, int]] = []
    while True:
        row, column = divmod(int(gain.argmax()), gain.shape[1])
        if gain[row, column] < 0.3 * disc.sum():
            return np.array(dots, dtype=np.float64).reshape(-1, 2)
        dots.append((column - margin + x0, row - margin + y0))
        top, start = row - RADIUS_PX, column - RADIUS_PX
        left[top : top + size, start : start + size] *= 1 - disc
        # Only about the disc that was taken away is there less to gain.
        near = np.s_[top - size : top + 2 * size, start - size : start + 2 * size]
        inner = np.s_[RADIUS_PX:-RADIUS_PX, RADIUS_PX:-RADIUS_PX]
        again = cv2.filter2D(left[near], -1, disc)
        gain[near][inner] = np.where(fits[near], again, 0)[inner]
