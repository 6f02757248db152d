"""The detectors of an extraction: faces and hands by MediaPipe, skeletons by choice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from tpbench import weights
from tpbench.detectors.base import (
    Detections,
    Detector,
    HandDetection,
    PersonDetection,
    SkeletonDetector,
)
from tpbench.detectors.hands import sides_of_hands
from tpbench.detectors.onnx_session import Device
from tpbench.errors import MissingWeightsError
from tpbench.video import Frame
from tpbench.wholebody import PoseSource

_DWPOSE: Final = ("yolox-l", "dwpose-ll-ucoco-384")
_FACES_AND_HANDS: Final = (
    "mediapipe-face-detector",
    "mediapipe-face-detector-full-range",
    "mediapipe-palm-detector",
    "mediapipe-hand-landmarks",
)
_MEDIAPIPE_SKELETON: Final = (
    "mediapipe-pose-detector",
    "mediapipe-pose-landmarks",
    "mediapipe-face-mesh",
)


class DetectorSuite:
    """Faces, hands and one family of skeletons, each model run once a frame.

    Args:
        faces: finds faces, each frame for itself.
        hands: finds hands.
        skeleton: finds people.
        skeleton_finds_all: `skeleton` fills faces and hands as well, with the same two models.
    """

    def __init__(
        self,
        *,
        faces: Detector,
        hands: Detector,
        skeleton: SkeletonDetector,
        skeleton_finds_all: bool,
    ) -> None:
        self.faces = faces
        self._hands = hands
        self._skeleton = skeleton
        self._skeleton_finds_all = skeleton_finds_all

    @property
    def source(self) -> PoseSource:
        """Whose skeletons these are."""
        return self._skeleton.source

    @property
    def face_digest(self) -> str:
        """sha256 over the face models."""
        return self.faces.model_digest

    @property
    def hand_digest(self) -> str:
        """sha256 over the hand models."""
        return self._hands.model_digest

    @property
    def skeleton_digest(self) -> str:
        """sha256 over the skeleton models."""
        return self._skeleton.model_digest

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Return faces, hands and people of each frame."""
        people = self._skeleton.detect(frames)
        if self._skeleton_finds_all:
            return people
        return [
            Detections(faces=face.faces, hands=hand.hands, people=person.people)
            for face, hand, person in zip(
                self.faces.detect(frames), self._hands.detect(frames), people, strict=True
            )
        ]

    def sides_of_hands(
        self, hands: Sequence[HandDetection], person: PersonDetection
    ) -> tuple[HandDetection | None, HandDetection | None]:
        """Return the person's own left and right hand among all hands of the frame."""
        return sides_of_hands(hands, person.keypoints_px)

    def reset(self) -> None:
        """Forget the stretch."""
        for detector in (self.faces, self._hands, self._skeleton):
            detector.reset()

    def close(self) -> None:
        """Give back the native memory. Harmless when repeated."""
        for detector in (self.faces, self._hands, self._skeleton):
            detector.close()


def build_suite(*, skeleton: PoseSource, device: Device, offline: bool) -> DetectorSuite:
    """Load the models of an extraction.

    Args:
        skeleton: whose skeletons.
        device: where DWPose runs.
        offline: never fetch model files.

    Raises:
        MissingWeightsError: a model file is missing and can't be fetched.
        MissingDependencyError: a system library is missing.
        ConfigError: the device is not to be had.
    """
    if skeleton == "mediapipe":
        from tpbench.detectors.mediapipe_skeleton import MediaPipeSkeletonDetector

        whole = MediaPipeSkeletonDetector(offline=offline)
        return DetectorSuite(
            faces=whole.faces, hands=whole.hands, skeleton=whole, skeleton_finds_all=True
        )
    from tpbench.detectors.dwpose import DWPoseDetector
    from tpbench.detectors.faces import MediaPipeFaceDetector
    from tpbench.detectors.hands import MediaPipeHandDetector

    return DetectorSuite(
        faces=MediaPipeFaceDetector(offline=offline),
        hands=MediaPipeHandDetector(offline=offline),
        skeleton=DWPoseDetector.from_weights(device=device),
        skeleton_finds_all=False,
    )


def weights_digest(skeleton: PoseSource, *, offline: bool) -> str:
    """Make sure that all model files are here, and return a sha256 over them.

    Raises:
        MissingWeightsError: one is missing; for DWPose the line names both ways out.
    """
    own = _MEDIAPIPE_SKELETON if skeleton == "mediapipe" else _DWPOSE
    digests = []
    for name in (*own, *_FACES_AND_HANDS):
        try:
            weights.resolve(name, offline=offline)
        except MissingWeightsError as error:
            if name not in _DWPOSE:
                raise
            how = (
                f"run `tpbench weights pull {' '.join(_DWPOSE)}`, "
                "or choose `--skeleton mediapipe`, which needs nothing but PyPI"
            )
            raise MissingWeightsError(name, how) from error
        digests.append(weights.state(name).sha256 or "")
    return hashlib.sha256("".join(digests).encode()).hexdigest()
