"""Drawing a moved layer over a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from tpbench.baselines.warp import fitting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tpbench.baselines.warp.fitting import Affine
    from tpbench.baselines.warp.joints import Points
    from tpbench.baselines.warp.layers import Layer
    from tpbench.baselines.warp.motion import BackwardMap

_CELL_PX: Final = 16
"""Between the nodes that a smooth map is computed at."""


def draw_rigid(canvas: NDArray[np.uint8], layer: Layer, forward: Affine) -> None:
    """Draw a layer that moves by one affine map, in place."""
    box = _box(canvas, fitting.apply(forward, _corners(layer)))
    if box is None:
        return
    x0, y0, x1, y1 = box
    back = fitting.inverse(forward)
    offset = fitting.apply(back, np.array([x0, y0], dtype=np.float64)) - layer.corner
    moved = cv2.warpAffine(
        layer.image,
        np.column_stack([back[:, :2], offset]),
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    _blend(canvas[y0:y1, x0:x1], moved)


def draw_bent(
    canvas: NDArray[np.uint8], layer: Layer, back: BackwardMap, outline: Points
) -> None:
    """Draw a layer that moves by a smooth map, in place.

    Args:
        canvas: (H, W, 3) uint8 RGB.
        layer: what is drawn.
        back: from the output to the reference.
        outline: (N, 2) px of the output: the box around them is drawn.
    """
    box = _box(canvas, outline)
    if box is None:
        return
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    # One ring of nodes more than the box needs: resizing is constant outside the outermost ones.
    columns, rows = -(-width // _CELL_PX) + 2, -(-height // _CELL_PX) + 2
    xs = x0 + (np.arange(columns) - 0.5) * _CELL_PX - 0.5
    ys = y0 + (np.arange(rows) - 0.5) * _CELL_PX - 0.5
    nodes = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    coarse = (back(nodes) - layer.corner).reshape(rows, columns, 2).astype(np.float32)
    fine = cv2.resize(
        coarse, (columns * _CELL_PX, rows * _CELL_PX), interpolation=cv2.INTER_LINEAR
    )[_CELL_PX : _CELL_PX + height, _CELL_PX : _CELL_PX + width]
    moved = cv2.remap(layer.image, fine, None, cv2.INTER_LINEAR)
    _blend(canvas[y0:y1, x0:x1], moved)


def _corners(layer: Layer) -> Points:
    height, width = layer.image.shape[:2]
    return layer.corner + np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)


def _box(canvas: NDArray[np.uint8], outline: Points) -> tuple[int, int, int, int] | None:
    """Return x0, y0, x1, y1 of the pixels around an outline, or None if they are all outside."""
    height, width = canvas.shape[:2]
    low, high = np.floor(outline.min(axis=0)) - 1, np.ceil(outline.max(axis=0)) + 2
    x0, y0 = (int(value) for value in np.clip(low, 0, (width, height)))
    x1, y1 = (int(value) for value in np.clip(high, 0, (width, height)))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _blend(under: NDArray[np.uint8], over: NDArray[np.uint8]) -> None:
    """Lay premultiplied (h, w, 4) `over` onto (h, w, 3) `under`, in place."""
    rest = cv2.merge([255 - over[..., 3]] * 3)
    under[:] = cv2.add(cv2.multiply(under, rest, scale=1 / 255), over[..., :3])
