"""Faces by MediaPipe: boxes, mesh, and the 68 points of iBUG."""

from __future__ import annotations

import functools
import logging
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import Detections, FaceDetection
from tpbench.detectors.mediapipe_tasks import (
    MediaPipeTask,
    digest,
    model_bytes,
    quiet_native_output,
)
from tpbench.video import Frame, Window

logger = logging.getLogger(__name__)

NUM_VERTICES: Final = 468
RIGHT_EYE_OUTER: Final = 33
LEFT_EYE_OUTER: Final = 263

_INPUT_PX: Final = 192
_CROP_SCALE: Final = 1.5
_MAX_PASSES: Final = 6
_SETTLED_SHARE: Final = 0.005
"""A mesh that moves less than this share of its size has converged."""
_HALF_PIXEL: Final = 0.5
"""The network counts from the corner of its input, we from the centre of the first pixel."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeshFace:
    """The mesh of one face."""

    vertices_px: NDArray[np.float32]
    """(468, 2) px, in the canonical order of MediaPipe's face mesh."""
    score: float
    """In [0, 1]: the network's confidence that the crop holds a face."""


class FaceMesh:
    """Finds the mesh of a face.

    Args:
        offline: never fetch the model file.

    Raises:
        MissingWeightsError: the model file is absent and may not or can't be fetched.
        ImportError: LiteRT has no wheel for this machine; `open_face_mesh` handles that.
    """

    def __init__(self, *, offline: bool = False) -> None:
        from ai_edge_litert.interpreter import Interpreter

        model = model_bytes("mediapipe-face-mesh", offline=offline)
        self.model_digest: Final = digest(model)
        with quiet_native_output():
            self._interpreter = Interpreter(model_content=model, num_threads=1)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        outputs = self._interpreter.get_output_details()
        by_size = sorted(outputs, key=lambda output: int(np.prod(output["shape"])))
        self._score, self._vertices = (output["index"] for output in by_size)

    def find(self, image: NDArray[np.uint8], face: FaceDetection) -> MeshFace:
        """Return the mesh of `face`, whatever its score.

        Args:
            image: (H, W, 3) uint8 RGB.
            face: where the face detector found it, in px of `image`.
        """
        found = self._run(image, _crop_to_image(face.box_px, face.eyes_px))
        for _ in range(_MAX_PASSES - 1):
            vertices = found.vertices_px
            low, high = vertices.min(axis=0), vertices.max(axis=0)
            eyes = vertices[[RIGHT_EYE_OUTER, LEFT_EYE_OUTER]]
            found = self._run(image, _crop_to_image(np.concatenate([low, high]), eyes))
            moved = np.abs(found.vertices_px - vertices).mean()
            if moved <= _SETTLED_SHARE * (high - low).max():
                break
        return found

    def _run(self, image: NDArray[np.uint8], to_image: NDArray[np.float64]) -> MeshFace:
        import cv2

        crop = cv2.warpAffine(
            image,
            to_image,
            (_INPUT_PX, _INPUT_PX),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        self._interpreter.set_tensor(self._input, crop[None].astype(np.float32) / 255.0)
        self._interpreter.invoke()
        found = self._interpreter.get_tensor(self._vertices).reshape(NUM_VERTICES, 3)[:, :2]
        logit = float(self._interpreter.get_tensor(self._score).reshape(()))
        vertices = (found - _HALF_PIXEL) @ to_image[:, :2].T + to_image[:, 2]
        return MeshFace(vertices_px=vertices.astype(np.float32), score=_sigmoid(logit))


def open_face_mesh(*, offline: bool = False) -> FaceMesh | None:
    """Return the face mesh, or None where LiteRT has no wheel, which is logged once.

    Raises:
        MissingWeightsError: the model file is absent and may not or can't be fetched.
    """
    try:
        return FaceMesh(offline=offline)
    except ImportError as error:
        _tell_of_missing_mesh(str(error))
        return None


@functools.cache
def _tell_of_missing_mesh(reason: str) -> None:
    machine = f"{platform.system()} {platform.machine()}"
    logger.warning("no face points on this machine (%s): LiteRT is absent: %s", machine, reason)


def _crop_to_image(
    box_px: NDArray[np.floating], eyes_px: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the (2, 3) map from pixels of the crop to pixels of the image."""
    x0, y0, x1, y1 = box_px.astype(np.float64)
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    step = max(x1 - x0, y1 - y0) * _CROP_SCALE / _INPUT_PX
    across = (eyes_px[1] - eyes_px[0]).astype(np.float64)
    angle = np.arctan2(across[1], across[0])
    turn = step * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    origin = centre - turn @ np.full(2, (_INPUT_PX - 1) / 2)
    return np.column_stack([turn, origin])


def _sigmoid(logit: float) -> float:
    return float(1.0 / (1.0 + np.exp(-np.clip(logit, -60.0, 60.0))))


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
    """Return the (E, 2) vertices of the mesh's edges, each edge once."""
    from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarksConnections

    tessellation = FaceLandmarksConnections.FACE_LANDMARKS_TESSELATION
    edges = np.array([(edge.start, edge.end) for edge in tessellation], dtype=np.intp)
    return np.unique(np.sort(edges, axis=1), axis=0)


_FULL_RANGE_INPUT_PX: Final = 192
_SHORT_RANGE_INPUT_PX: Final = 128

_LARGE_SHARE: Final = 0.3
"""Least size of a face from the short-range network, as a share of the image's short side: the
full-range network would have found smaller ones, and all false detections are small."""
_MIN_SIDE_PX: Final = 16
"""Smaller images are not searched: the networks detect faces even in single pixels."""
_OBLONG: Final = 1.2
"""An image whose sides differ by more than this factor is also searched in square tiles."""
_SAME_FACE_SHARE: Final = 0.5
"""Two boxes whose centres are closer than this share of their side show one face."""


class MediaPipeFaceDetector:
    """Detects all faces of a frame, each frame independently.

    The full-range network searches the whole image. If it finds nothing, it searches three square
    tiles of an oblong image; finally the short-range network searches for a face that fills it.
    Three people scaled into other frames, square and 16:9, are found nine times in ten when the
    face, chin to hairline, is 8 % of the frame's height, always from 12 %, hardly ever below 5 %.

    Args:
        min_score: faces below it are not reported; in [0, 1].
        offline: never fetch model files.

    Raises:
        MissingWeightsError: a model file is absent and may not or can't be fetched.
        MissingDependencyError: a system library that MediaPipe links to is absent.
    """

    def __init__(self, *, min_score: float = 0.5, offline: bool = False) -> None:
        full = model_bytes("mediapipe-face-detector-full-range", offline=offline)
        short = model_bytes("mediapipe-face-detector", offline=offline)
        self._full_range, self._short_range = (
            MediaPipeTask(
                "FaceDetector", model, {"min_detection_confidence": min_score}, video=False
            )
            for model in (full, short)
        )
        self.model_digest: Final = digest(full, short, f"{min_score=}")

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Return the faces of each frame, the highest score first."""
        return [Detections(faces=self.find(frame.image)) for frame in frames]

    def find(
        self, image: NDArray[np.uint8], window: Window | None = None
    ) -> tuple[FaceDetection, ...]:
        """Return the faces of one image, in its px, the highest score first.

        Args:
            image: (H, W, 3) uint8 RGB.
            window: search only here.
        """
        view = image if window is None else window.cut(image)
        if min(view.shape[:2]) < _MIN_SIDE_PX:
            return ()
        faces = self._full_range_faces(view) or self._tiled_faces(view) or self._large_faces(view)
        if window is not None:
            faces = [_shifted(face, window) for face in faces]
        return tuple(sorted(faces, key=lambda face: -face.score))

    def reset(self) -> None:
        """Do nothing: no result depends on another frame."""

    def close(self) -> None:
        """Release native memory."""
        self._full_range.close()
        self._short_range.close()

    def _full_range_faces(self, image: NDArray[np.uint8]) -> list[FaceDetection]:
        found = self._full_range.run_on_image(image).detections
        return [_face(face, image.shape[:2], _FULL_RANGE_INPUT_PX) for face in found]

    def _tiled_faces(self, image: NDArray[np.uint8]) -> list[FaceDetection]:
        found = [
            _shifted(face, tile)
            for tile in _tiles(*image.shape[:2])
            for face in self._full_range_faces(tile.cut(image))
        ]
        kept: list[FaceDetection] = []
        for face in sorted(found, key=lambda face: -face.score):
            if all(_middle_gap_share(face, other) > _SAME_FACE_SHARE for other in kept):
                kept.append(face)
        return kept

    def _large_faces(self, image: NDArray[np.uint8]) -> list[FaceDetection]:
        least_px = _LARGE_SHARE * min(image.shape[:2])
        found = self._short_range.run_on_image(image).detections
        large = [face for face in found if face.bounding_box.height >= least_px]
        return [_face(face, image.shape[:2], _SHORT_RANGE_INPUT_PX) for face in large]


def _face(detection: Any, size_px: tuple[int, ...], input_px: int) -> FaceDetection:  # noqa: ANN401
    height_px, width_px = size_px
    box = detection.bounding_box
    corners = [box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height]
    points = np.array([(point.x, point.y) for point in detection.keypoints])
    # The image is scaled corner to corner, so points come out half an input pixel too far right
    # and down: those of an image and its mirror image differ by a whole one.
    points = points * (width_px, height_px) - max(size_px) / input_px / 2
    right_eye, left_eye, nose, _mouth, right_ear, left_ear = points.astype(np.float32)
    return FaceDetection(
        box_px=np.array(corners, dtype=np.float32),
        score=float(detection.categories[0].score),
        eyes_px=np.stack([right_eye, left_eye]),
        nose_px=nose,
        ears_px=np.stack([right_ear, left_ear]),
    )


def _shifted(face: FaceDetection, window: Window) -> FaceDetection:
    """Return a face that was found in a window, in px of the whole image."""
    origin = np.array(window[:2], dtype=np.float32)
    return replace(
        face,
        box_px=face.box_px + np.tile(origin, 2),
        eyes_px=face.eyes_px + origin,
        nose_px=face.nose_px + origin,
        ears_px=face.ears_px + origin,
    )


def _tiles(height_px: int, width_px: int) -> list[Window]:
    """Return three overlapping squares that cover an oblong image, none for a square one."""
    side, length = sorted((height_px, width_px))
    if length <= _OBLONG * side:
        return []
    starts = [round(step * (length - side) / 2) for step in range(3)]
    if width_px > height_px:
        return [Window(start, 0, side, side) for start in starts]
    return [Window(0, start, side, side) for start in starts]


def _middle_gap_share(one: FaceDetection, other: FaceDetection) -> float:
    """Return the distance between the centres of two boxes, as a share of the larger's side."""
    boxes = np.stack([one.box_px, other.box_px])
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    return float(np.hypot(*(middles[0] - middles[1])) / max(sides.max(), 1.0))
