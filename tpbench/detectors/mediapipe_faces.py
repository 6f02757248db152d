"""Faces by MediaPipe's two BlazeFace detectors (Bazarevsky et al., 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tpbench.detectors.base import Detections, FaceDetection
from tpbench.detectors.mediapipe_models import (
    FACE_DETECTOR,
    FACE_DETECTOR_FULL_RANGE,
    digest,
    model_bytes,
)
from tpbench.detectors.mediapipe_tasks import MediaPipeTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tpbench.video import Frame

_FULL_RANGE_INPUT_PX: Final = 192
_SHORT_RANGE_INPUT_PX: Final = 128


class MediaPipeFaceDetector:
    """Finds all faces of a frame, each frame for itself.

    The full-range network looks first; the short-range one only where that finds nothing, which is the
    case of a face that fills the picture. Measured on talks scaled into wider frames: nine in ten faces
    are found from a height (chin to hairline) of 8 % of a 16:9 frame, 6 % of a square one, up to the
    whole frame. The short-range network alone starts at 20 % and 12 %.

    Args:
        min_score: faces below it are not reported; in [0, 1].
        offline: never fetch model files.

    Raises:
        MissingWeightsError: a model file is absent and may not or can't be fetched.
        MissingDependencyError: a system library that MediaPipe links to is absent.
    """

    def __init__(self, *, min_score: float = 0.5, offline: bool = False) -> None:
        full = model_bytes(FACE_DETECTOR_FULL_RANGE, offline=offline)
        short = model_bytes(FACE_DETECTOR, offline=offline)
        self._full_range = MediaPipeTask(lambda: _create(full, min_score))
        self._short_range = MediaPipeTask(lambda: _create(short, min_score))
        self._digest = digest(full, short, f"{min_score=}")

    @property
    def model_digest(self) -> str:
        """sha256 over both networks and the least score."""
        return self._digest

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Return the faces of each frame, the surest first."""
        return [Detections(faces=self.find(frame.image)) for frame in frames]

    def find(self, image: NDArray[np.uint8]) -> tuple[FaceDetection, ...]:
        """Return the faces of one (H, W, 3) uint8 RGB picture, the surest first."""
        found = self._full_range.run_on_image(image).detections
        input_px = _FULL_RANGE_INPUT_PX
        if not found:
            found = self._short_range.run_on_image(image).detections
            input_px = _SHORT_RANGE_INPUT_PX
        faces = [_face(detection, image.shape[:2], input_px) for detection in found]
        return tuple(sorted(faces, key=lambda face: -face.score))

    def reset(self) -> None:
        """Do nothing: no frame leans on another."""

    def close(self) -> None:
        """Give back the native memory."""
        self._full_range.close()
        self._short_range.close()


def _create(model: bytes, min_score: float) -> Any:  # noqa: ANN401 - MediaPipe is untyped
    import mediapipe as mp

    vision = mp.tasks.vision
    return vision.FaceDetector.create_from_options(
        vision.FaceDetectorOptions(
            base_options=mp.tasks.BaseOptions(model_asset_buffer=model),
            running_mode=vision.RunningMode.IMAGE,
            min_detection_confidence=min_score,
        )
    )


def _face(detection: Any, size_px: tuple[int, ...], input_px: int) -> FaceDetection:  # noqa: ANN401
    height_px, width_px = size_px
    box = detection.bounding_box
    points = np.array([(point.x, point.y) for point in detection.keypoints], dtype=np.float64)
    # The frame is scaled corner on corner, so points come out half an input pixel too far right and
    # down: a picture and its mirror image disagree by a whole one.
    points_px = points * (width_px, height_px) - max(size_px) / input_px / 2
    right_eye, left_eye, nose, _mouth, right_ear, left_ear = points_px.astype(np.float32)
    corners = [box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height]
    return FaceDetection(
        box_px=np.array(corners, dtype=np.float32),
        score=float(detection.categories[0].score),
        eyes_px=np.stack([right_eye, left_eye]),
        nose_px=nose,
        ears_px=np.stack([right_ear, left_ear]),
    )
