"""One body by MediaPipe's pose landmarks (Bazarevsky et al., 2020), as COCO's 17 joints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tpbench.detectors.mediapipe_models import digest, pose_bundle
from tpbench.detectors.mediapipe_tasks import MediaPipeTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tpbench.video import Frame

_BLAZEPOSE_OF_COCO: Final = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""Nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left before right."""

_SHOULDERS: Final = [5, 6]
_HIPS: Final = [11, 12]

_OFFSET_SHARE: Final = 0.0125
"""Joints come out this share of the torso's length too far right and down.

The network sees a square of 4.5 torso lengths at 256 px, so this is 0.7 px of its input: a crop
placed by corners and answers meant for pixel centres. Measured on two talks and their mirror
images, whose joints disagree sideways by twice that.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Body:
    """One person's body."""

    keypoints_px: NDArray[np.float32]
    """(17, 2) px in COCO order. Joints outside the picture are guessed, with a low score."""

    scores: NDArray[np.float32]
    """(17,) in [0, 1]: that the joint is in the picture and not hidden."""


class MediaPipeBodyTracker:
    """Finds one body and follows it through a stretch.

    Args:
        offline: never fetch model files.

    Raises:
        MissingWeightsError: a model file is absent and may not or can't be fetched.
        MissingDependencyError: a system library that MediaPipe links to is absent.
    """

    def __init__(self, *, offline: bool = False) -> None:
        bundle = pose_bundle(offline=offline)
        self._task = MediaPipeTask(lambda: _create(bundle))
        self.model_digest: Final = digest(bundle, f"{_OFFSET_SHARE=}")

    def find(self, frame: Frame) -> Body | None:
        """Return the body in the next frame of the stretch."""
        found = self._task.run_on_video(frame.image, frame.time_s).pose_landmarks
        if not found:
            return None
        joints = [found[0][index] for index in _BLAZEPOSE_OF_COCO]
        height_px, width_px = frame.image.shape[:2]
        points = np.array([(joint.x * width_px, joint.y * height_px) for joint in joints])
        torso = points[_SHOULDERS].mean(axis=0) - points[_HIPS].mean(axis=0)
        points -= _OFFSET_SHARE * np.hypot(*torso)
        scores = np.array([joint.visibility * joint.presence for joint in joints])
        return Body(
            keypoints_px=points.astype(np.float32),
            scores=np.clip(scores, 0.0, 1.0).astype(np.float32),
        )

    def reset(self) -> None:
        """Forget the stretch."""
        self._task.reset()

    def close(self) -> None:
        """Give back the native memory."""
        self._task.close()


def _create(bundle: bytes) -> Any:  # noqa: ANN401 - MediaPipe is untyped
    import mediapipe as mp

    vision = mp.tasks.vision
    return vision.PoseLandmarker.create_from_options(
        vision.PoseLandmarkerOptions(
            base_options=mp.tasks.BaseOptions(model_asset_buffer=bundle),
            running_mode=vision.RunningMode.VIDEO,
            num_poses=1,
        )
    )
