"""The square of a wide picture that one person's hands and face are looked for in.

MediaPipe's detectors see the whole picture at 192 px, where the hands of a person in a wide shot
vanish.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.detectors.hand_sides import body_size_px
from tpbench.wholebody import LEFT_SHOULDER, RIGHT_SHOULDER

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REACH: Final = 5.0
"""Side of the square around the shoulders that both hands stay in, in body sizes."""

_MAX_SHIFT_SHARE: Final = 0.2
_MAX_GROWTH: Final = 1.25
"""A window that is out by more than these is set anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A square part of a picture."""

    x0_px: int
    y0_px: int
    side_px: int

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return this part of a (H, W, 3) picture, as a view."""
        x1, y1 = self.x0_px + self.side_px, self.y0_px + self.side_px
        return image[self.y0_px : y1, self.x0_px : x1]


def window_around(
    keypoints_px: NDArray[np.floating], size_px: tuple[int, int], last: Window | None
) -> Window:
    """Return the window of a person.

    It is as large as arms reach, or as the picture allows. It stays where it was as long as that
    will do, because a hand that is followed in it is lost when it moves.

    Args:
        keypoints_px: (17 or more, 2) px, COCO body joints first, shoulders and hips known.
        size_px: height and width of the picture.
        last: the window of the frame before, if any.
    """
    height_px, width_px = size_px
    side = int(np.clip(_REACH * body_size_px(keypoints_px), 2, min(height_px, width_px)))
    middle = keypoints_px[[LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=0)
    start = np.clip(np.rint(middle - side / 2), 0, [width_px - side, height_px - side])
    if last is not None:
        shift = float(np.abs(start + side / 2 - (last.x0_px, last.y0_px) - last.side_px / 2).max())
        growth = max(side / last.side_px, last.side_px / side)
        if shift <= _MAX_SHIFT_SHARE * last.side_px and growth <= _MAX_GROWTH:
            return last
    return Window(x0_px=int(start[0]), y0_px=int(start[1]), side_px=side)
