"""Points carried from frame to frame by optical flow (Lucas and Kanade, in pyramids)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(K, 3): x and y in px of the image, and a score in [0, 1], of the K points of one thing."""

_WINDOW_PX: Final = 21
_LEVELS: Final = 3
_STEPS: Final = 10
_STEP_PX: Final = 0.03
"""A point that moves less in one step has arrived."""
_MARGIN_SHARE: Final = 0.75
"""How far a thing is followed from where it was, in sizes of it."""
_MARGIN_PX: Final = 16
_MOST_PX: Final = 288
"""A thing with its margin is seen half as large, or less, if it is larger than this."""


class Greys:
    """The pictures of consecutive frames without colour, made as they are wanted.

    Args:
        images: (H, W, 3) uint8 RGB of frames 0, 1 and so on, of one size; at least one.
        before: the image of frame -1, if there is one.
    """

    def __init__(
        self, images: Sequence[NDArray[np.uint8]], before: NDArray[np.uint8] | None = None
    ) -> None:
        self._images = dict(enumerate(images))
        if before is not None:
            self._images[-1] = before
        self._made: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self.size_px: Final = images[0].shape[1::-1]

    def picture(self, number: int, shrunk: int) -> NDArray[np.uint8]:
        """Return (H // shrunk, W // shrunk) uint8 of one frame, for a power of two."""
        import cv2

        found = self._made.get((number, shrunk))
        if found is None:
            if shrunk == 1:
                made = cv2.cvtColor(self._images[number], cv2.COLOR_RGB2GRAY)
            else:
                larger = self.picture(number, shrunk // 2)
                height_px, width_px = (side // 2 for side in larger.shape)
                larger = larger[: 2 * height_px, : 2 * width_px]
                made = cv2.resize(larger, (width_px, height_px), interpolation=cv2.INTER_AREA)
            found = self._made[number, shrunk] = np.asarray(made, np.uint8)
        return found


def carried(
    greys: Greys, numbers: Sequence[int], thing: Points, tracked: NDArray[np.bool_]
) -> list[Points]:
    """Return where a thing is in each of some frames, given where it is in the first.

    Args:
        greys: the frames.
        numbers: some of them in order of time, forwards or backwards.
        thing: its points in the first of them.
        tracked: (K,) which points the flow carries, if they lie in the image; all others move by
            the mean of these.
    """
    import cv2

    size_px = np.array(greys.size_px)
    shown = tracked & np.all((thing[:, :2] >= 0) & (thing[:, :2] <= size_px - 1), axis=1)
    if not shown.any():
        return [thing] * len(numbers)
    view: _View | None = None
    places, ways = thing[shown, :2], [thing]
    for number, after in pairwise(numbers):
        if view is None or view.is_left_by(places):
            view = _View.around(places, greys.size_px)
        start = view.from_image(places)
        found, seen, _ = cv2.calcOpticalFlowPyrLK(
            view.of(greys, number),
            view.of(greys, after),
            start,
            None,
            winSize=(_WINDOW_PX, _WINDOW_PX),
            maxLevel=_LEVELS,
            criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, _STEPS, _STEP_PX),
        )
        places = view.to_image(np.where(seen[:, :, None] > 0, found, start))
        moved = thing.copy()
        moved[:, :2] += (places - thing[shown, :2]).mean(axis=0)
        moved[shown, :2] = places
        ways.append(moved)
    return ways


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _View:
    """The part of the picture in which a thing is followed for a few frames, and how large."""

    left: int
    top: int
    width_px: int
    height_px: int
    shrunk: int
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    """Between these corners, in px of the image, the view holds all that a point may need."""

    @classmethod
    def around(cls, places: NDArray[np.float64], size_px: tuple[int, int]) -> _View:
        low, high = places.min(axis=0), places.max(axis=0)
        side_px = float((high - low).max())
        margin = _MARGIN_PX + _MARGIN_SHARE * side_px
        shrunk = 1
        while min(side_px + 2 * margin, *size_px) > _MOST_PX * shrunk:
            shrunk *= 2
        left, top = (int(side) // shrunk for side in np.maximum(low - margin, 0))
        right, bottom = (int(side) // shrunk for side in np.minimum(high + margin, size_px))
        return cls(
            left=left,
            top=top,
            width_px=max(1, right - left),
            height_px=max(1, bottom - top),
            shrunk=shrunk,
            low=low - margin / 2,
            high=high + margin / 2,
        )

    def is_left_by(self, places: NDArray[np.float64]) -> bool:
        return bool((places < self.low).any() or (places > self.high).any())

    def of(self, greys: Greys, number: int) -> NDArray[np.uint8]:
        picture = greys.picture(number, self.shrunk)
        return picture[self.top : self.top + self.height_px, self.left : self.left + self.width_px]

    def from_image(self, places: NDArray[np.float64]) -> NDArray[np.float32]:
        inside = (places + 0.5) / self.shrunk - 0.5 - (self.left, self.top)
        return inside.astype(np.float32)[:, None]

    def to_image(self, found: NDArray[np.float32]) -> NDArray[np.float64]:
        inside = found[:, 0].astype(np.float64)
        image_px: NDArray[np.float64] = self.shrunk * (inside + (self.left, self.top) + 0.5) - 0.5
        return image_px
