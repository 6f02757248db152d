"""The mesh of a face by MediaPipe, and the 68 points of iBUG."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import FaceDetection
from tpbench.detectors.flow import Points
from tpbench.detectors.lite import LiteNetwork, SquareCrop, digest, model_bytes, sigmoid

NUM_VERTICES: Final = 468
RIGHT_EYE_OUTER: Final = 33
LEFT_EYE_OUTER: Final = 263

_CROP_SCALE: Final = 1.5
_MAX_PASSES: Final = 6
_SETTLED_SHARE: Final = 0.03
"""A crop whose corners move less than this share of its side shows the same mesh."""
_MIN_SCORE: Final = 0.5
_SHAPE_SHARE: Final = 0.04
"""By how much a mesh may change from one frame to the next but one: 3 px of 80. The mean of both is
then off by 0.4 px (median; 95 %: 1.8 px)."""


_EDGES: Final = "face_mesh_edges.txt"
"""A vertex on each line, then those of a greater number that an edge leads to."""


class FaceMesh:
    """Finds the mesh of a face.

    A mesh is (468, 3): x and y in px of the image in the canonical order of MediaPipe's face mesh,
    and, for all vertices, the network's confidence in [0, 1] that the crop holds a face.

    Args:
        offline: never fetch the model file.

    Raises:
        MissingWeightsError: the model file is absent and may not or can't be fetched.
    """

    def __init__(self, *, offline: bool = False) -> None:
        model = model_bytes("mediapipe-face-mesh", offline=offline)
        self.model_digest: Final = digest(model, "direct")
        self._network = LiteNetwork(model, ("conv2d_21", "conv2d_31"))

    def find(self, image: NDArray[np.uint8], face: FaceDetection) -> Points:
        """Return the mesh of `face`, whatever its score.

        Args:
            image: (H, W, 3) uint8 RGB.
            face: where the face detector found it, in px of `image`.
        """
        return self._settled(image, self._crop(face.box_px, face.eyes_px))

    def follow(self, image: NDArray[np.uint8], last: Points) -> Points:
        """Return the mesh near where it was in another frame, whatever its score."""
        return self._settled(image, self._crop_of(last[:, :2]))

    def _settled(self, image: NDArray[np.uint8], crop: SquareCrop) -> Points:
        """Find the mesh again in its own crop, until that is the crop it was found in."""
        mesh = self._in(image, crop)
        for _ in range(_MAX_PASSES - 1):
            before, crop = crop, self._crop_of(mesh[:, :2])
            if _moved_share(before, crop) <= _SETTLED_SHARE:
                break
            mesh = self._in(image, crop)
        return mesh

    def _in(self, image: NDArray[np.uint8], crop: SquareCrop) -> Points:
        values, logit = self._network.run(crop.cut(image, replicate=True))
        vertices = crop.points_px(values.reshape(NUM_VERTICES, 3)[:, :2])
        return np.column_stack([vertices, np.full(NUM_VERTICES, sigmoid(logit).item())])

    def _crop_of(self, vertices_px: NDArray[np.float64]) -> SquareCrop:
        box = np.concatenate([vertices_px.min(axis=0), vertices_px.max(axis=0)])
        return self._crop(box, vertices_px[[RIGHT_EYE_OUTER, LEFT_EYE_OUTER]])

    def _crop(self, box_px: NDArray[np.floating], eyes_px: NDArray[np.floating]) -> SquareCrop:
        low, high = box_px[:2].astype(np.float64), box_px[2:].astype(np.float64)
        across = (eyes_px[1] - eyes_px[0]).astype(np.float64)
        return SquareCrop.around(
            (low + high) / 2,
            _CROP_SCALE * float((high - low).max()),
            float(np.arctan2(across[1], across[0])),
            input_px=self._network.input_px,
        )


def _moved_share(before: SquareCrop, after: SquareCrop) -> float:
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * float(before.input_px)
    gaps = before.points_px(corners) - after.points_px(corners)
    return float(np.hypot(*gaps.T).mean()) / after.side_px


class MeshFollower:
    """Follows the mesh of one face through the frames of a stretch.

    The mesh is looked for where it was, moved as the face has moved since: it is rarely needed to
    look twice then. Every second frame is not looked at where the mesh hardly changes its shape
    from the frame before to the frame after: it is the mean of both.

    Args:
        mesh: the network.
        every_frame: look at every frame.
    """

    def __init__(self, mesh: FaceMesh, *, every_frame: bool = True) -> None:
        self._mesh = mesh
        self._every_frame = every_frame
        self._last: tuple[Points, FaceDetection] | None = None

    def reset(self) -> None:
        """Forget earlier frames."""
        self._last = None

    def push(
        self, images: Sequence[NDArray[np.uint8]], faces: Sequence[FaceDetection | None]
    ) -> list[Points | None]:
        """Return the mesh of the face of each of the next frames, whatever its score.

        Args:
            images: (H, W, 3) uint8 RGB.
            faces: that of each frame; where there is none, there is no mesh.
        """
        meshes: list[Points | None] = []
        while (at := len(meshes)) < len(images):
            before = self._last
            if at + 1 == len(images) or before is None or self._every_frame:
                meshes.append(self._next(images[at], faces[at]))
                continue
            after, last = self._next(images[at + 1], faces[at + 1]), self._last
            if faces[at] is None or after is None or not _have_one_shape(before[0], after):
                self._last = before
                between = self._next(images[at], faces[at])
            else:
                between = (before[0] + after) / 2
            meshes += [between, after]
            self._last = last
        return meshes

    def _next(self, image: NDArray[np.uint8], face: FaceDetection | None) -> Points | None:
        last, self._last = self._last, None
        if face is None:
            return None
        mesh = None if last is None else self._followed(image, face, *last)
        if mesh is None:
            mesh = self._mesh.find(image, face)
        if mesh[0, 2] >= _MIN_SCORE:
            self._last = mesh, face
        return mesh

    def _followed(
        self,
        image: NDArray[np.uint8],
        face: FaceDetection,
        last: Points,
        last_face: FaceDetection,
    ) -> Points | None:
        moved = (face.to_points() - last_face.to_points())[:, :2]
        guess = last.copy()
        guess[:, :2] += moved.mean(axis=0)
        if not _is_of(guess, face):
            return None
        mesh = self._mesh.follow(image, guess)
        return mesh if mesh[0, 2] >= _MIN_SCORE and _is_of(mesh, face) else None


def _have_one_shape(one: Points, other: Points) -> bool:
    """Whether nine vertices of ten moved alike, to within a share of the face's width."""
    moved = (other - one)[:, :2]
    apart = np.hypot(*(moved - moved.mean(axis=0)).T)
    return bool(np.quantile(apart, 0.9) <= _SHAPE_SHARE * np.ptp(one[:, 0]))


def _is_of(mesh: Points, face: FaceDetection) -> bool:
    """Whether the eyes of a mesh are nearer to those of a face than half of the face's height."""
    eyes = mesh[[RIGHT_EYE_OUTER, LEFT_EYE_OUTER], :2].mean(axis=0)
    gap = np.hypot(*(eyes - face.eyes_px.mean(axis=0)))
    return bool(gap <= 0.5 * (face.box_px[3] - face.box_px[1]))


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
        raise ValueError(f"want ({NUM_VERTICES}, 2), got {mesh.shape = }")
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
    """Return the (E, 2) vertices of the mesh's edges, each edge once, the smaller number first.

    They are MediaPipe's `FACE_LANDMARKS_TESSELATION`. To import that takes MediaPipe's Python
    package and Matplotlib along: half a second, and memory, of each worker.
    """
    lines = files("tpbench.detectors").joinpath(_EDGES).read_text("ascii").splitlines()
    numbers = [[int(word) for word in line.split()] for line in lines if not line.startswith("#")]
    return np.array([(first, second) for first, *ends in numbers for second in ends], dtype=np.intp)
