"""Drawing a moved layer over a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from tpbench.baselines.warp import fitting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tpbench.baselines.warp.fitting import Affine
    from tpbench.baselines.warp.layers import Layer
    from tpbench.baselines.warp.motion import BackwardMap

    Box = tuple[int, int, int, int]

_CELL_PX: Final = 16
"""Between the nodes at which a smooth map is computed."""


def draw_rigid(canvas: NDArray[np.uint8], layer: Layer, forward: Affine) -> None:
    """Draw a layer moved by one affine map over an (H, W, 3) uint8 picture, in place."""
    box = _box_around(canvas, layer, forward, slack_px=0.0)
    if box is None:
        return
    x0, y0, x1, y1 = box
    back = fitting.inverse(forward)
    origin = fitting.apply(back, np.array([x0, y0], dtype=np.float64)) - layer.corner
    moved = cv2.warpAffine(
        layer.image,
        np.column_stack([back[:, :2], origin]),
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    _blend(canvas[y0:y1, x0:x1], moved)


def draw_bent(
    canvas: NDArray[np.uint8],
    layer: Layer,
    back: BackwardMap,
    *,
    around: Affine | None = None,
    slack_px: float = 0.0,
) -> None:
    """Draw a layer moved by a smooth map over a picture, in place.

    Args:
        canvas: (H, W, 3) uint8 RGB.
        layer: what is drawn.
        back: from the output to the reference.
        around: about where the layer goes, to draw no more than is needed; None: anywhere.
        slack_px: how far from there.
    """
    height, width = canvas.shape[:2]
    box: Box | None = (0, 0, width, height)
    if around is not None:
        box = _box_around(canvas, layer, around, slack_px=slack_px)
    if box is not None:
        x0, y0, x1, y1 = box
        moved = cv2.remap(layer.image, _fine_map(box, layer, back), None, cv2.INTER_LINEAR)
        _blend(canvas[y0:y1, x0:x1], moved)


def _fine_map(box: Box, layer: Layer, back: BackwardMap) -> NDArray[np.float32]:
    """Return (h, w, 2) px of the layer for each pixel of a box, linear between the nodes."""
    x0, y0, x1, y1 = box
    # One ring of nodes more than the box needs: resizing is constant outside the outermost ones.
    columns, rows = -(-(x1 - x0) // _CELL_PX) + 2, -(-(y1 - y0) // _CELL_PX) + 2
    xs = x0 + (np.arange(columns) - 0.5) * _CELL_PX - 0.5
    ys = y0 + (np.arange(rows) - 0.5) * _CELL_PX - 0.5
    nodes = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    coarse = (back(nodes) - layer.corner).reshape(rows, columns, 2).astype(np.float32)
    size = (columns * _CELL_PX, rows * _CELL_PX)
    fine: NDArray[np.float32] = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
    return fine[_CELL_PX : _CELL_PX + y1 - y0, _CELL_PX : _CELL_PX + x1 - x0]


def _box_around(
    canvas: NDArray[np.uint8], layer: Layer, forward: Affine, *, slack_px: float
) -> Box | None:
    """Return x0, y0, x1, y1 of the pixels that a layer may reach; None if all are outside."""
    height, width = layer.image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    outline = fitting.apply(forward, layer.corner + corners)
    canvas_px = (canvas.shape[1], canvas.shape[0])
    low = np.clip(np.floor(outline.min(axis=0) - slack_px) - 1, 0, canvas_px)
    high = np.clip(np.ceil(outline.max(axis=0) + slack_px) + 2, 0, canvas_px)
    (x0, y0), (x1, y1) = low.astype(int).tolist(), high.astype(int).tolist()
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _blend(under: NDArray[np.uint8], over: NDArray[np.uint8]) -> None:
    """Lay premultiplied (h, w, 4) `over` onto (h, w, 3) `under`, in place."""
    rest = cv2.merge([255 - over[..., 3]] * 3)
    under[:] = cv2.add(cv2.multiply(under, rest, scale=1 / 255), over[..., :3])
