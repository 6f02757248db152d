"""Pictures in which a textured patch moves over another texture, to sub-pixel places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.flow import Points

SIDE_PX: Final = 256
_PATCH_PX: Final = 64
THING: Final[Points] = np.array(
    [[-16.0, -20.0, 1.0], [16.0, -20.0, 1.0], [16.0, 20.0, 1.0], [-16.0, 20.0, 1.0], [0, 0, 1.0]]
)
"""Points of a patch, from its centre."""


def at(x: float, y: float) -> Points:
    """Return the points of a patch with its centre in this place."""
    moved: Points = THING + np.array([x, y, 0.0])
    return moved


def _texture(seed: int, side_px: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).uniform(0, 255, (side_px, side_px)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    low, high = smooth.min(), smooth.max()
    grey = (255 * (smooth - low) / (high - low)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def picture(*places: tuple[float, float], seed: int = 0) -> NDArray[np.uint8]:
    """Return (256, 256, 3) uint8 with a patch around each place, the later ones on top.

    Args:
        places: centres; each patch has a texture of its own, by its number.
        seed: of the background.
    """
    image = _texture(seed + 100, SIDE_PX)
    for number, (x, y) in enumerate(places, start=1):
        way = np.array([[1, 0, x - (_PATCH_PX - 1) / 2], [0, 1, y - (_PATCH_PX - 1) / 2]])
        size = (SIDE_PX, SIDE_PX)
        patch = cv2.warpAffine(_texture(number, _PATCH_PX), way, size)
        shown = cv2.warpAffine(np.ones((_PATCH_PX, _PATCH_PX), np.float32), way, size)[:, :, None]
        image = np.rint(image * (1 - shown) + patch * shown).astype(np.uint8)
    return image


def pictures(places: Sequence[tuple[float, float]]) -> list[NDArray[np.uint8]]:
    """Return one picture with one patch for each place."""
    return [picture(place) for place in places]
