"""How a person looks: a colour histogram of head and chest, cheap enough for every frame.

No face recognition: this tells a red jacket from a black blouse, which is what an undetected
dissolve or a swapped speaker changes, and needs no weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BINS: Final = (6, 8, 8)
_PATCH_PX: Final = 48
_LAB_LOW: Final = np.array([0, 64, 64], dtype=np.uint8)
_LAB_HIGH: Final = np.array([255, 191, 191], dtype=np.uint8)


def person_region(face_box_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return head and chest around a face as a box: (4,) x0, y0, x1, y1 px.

    2.4 face heights wide, from half a face height above the face box to two below it.
    """
    x0, y0, x1, y1 = (float(value) for value in face_box_px)
    middle, height = (x0 + x1) / 2, y1 - y0
    return np.array(
        [middle - 1.2 * height, y0 - 0.5 * height, middle + 1.2 * height, y1 + 2 * height]
    )


def person_patch(
    image: NDArray[np.uint8], face_box_px: NDArray[np.floating]
) -> NDArray[np.uint8] | None:
    """Return head and chest as (48, 48, 3) uint8 RGB; None off the picture.

    Args:
        image: (H, W, 3) uint8 RGB.
        face_box_px: (4,) x0, y0, x1, y1.
    """
    height, width = image.shape[:2]
    box = person_region(face_box_px)
    x0, y0 = np.maximum(box[:2], 0).astype(int)
    x1, y1 = np.minimum(box[2:], (width, height)).astype(int)
    if x1 - x0 < 8 or y1 - y0 < 8:
        return None
    patch: NDArray[np.uint8] = cv2.resize(
        image[y0:y1, x0:x1], (_PATCH_PX, _PATCH_PX), interpolation=cv2.INTER_AREA
    )
    return patch


def in_light(patch: NDArray[np.uint8], level: float) -> NDArray[np.uint8]:
    """Return the patch with another mean level, as under brighter or darker lamps."""
    gain = level / max(1.0, float(patch.mean()))
    lit: NDArray[np.uint8] = np.clip(patch * np.float32(gain), 0, 255).astype(np.uint8)
    return lit


def looks(patch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the smoothed CIELAB histogram of a patch, summing to 1: (384,) float32."""
    lab = cv2.cvtColor(patch, cv2.COLOR_RGB2LAB)
    # The a and b of ordinary pictures fill the middle half of their range; coloured stage light
    # goes beyond and counts as its edge.
    lab = np.clip(lab, _LAB_LOW, _LAB_HIGH)
    histogram = cv2.calcHist([lab], [0, 1, 2], None, list(_BINS), [0, 256, 64, 192, 64, 192])
    # Neighbouring bins share, so that a small change of light is a small change.
    for axis in range(3):
        histogram = _blur(histogram, axis)
    flat: NDArray[np.float32] = histogram.ravel()
    total = np.float32(flat.sum())
    return flat / total


def hellinger(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return the Hellinger distance of two histograms that sum to 1: 0 equal, 1 nothing shared."""
    overlap = float(np.sqrt(first * second).sum())
    return float(np.sqrt(max(0.0, 1.0 - overlap)))


def _blur(histogram: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    padded = np.pad(histogram, [(1, 1) if i == axis else (0, 0) for i in range(3)], mode="edge")
    size = histogram.shape[axis]
    parts = [np.take(padded, range(shift, shift + size), axis=axis) for shift in range(3)]
    blurred: NDArray[np.float32] = 0.25 * parts[0] + 0.5 * parts[1] + 0.25 * parts[2]
    return blurred
