"""The 468-point face mesh, run on one crop around a face that is already found.

The network of MediaPipe's FaceMesh (Kartynnik et al., 2019), run by LiteRT. The crop is a square
of 1.5 times the long side of a box, turned so that the eyes are level. The first crop comes from
the face detector, the next ones from the mesh found before, until it stays where it is: two or
three times for a face seen from the front, more often from the side. So the mesh of a frame
depends on that frame alone.
"""

from __future__ import annotations

import functools
import logging
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.detectors.mediapipe_models import FACE_MESH, digest, model_bytes
from tpbench.detectors.native_output import quiet_native_output

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tpbench.detectors.base import FaceDetection

logger = logging.getLogger(__name__)

NUM_VERTICES: Final = 468
RIGHT_EYE_OUTER: Final = 33
LEFT_EYE_OUTER: Final = 263

_INPUT_PX: Final = 192
_CROP_SCALE: Final = 1.5
_MAX_PASSES: Final = 6
_SETTLED_SHARE: Final = 0.005
"""A mesh that moves less than this share of its size has found its place."""

_HALF_PIXEL: Final = 0.5
"""The network counts from the corner of its input, we from the centre of the first pixel."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeshFace:
    """The mesh of one face."""

    vertices_px: NDArray[np.float32]
    """(468, 2) px, in the canonical order of MediaPipe's face mesh."""

    score: float
    """In [0, 1]: how sure the network is that the crop holds a face."""


class FaceMesh:
    """Finds the mesh of a face.

    Args:
        offline: never fetch the model file.

    Raises:
        MissingWeightsError: the model file is absent and may not or can't be fetched.
        ImportError: LiteRT has no wheel for this machine; `open_face_mesh` copes with that.
    """

    def __init__(self, *, offline: bool = False) -> None:
        from ai_edge_litert.interpreter import Interpreter

        model = model_bytes(FACE_MESH, offline=offline)
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
    """Return the face mesh, or None where LiteRT has no wheel; then says so in the log, once.

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
