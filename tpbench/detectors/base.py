"""Detectors: their interface, their results, and the set of detectors that an extraction uses.

A detector takes consecutive frames of one stretch and returns one result per frame. Trackers inside
it may depend on earlier frames of the same stretch, so `reset` is called between stretches: results
for one stretch never depend on another. A detector belongs to one process and is not thread-safe.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tpbench import weights
from tpbench.errors import MissingWeightsError
from tpbench.video import Frame
from tpbench.wholebody import LEFT_WRIST, RIGHT_WRIST, PoseSource, body_size_px

Device = Literal["cpu", "cuda", "auto"]
"""Where models run; `auto` is CUDA where onnxruntime can use it, otherwise the CPU."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceDetection:
    """One face."""

    box_px: NDArray[np.float32]
    """(4,) x0, y0, x1, y1 in px."""
    score: float
    """In [0, 1]."""
    eyes_px: NDArray[np.float32]
    """(2, 2) px: the person's own right eye, then the left eye."""
    nose_px: NDArray[np.float32]
    """(2,) px."""
    ears_px: NDArray[np.float32]
    """(2, 2) px: the person's own right ear (tragion), then the left ear."""

    def to_points(self) -> NDArray[np.float64]:
        """Return (7, 3): corners of the box, eyes, nose and ears, each with the score."""
        points = np.concatenate(
            [self.box_px.reshape(2, 2), self.eyes_px, self.nose_px[None], self.ears_px]
        )
        return np.column_stack([points, np.full(len(points), self.score)])

    @classmethod
    def from_points(cls, points: NDArray[np.float64]) -> FaceDetection:
        """Return the face of `to_points`."""
        places = points[:, :2].astype(np.float32)
        return cls(
            box_px=places[:2].ravel(),
            eyes_px=places[2:4],
            nose_px=places[4],
            ears_px=places[5:],
            score=float(points[0, 2]),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HandDetection:
    """One hand. Whether it is left or right is decided later, from the wrists of a body."""

    keypoints_px: NDArray[np.float32]
    """(21, 2) px, wrist first, then thumb to little finger, in COCO-WholeBody order."""
    score: float
    """In [0, 1]: the model's confidence that this is a hand."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PersonDetection:
    """One person's whole-body skeleton."""

    keypoints_px: NDArray[np.float32]
    """(133, 2) px in COCO-WholeBody order; NaN where a point was not found."""
    scores: NDArray[np.float32]
    """(133,) in [0, 1]; 0 where a point was not found."""
    body_wrists_px: NDArray[np.float32] | None = None
    """(2, 2) px: left and right wrist by the body model alone, where a hand model has replaced them
    in `keypoints_px`; None where nothing replaces them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """Everything one detector found in one frame; kinds it does not detect stay empty."""

    faces: tuple[FaceDetection, ...] = ()
    hands: tuple[HandDetection, ...] = ()
    people: tuple[PersonDetection, ...] = ()


class Detector(Protocol):
    """Detects faces, hands or people in the frames of one stretch."""

    @property
    def model_digest(self) -> str:
        """sha256 over the model files and settings that determine the results."""

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Return one result per frame, in order. `time_s` must rise within a stretch."""

    def reset(self) -> None:
        """Discard tracking state: the next frame may come from anywhere."""

    def close(self) -> None:
        """Release the models. The detector is not used afterwards."""


class SkeletonDetector(Detector, Protocol):
    """A detector of whole-body skeletons: fills `people`, the most prominent person first."""

    @property
    def source(self) -> PoseSource:
        """Which family of models this is, as recorded in `WholeBodyPose.source`."""


MAX_GAP_SHARE: Final = 0.5
"""A hand further from a wrist than this share of the body's size is not assigned to it.

On talks the median gap is 0.1, the 99th percentile 0.2; the rest allows for fast gestures and for
the different lags of the two models.
"""


def sides_of_hands(
    hands: Sequence[HandDetection], keypoints_px: NDArray[np.floating]
) -> tuple[HandDetection | None, HandDetection | None]:
    """Return the person's own left hand and right hand, None where there is none.

    Both sides are decided together: of all assignments of hands to wrists, the one with the most
    hands, then the least sum of gaps (as shares of the greatest allowed) and doubts (1 - score).

    Args:
        hands: all hands of the frame, other people's too.
        keypoints_px: (17 or more, 2) px, COCO body joints of the person first; NaN: not found.
    """
    limit_px = MAX_GAP_SHARE * body_size_px(keypoints_px)
    left_px, right_px = keypoints_px[[LEFT_WRIST, RIGHT_WRIST]]

    def cost(hand: HandDetection | None, wrist_px: NDArray[np.floating]) -> float:
        if hand is None:
            return 2.0
        gap = float(np.hypot(*(hand.keypoints_px[0] - wrist_px))) / limit_px
        # A NaN gap, from a wrist or body that was not found, never assigns a hand.
        return gap + 1.0 - hand.score if gap <= 1.0 else float("inf")

    pairs = itertools.permutations([None, None, *hands], 2)
    return min(pairs, key=lambda pair: cost(pair[0], left_px) + cost(pair[1], right_px))


@dataclass(frozen=True, slots=True, kw_only=True)
class Strides:
    """How many frames apart detectors search where the skeleton is DWPose; 1 for every frame."""

    people: int = 1
    faces: int = 1
    hands: int = 1


EVERY_FRAME: Final = Strides()

DWPOSE_WEIGHTS: Final = ("yolox-l", "dwpose-ll-ucoco-384")
"""Person detector and pose model, as `tpbench weights` names them."""
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
    """Detectors of faces, hands and one family of skeletons; each model runs once per frame.

    Attributes:
        faces: the face detector.
        source: the family of the skeleton models.
        on_gpu: whether the skeleton runs on a GPU, so that this processor has time meanwhile.
        face_digest: sha256 over the face models; likewise `hand_digest` and `skeleton_digest`.

    Args:
        faces: detects faces, each frame independently.
        hands: detects hands.
        skeleton: detects people.
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
        self.source: Final = skeleton.source
        self.on_gpu = False
        self.face_digest = faces.model_digest
        self.hand_digest = hands.model_digest
        self.skeleton_digest: Final = skeleton.model_digest

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
        """Discard tracking state."""
        for detector in (self.faces, self._hands, self._skeleton):
            detector.reset()

    def close(self) -> None:
        """Release native memory. Can be called repeatedly."""
        for detector in (self.faces, self._hands, self._skeleton):
            detector.close()


def build_suite(
    *,
    skeleton: PoseSource,
    device: Device,
    offline: bool,
    strides: Strides = EVERY_FRAME,
    every_frame: bool = True,
) -> DetectorSuite:
    """Load the models of an extraction.

    Args:
        skeleton: the family of skeleton models.
        device: where DWPose runs.
        offline: never fetch model files.
        strides: which frames are searched if the skeleton is DWPose.
        every_frame: whether MediaPipe's networks run on every frame; otherwise optical flow
            carries their points over most frames.

    Raises:
        MissingWeightsError: a model file is missing and can't be fetched.
        MissingDependencyError: a system library is missing.
        ConfigError: the device is not available.
    """
    if skeleton == "mediapipe":
        from tpbench.detectors.mediapipe_skeleton import MediaPipeSkeletonDetector

        whole = MediaPipeSkeletonDetector(every_frame=every_frame, offline=offline)
        return DetectorSuite(
            faces=whole.faces, hands=whole.hands, skeleton=whole, skeleton_finds_all=True
        )
    from tpbench.detectors.dwpose import DWPoseDetector
    from tpbench.detectors.dwpose_suite import DWPoseSuite
    from tpbench.detectors.faces import MediaPipeFaceDetector
    from tpbench.detectors.mediapipe_skeleton import MediaPipeHandDetector

    people = DWPoseDetector.from_weights(device=device, detect_every=strides.people)
    return DWPoseSuite(
        faces=MediaPipeFaceDetector(offline=offline),
        hands=MediaPipeHandDetector(every_frame=every_frame, offline=offline),
        skeleton=people,
        strides=strides,
        on_gpu=people.on_gpu,
    )


def models_of(skeleton: PoseSource) -> tuple[str, ...]:
    """Return the names of the model files that extraction needs with a skeleton detector."""
    own = _MEDIAPIPE_SKELETON if skeleton == "mediapipe" else DWPOSE_WEIGHTS
    return (*own, *_FACES_AND_HANDS)


def models_by_role(skeleton: PoseSource) -> dict[str, tuple[str, ...]]:
    """Return the names of the model files by what they find: "skeleton", "face", "hand"."""
    return {
        "skeleton": _MEDIAPIPE_SKELETON if skeleton == "mediapipe" else DWPOSE_WEIGHTS,
        "face": tuple(name for name in _FACES_AND_HANDS if "face" in name),
        "hand": tuple(name for name in _FACES_AND_HANDS if "face" not in name),
    }


DETECTORS_VERSION: Final = 5
"""Raised whenever the same files can find other points: what was found before is found again."""


def weights_digest(skeleton: PoseSource, *, offline: bool) -> str:
    """Ensure that all model files are present, and return a sha256 over them and their version.

    Raises:
        MissingWeightsError: one is missing; for DWPose the message names both remedies.
    """
    digests = []
    for name in models_of(skeleton):
        try:
            weights.resolve(name, offline=offline)
        except MissingWeightsError as error:
            if name not in DWPOSE_WEIGHTS:
                raise
            how = (
                f"run `{weights.pull_command(DWPOSE_WEIGHTS)}`, "
                "or choose `--skeleton mediapipe`, which needs nothing but PyPI"
            )
            raise MissingWeightsError(name, how) from error
        digests.append(weights.state(name).sha256 or "")
    return hashlib.sha256("".join([*digests, f"{DETECTORS_VERSION}"]).encode()).hexdigest()
