"""Whether two pictures show one scene in another light.

Lamps that fade, flicker or are switched on change every pixel and no shape. So pictures are
stripped of their light (local mean and local contrast), and what is left is laid over the other's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REACH_PX: Final = 6.0
"""Light changes slowly across a picture: over this many px of a thumbnail 64 px wide."""

_SLACK_PX: Final = 5
"""How far the camera may have moved, in px of the thumbnail."""

SECONDS_APART: Final = 0.3
"""Least likeness of one scene to itself seconds later: 0.30 to 0.85 in the sample talks, whatever
the lamps, and with a panning camera. Two scenes reach 0.21."""

FRAMES_APART: Final = 0.95
"""Least likeness of one scene to itself in the next frame. A cut to a picture that holds 70 % of
the one before reaches 0.92."""

_LEAST_CONTRAST_SHARE: Final = 0.1
_LEAST_CONTRAST_LEVELS: Final = 1.0
"""With less left, not the light has changed but the picture is gone, as in a fade to black."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Structure:
    """A picture without its light."""

    shapes: NDArray[np.float32]
    """(h, w), about 1 at strong edges, of either sign."""

    contrast_levels: float
    """How strong the shapes were, 8-bit levels of lightness."""


def structure(lab: NDArray[np.float32]) -> Structure:
    """Return the shapes of a `lab_thumbnail`."""
    lightness = np.ascontiguousarray(lab[..., 0])
    detail = lightness - cv2.GaussianBlur(lightness, (0, 0), _REACH_PX)
    local = np.sqrt(cv2.GaussianBlur(detail**2, (0, 0), _REACH_PX))
    contrast = float(np.sqrt((detail**2).mean()))
    shapes: NDArray[np.float32] = detail / (local + np.float32(0.5 * contrast + 1e-6))
    return Structure(shapes=shapes, contrast_levels=contrast)


def likeness(first: Structure, second: Structure) -> float:
    """Return the correlation of the shapes of two pictures, where they fit best, -1..1.

    0 where either has hardly any shapes, or one has lost most of the other's: nothing says then
    that they are one scene.
    """
    low, high = sorted((first.contrast_levels, second.contrast_levels))
    if low < max(_LEAST_CONTRAST_LEVELS, _LEAST_CONTRAST_SHARE * high):
        return 0.0
    height, width = first.shapes.shape
    if min(height, width) < 4 * _SLACK_PX:
        return 0.0
    inner = first.shapes[_SLACK_PX : height - _SLACK_PX, _SLACK_PX : width - _SLACK_PX]
    fits = cv2.matchTemplate(second.shapes, inner, cv2.TM_CCOEFF_NORMED)
    return float(fits.max())
