"""The 68 iBUG face points, as DWPose draws them, out of the 468 vertices of the face mesh.

Eyes, nose and lips are single vertices. Two groups are not, because the two models mean different
things:

- The jaw (0-16) of iBUG is the *visible outline*, evenly spaced, from ear to ear. Of a turned head
  the mesh's far cheek is hidden behind the near one, so that side of the mesh's oval is pushed
  out, level with the eyes, to where the projected mesh ends ("landmark marching": Zhu et al., CVPR
  2015). Under the chin the mesh ends at the front of the jaw bone, the drawn outline below it: the
  lower half is extrapolated from the next ring inwards. Then 17 points are set evenly along the
  result.
- A brow (17-26) is a line a little below the mesh's upper brow line, five points evenly along it.

Sides are the person's own: points 0-7, 17-21, 36-41 are of the right side. All is symmetric.
The three shares below were chosen on every sixth frame of two talks and hold on the others: of the
dots that DWPose drew, 98.5 % and 99.8 % have a point of ours within 6 px of 512 (a choice of fixed
vertices: 92 % and 93 %; of the dots that touch no other dot, 95 % and 99 % against 76 % and 74 %).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.detectors.face_mesh import LEFT_EYE_OUTER, NUM_VERTICES, RIGHT_EYE_OUTER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


_OVAL: Final = (
    127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148,
    152,
    377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356,
)  # fmt: skip
"""The oval's vertices from the right temple under the chin to the left temple."""

_TEMPLES: Final = (162, 389)
"""The next vertices above both ends of `_OVAL`."""

_TEMPLE_SHARE: Final = 0.3
"""The outline begins this share of the way from the oval's end to the vertex above."""

_LOWER_JAW: Final = slice(6, 17)
_INNER_RING: Final = (136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365), (
    135, 169, 170, 140, 171, 175, 396, 369, 395, 394, 364,
)  # fmt: skip
"""Vertices of `_OVAL[_LOWER_JAW]`, and those straight inwards of them."""

_CHIN_REACH: Final = 0.4
"""The outline lies this share of the step from the inner ring to the oval further out."""

_UPPER_BROWS: Final = (70, 63, 105, 66, 107), (336, 296, 334, 293, 300)
_LOWER_BROWS: Final = (46, 53, 52, 65, 55), (285, 295, 282, 283, 276)
_BROW_DROP: Final = 0.3
"""A brow lies this share of the way from its upper to its lower line."""

_SINGLE_VERTICES: Final = (
    6, 197, 5, 4, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
"""Points 27-67: bridge and foot of the nose, right and left eye, outer and inner lips."""


def mesh_to_ibug68(vertices_px: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the iBUG points of one face.

    Args:
        vertices_px: (468, 2) px, the canonical face mesh.

    Returns:
        (68, 2) px.

    Raises:
        ValueError: another number of vertices.
    """
    mesh = vertices_px.astype(np.float64)
    if mesh.shape != (NUM_VERTICES, 2):
        msg = f"want ({NUM_VERTICES}, 2), got {mesh.shape = }"
        raise ValueError(msg)
    brows = [_brow(mesh, *lines) for lines in zip(_UPPER_BROWS, _LOWER_BROWS, strict=True)]
    points = np.concatenate([_jaw(mesh), *brows, mesh[list(_SINGLE_VERTICES)]])
    return points.astype(np.float32)


def _jaw(mesh: NDArray[np.float64]) -> NDArray[np.float64]:
    outline = mesh[list(_OVAL)]
    oval, inner = (mesh[list(ring)] for ring in _INNER_RING)
    outline[_LOWER_JAW] = oval + _CHIN_REACH * (oval - inner)
    temples = mesh[list(_TEMPLES)]
    outline[[0, -1]] += _TEMPLE_SHARE * (temples - outline[[0, -1]])
    return _spread_evenly(_push_to_outline(mesh, outline), 17)


def _brow(
    mesh: NDArray[np.float64], upper: Sequence[int], lower: Sequence[int]
) -> NDArray[np.float64]:
    line = (1 - _BROW_DROP) * mesh[list(upper)] + _BROW_DROP * mesh[list(lower)]
    return _spread_evenly(line, 5)


def _push_to_outline(mesh: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move points sideways, along the line of the eyes, to the edge of the projected mesh.

    The first half of the points moves to the person's right, the second to the left, the one in
    the middle and those that lie outside the mesh stay.
    """
    across = mesh[LEFT_EYE_OUTER] - mesh[RIGHT_EYE_OUTER]
    length = float(np.hypot(*across))
    across = across / length if length > 0 else np.array([1.0, 0.0])
    level = np.array([across, [-across[1], across[0]]])
    (x, y), (mesh_x, mesh_y) = level @ points.T, level @ mesh.T
    start, end = _mesh_edges().T
    rise = mesh_y[end] - mesh_y[start]
    share = (y[:, None] - mesh_y[start]) / np.where(np.abs(rise) < 1e-9, 1e-9, rise)
    crossing = mesh_x[start] + share * (mesh_x[end] - mesh_x[start])
    side = np.sign(np.arange(len(points)) - len(points) // 2)
    reach = np.where((share >= 0) & (share <= 1), crossing * side[:, None], -np.inf).max(axis=1)
    pushed = np.where(side == 0, x, np.maximum(reach, x * side) * side)
    moved: NDArray[np.float64] = np.column_stack([pushed, y]) @ level
    return moved


def _spread_evenly(line: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return `count` points at equal distances along a polyline, both ends included."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0.0, along[-1], count)
    return np.column_stack([np.interp(wanted, along, line[:, axis]) for axis in (0, 1)])


@functools.cache
def _mesh_edges() -> NDArray[np.intp]:
    """Return the (E, 2) vertices of the mesh's edges, each edge once."""
    from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarksConnections

    tessellation = FaceLandmarksConnections.FACE_LANDMARKS_TESSELATION
    edges = np.array([(edge.start, edge.end) for edge in tessellation], dtype=np.intp)
    return np.unique(np.sort(edges, axis=1), axis=0)
