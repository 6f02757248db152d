"""Laying a clip on the canvas a method works on, and taking its output back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tpbench.baselines.external.parts import Geometry


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where on the canvas a clip lies. All in px."""

    width_px: int
    """Of the clip."""

    height_px: int
    """Of the clip."""

    canvas_width_px: int
    canvas_height_px: int
    x0_px: int
    """Left edge of the clip on the canvas."""

    y0_px: int
    """Top edge of the clip on the canvas."""

    box_width_px: int
    """Of the clip on the canvas."""

    box_height_px: int
    """Of the clip on the canvas."""

    def place(
        self,
        image: NDArray[np.uint8],
        *,
        around: tuple[int, int, int] | None = None,
        labels: bool = False,
    ) -> NDArray[np.uint8]:
        """Lay a picture of the clip's size on the canvas.

        Args:
            image: (height_px, width_px, 3) uint8 RGB.
            around: colour of the rest of the canvas; None: the picture's outermost pixels again.
            labels: colours are codes that must not be mixed.

        Returns:
            (canvas_height_px, canvas_width_px, 3) uint8 RGB.
        """
        import cv2

        size = (self.box_height_px, self.box_width_px)
        box = _resized(image, size, labels=labels)
        below = self.canvas_height_px - self.y0_px - self.box_height_px
        right = self.canvas_width_px - self.x0_px - self.box_width_px
        border = cv2.BORDER_REPLICATE if around is None else cv2.BORDER_CONSTANT
        canvas: NDArray[np.uint8] = cv2.copyMakeBorder(
            box, self.y0_px, below, self.x0_px, right, border, value=around or (0, 0, 0)
        )
        return canvas

    def place_points(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Move (..., 2) px of the clip to px of the canvas; pixel centres are whole numbers."""
        scale = np.array([self.box_width_px / self.width_px, self.box_height_px / self.height_px])
        origin = np.array([self.x0_px, self.y0_px])
        moved: NDArray[np.float64] = (points.astype(np.float64) + 0.5) * scale + origin - 0.5
        return moved

    def take_back(self, canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cut the clip out of a canvas and bring it to the clip's own size: undoes `place`."""
        rows = slice(self.y0_px, self.y0_px + self.box_height_px)
        columns = slice(self.x0_px, self.x0_px + self.box_width_px)
        size = (self.height_px, self.width_px)
        return np.ascontiguousarray(_resized(canvas[rows, columns], size, labels=False))


def lay_out(geometry: Geometry, *, width_px: int, height_px: int) -> Layout:
    """Choose the canvas for a clip, and where on it the clip lies: in the middle.

    Args:
        geometry: of the method.
        width_px: of the clip.
        height_px: of the clip.
    """
    if geometry.fit == "pad":
        step = geometry.multiple_of
        canvas = (-(-width_px // step) * step, -(-height_px // step) * step)
        box = (width_px, height_px)
    else:
        canvas = max(geometry.sizes, key=lambda size: _share_filled(size, width_px, height_px))
        scale = min(canvas[0] / width_px, canvas[1] / height_px)
        box = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
        if geometry.fit == "stretch":
            box = canvas
    return Layout(
        width_px=width_px,
        height_px=height_px,
        canvas_width_px=canvas[0],
        canvas_height_px=canvas[1],
        x0_px=(canvas[0] - box[0]) // 2,
        y0_px=(canvas[1] - box[1]) // 2,
        box_width_px=box[0],
        box_height_px=box[1],
    )


def _share_filled(canvas: tuple[int, int], width_px: int, height_px: int) -> float:
    """Return the share of the canvas that the clip covers when it is scaled to fit in."""
    scales = canvas[0] / width_px, canvas[1] / height_px
    return min(scales) / max(scales)


def _resized(image: NDArray[np.uint8], size: tuple[int, int], *, labels: bool) -> NDArray[np.uint8]:
    """Resize to (height, width): area means when shrinking, cubic when growing."""
    import cv2

    if image.shape[:2] == size:
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    smooth = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    how = cv2.INTER_NEAREST_EXACT if labels else smooth
    resized: NDArray[np.uint8] = cv2.resize(image, size[::-1], interpolation=how)
    return resized
