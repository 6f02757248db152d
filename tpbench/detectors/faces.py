"""Faces by MediaPipe's two face detectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import Detections, FaceDetection
from tpbench.detectors.lite import LiteNetwork, digest, model_bytes
from tpbench.detectors.ssd import BoxDetector, FoundBox
from tpbench.video import Frame, Window

_FULL_RANGE_LAYERS: Final = ((4, 1),)
_SHORT_RANGE_LAYERS: Final = ((8, 2), (16, 6))

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
        self._full_range = _face_network(
            full, ("Identity", "Identity_1"), _FULL_RANGE_LAYERS, min_score
        )
        self._short_range = _face_network(
            short, ("regressors", "classificators"), _SHORT_RANGE_LAYERS, min_score
        )
        self.model_digest: Final = digest(full, short, f"direct {min_score=}")

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
        """Do nothing: the networks are freed with the detector."""

    def _full_range_faces(self, image: NDArray[np.uint8]) -> list[FaceDetection]:
        return [_face(found) for found in self._full_range.find(image)]

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
        faces = [_face(found) for found in self._short_range.find(image)]
        return [face for face in faces if face.box_px[3] - face.box_px[1] >= least_px]


def _face_network(
    model: bytes, outputs: Sequence[str], layers: tuple[tuple[int, int], ...], min_score: float
) -> BoxDetector:
    network = LiteNetwork(model, outputs, offset=127.5, scale=1 / 127.5)
    return BoxDetector(network, layers, min_score=min_score)


def _face(found: FoundBox) -> FaceDetection:
    right_eye, left_eye, nose, _mouth, right_ear, left_ear = found.points_px.astype(np.float32)
    return FaceDetection(
        box_px=found.box_px.astype(np.float32),
        score=found.score,
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
