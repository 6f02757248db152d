"""Hands by MediaPipe's palm detector and hand landmarks (Zhang et al., 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tpbench.detectors.base import Detections, HandDetection
from tpbench.detectors.mediapipe_models import digest, hand_bundle
from tpbench.detectors.mediapipe_tasks import MediaPipeTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tpbench.detectors.person_window import Window
    from tpbench.video import Frame


class MediaPipeHandDetector:
    """Finds hands and follows them through a stretch.

    A palm is looked for only while fewer than `max_hands` hands are followed, which is what makes
    two cheap. It must be about 6 % of the long side of the picture to be found. In a wide frame
    that is a person whose face is an eighth of the frame's height; who knows where the person is
    says so with a `Window`, which does away with that.

    A hand's score is how sure the network is of which hand it is. It says little about presence,
    but hands of a presence below one half are never reported.

    Args:
        max_hands: how many hands are followed at once.
        offline: never fetch model files.

    Raises:
        MissingWeightsError: a model file is absent and may not or can't be fetched.
        MissingDependencyError: a system library that MediaPipe links to is absent.
    """

    def __init__(self, *, max_hands: int = 2, offline: bool = False) -> None:
        bundle = hand_bundle(offline=offline)
        self._task = MediaPipeTask(lambda: _create(bundle, max_hands))
        self._digest = digest(bundle, f"{max_hands=}")

    @property
    def model_digest(self) -> str:
        """sha256 over both networks and the number of hands."""
        return self._digest

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Return the hands of each frame."""
        return [Detections(hands=self.find(frame)) for frame in frames]

    def find(self, frame: Frame, window: Window | None = None) -> tuple[HandDetection, ...]:
        """Return the hands of the next frame of the stretch, in px of the whole frame.

        Args:
            frame: of any size.
            window: look only here. It may move from frame to frame; hands that were followed are
            then
                found anew.
        """
        image, origin = frame.image, np.zeros(2)
        if window is not None:
            image, origin = window.cut(image), np.array([window.x0_px, window.y0_px])
        found = self._task.run_on_video(image, frame.time_s)
        size = np.array([image.shape[1], image.shape[0]])
        return tuple(
            HandDetection(
                keypoints_px=_points_px(landmarks, size, origin),
                score=float(handedness[0].score),
            )
            for landmarks, handedness in zip(found.hand_landmarks, found.handedness, strict=True)
        )

    def reset(self) -> None:
        """Forget the stretch."""
        self._task.reset()

    def close(self) -> None:
        """Give back the native memory."""
        self._task.close()


def _create(bundle: bytes, max_hands: int) -> Any:  # noqa: ANN401 - MediaPipe is untyped
    import mediapipe as mp

    vision = mp.tasks.vision
    return vision.HandLandmarker.create_from_options(
        vision.HandLandmarkerOptions(
            base_options=mp.tasks.BaseOptions(model_asset_buffer=bundle),
            running_mode=vision.RunningMode.VIDEO,
            num_hands=max_hands,
        )
    )


def _points_px(
    landmarks: Any,  # noqa: ANN401 - as above
    size: NDArray[np.integer],
    origin: NDArray[np.floating],
) -> NDArray[np.float32]:
    points = np.array([(point.x, point.y) for point in landmarks], dtype=np.float64)
    return (points * size - 0.5 + origin).astype(np.float32)
