"""Faces by MediaPipe's two BlazeFace detectors (Bazarevsky et al., 2019)."""

from __future__ import annotations

from dataclasses import replace
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
from tpbench.detectors.person_window import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tpbench.video import Frame

_FULL_RANGE_INPUT_PX: Final = 192
_SHORT_RANGE_INPUT_PX: Final = 128

_LARGE_SHARE: Final = 0.3
"""Of the short-range network only faces of at least this share of the picture's short side count:
smaller ones the full-range network would have found, and false ones are all small."""

_MIN_SIDE_PX: Final = 16
"""Smaller pictures hold no face; the networks see some in single pixels."""

_OBLONG: Final = 1.2
"""A picture whose sides differ by more than this factor is worth a closer look in squares."""

_SAME_FACE_SHARE: Final = 0.5
"""Two boxes whose middles lie nearer than this share of their side show one face."""


class MediaPipeFaceDetector:
    """Finds all faces of a frame, each frame for itself.

    The full-range network looks at the whole picture; where it finds nothing, at three squares of
    an oblong one; and at last the short-range network looks for a face that fills the picture.
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

    def find(
        self, image: NDArray[np.uint8], window: Window | None = None
    ) -> tuple[FaceDetection, ...]:
        """Return the faces of one (H, W, 3) uint8 RGB picture, the surest first, in its px.

        Args:
            image: the picture.
            window: look only here.
        """
        view = image if window is None else window.cut(image)
        if min(view.shape[:2]) < _MIN_SIDE_PX:
            return ()
        faces = self._full_range_faces(view) or self._tiled_faces(view) or self._large_faces(view)
        if window is not None:
            faces = [_shifted(face, window) for face in faces]
        return tuple(sorted(faces, key=lambda face: -face.score))

    def reset(self) -> None:
        """Do nothing: no frame leans on another."""

    def close(self) -> None:
        """Give back the native memory."""
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
    corners = [box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height]
    points = np.array([(point.x, point.y) for point in detection.keypoints])
    # The picture is scaled corner on corner, so points come out half an input pixel too far right
    # and down: a picture and its mirror image disagree by a whole one.
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
    """Return a face found in a window in px of the whole picture."""
    origin = np.array([window.x0_px, window.y0_px], dtype=np.float32)
    return replace(
        face,
        box_px=face.box_px + np.tile(origin, 2),
        eyes_px=face.eyes_px + origin,
        nose_px=face.nose_px + origin,
        ears_px=face.ears_px + origin,
    )


def _tiles(height_px: int, width_px: int) -> list[Window]:
    """Return three overlapping squares that cover an oblong picture, none for a square one."""
    side, length = sorted((height_px, width_px))
    if length <= _OBLONG * side:
        return []
    starts = [round(step * (length - side) / 2) for step in range(3)]
    if width_px > height_px:
        return [Window(x0_px=start, y0_px=0, side_px=side) for start in starts]
    return [Window(x0_px=0, y0_px=start, side_px=side) for start in starts]


def _middle_gap_share(one: FaceDetection, other: FaceDetection) -> float:
    """Return how far the middles of two boxes lie apart, in sides of the larger."""
    boxes = np.stack([one.box_px, other.box_px])
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    return float(np.hypot(*(middles[0] - middles[1])) / max(sides.max(), 1.0))
