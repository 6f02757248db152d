"""MediaPipe's hands and body, and whole-body skeletons assembled from them and the face mesh.

Everything needed comes from PyPI. Feet are never found, nor are face points where LiteRT has no
wheel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import (
    Detections,
    FaceDetection,
    HandDetection,
    PersonDetection,
    sides_of_hands,
)
from tpbench.detectors.faces import MediaPipeFaceDetector, mesh_to_ibug68, open_face_mesh
from tpbench.detectors.mediapipe_tasks import MediaPipeTask, digest, hand_bundle, pose_bundle
from tpbench.video import Frame, Window
from tpbench.wholebody import (
    BODY,
    FACE,
    LEFT_EYE,
    LEFT_HAND,
    LEFT_SHOULDER,
    LEFT_WRIST,
    NUM_KEYPOINTS,
    RIGHT_EYE,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    PoseSource,
    body_size_px,
)

_BLAZEPOSE_OF_COCO: Final = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""Nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left before right."""
_SHOULDERS: Final = [5, 6]
_HIPS: Final = [11, 12]

_OFFSET_SHARE: Final = 0.0125
"""Joints come out this share of the torso's length too far right and down.

The network sees a square of 4.5 torso lengths at 256 px, so this is 0.7 px of its input: its crop
is placed by corners, its output refers to pixel centres. Measured on two talks and their mirror
images, whose joints differ sideways by twice that.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Body:
    """One person's body."""

    keypoints_px: NDArray[np.float32]
    """(17, 2) px in COCO order. Joints outside the frame are guessed, with a low score."""
    scores: NDArray[np.float32]
    """(17,) in [0, 1]: confidence that the joint is in the frame and not hidden."""


class MediaPipeBodyTracker:
    """Detects one body and tracks it through a stretch.

    Args:
        offline: never fetch model files.

    Raises:
        MissingWeightsError: a model file is absent and may not or can't be fetched.
        MissingDependencyError: a system library that MediaPipe links to is absent.
    """

    def __init__(self, *, offline: bool = False) -> None:
        bundle = pose_bundle(offline=offline)
        self._task = MediaPipeTask("PoseLandmarker", bundle, {"num_poses": 1})
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
        """Discard tracking state."""
        self._task.reset()

    def close(self) -> None:
        """Release native memory."""
        self._task.close()


_REACH: Final = 5.0
"""Side of the square around the shoulders that both hands stay in, in body sizes."""
_MAX_SHIFT_SHARE: Final = 0.2
_MAX_GROWTH: Final = 1.25
"""A window that is off by more than these is replaced."""


def window_around(
    keypoints_px: NDArray[np.floating], size_px: tuple[int, int], last: Window | None
) -> Window:
    """Return the square window of a person.

    It is as large as arms reach, or as the frame allows. The last window is kept while it is close
    enough, because a hand that is tracked in it is lost when it moves.

    Args:
        keypoints_px: (17 or more, 2) px, COCO body joints first, shoulders and hips known.
        size_px: height and width of the frame.
        last: the window of the previous frame, if any.
    """
    height_px, width_px = size_px
    side = int(np.clip(_REACH * body_size_px(keypoints_px), 2, min(height_px, width_px)))
    middle = keypoints_px[[LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=0)
    start = np.clip(np.rint(middle - side / 2), 0, [width_px - side, height_px - side])
    if last is not None:
        last_side = last.width_px
        shift = float(np.abs(start + side / 2 - last[:2] - last_side / 2).max())
        growth = max(side / last_side, last_side / side)
        if shift <= _MAX_SHIFT_SHARE * last_side and growth <= _MAX_GROWTH:
            return last
    return Window(int(start[0]), int(start[1]), side, side)


class MediaPipeHandDetector:
    """Detects hands and tracks them through a stretch.

    Palms are detected only while fewer than `max_hands` hands are tracked, so two hands are cheap.
    A palm must be about 6 % of the image's long side to be found: in a wide frame, that of a person
    whose face is an eighth of the frame's height. A `Window` around the person removes this limit.

    A hand's score is the network's confidence in left or right. It says little about presence,
    but hands with a presence below one half are never reported.

    Args:
        max_hands: how many hands are tracked at once.
        offline: never fetch model files.

    Raises:
        MissingWeightsError: a model file is absent and may not or can't be fetched.
        MissingDependencyError: a system library that MediaPipe links to is absent.
    """

    def __init__(self, *, max_hands: int = 2, offline: bool = False) -> None:
        bundle = hand_bundle(offline=offline)
        self._task = MediaPipeTask("HandLandmarker", bundle, {"num_hands": max_hands})
        self.model_digest: Final = digest(bundle, f"{max_hands=}")

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Return the hands of each frame."""
        return [Detections(hands=self.find(frame)) for frame in frames]

    def find(self, frame: Frame, window: Window | None = None) -> tuple[HandDetection, ...]:
        """Return the hands of the next frame of the stretch, in px of the whole frame.

        Args:
            frame: of any size.
            window: search only here. It may move from frame to frame; tracked hands are then
                detected again.
        """
        image = frame.image if window is None else window.cut(frame.image)
        x0_px, y0_px = (0, 0) if window is None else window[:2]
        height_px, width_px = image.shape[:2]
        found = self._task.run_on_video(image, frame.time_s)
        hands = []
        for landmarks, handedness in zip(found.hand_landmarks, found.handedness, strict=True):
            points = np.array([(point.x, point.y) for point in landmarks], dtype=np.float64)
            points = points * (width_px, height_px) - 0.5 + (x0_px, y0_px)
            score = float(handedness[0].score)
            hands.append(HandDetection(keypoints_px=points.astype(np.float32), score=score))
        return tuple(hands)

    def reset(self) -> None:
        """Discard tracking state."""
        self._task.reset()

    def close(self) -> None:
        """Release native memory."""
        self._task.close()


_MIN_MESH_SCORE: Final = 0.5


class MediaPipeSkeletonDetector:
    """Detects the most prominent person's 133 points, and all faces and hands.

    Each model runs once per frame: `Detections.faces` and `hands` are those that the skeleton was
    built from. The face is the one at the body's eyes. A hand is assigned to the nearer wrist
    (`sides_of_hands`), and the hand model, which sees it larger, then replaces that wrist.
    Points outside the frame count as not found: NaN, score 0. A joint's score is visibility times
    presence; points of a hand or face have the score of the hand or mesh.

    Attributes:
        source: always "mediapipe".
        faces: the face detector, for use on its own.
        hands: the hand detector.

    Args:
        offline: never fetch model files.

    Raises:
        MissingWeightsError: a model file is absent and may not or can't be fetched.
        MissingDependencyError: a system library that MediaPipe links to is absent.
    """

    source: Final[PoseSource] = "mediapipe"

    def __init__(self, *, offline: bool = False) -> None:
        self.faces: Final = MediaPipeFaceDetector(offline=offline)
        self.hands: Final = MediaPipeHandDetector(offline=offline)
        self._body = MediaPipeBodyTracker(offline=offline)
        self._mesh = open_face_mesh(offline=offline)
        self._window: Window | None = None
        mesh_digest = "" if self._mesh is None else self._mesh.model_digest
        parts = (self.faces.model_digest, self.hands.model_digest, self._body.model_digest)
        self.model_digest: Final = digest(*parts, mesh_digest)

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Return faces, hands and at most one person for each frame."""
        return [self._detect_one(frame) for frame in frames]

    def reset(self) -> None:
        """Discard tracking state."""
        self.hands.reset()
        self._body.reset()
        self._window = None

    def close(self) -> None:
        """Release native memory."""
        self.faces.close()
        self.hands.close()
        self._body.close()

    def _detect_one(self, frame: Frame) -> Detections:
        faces = self.faces.find(frame.image)
        body = self._body.find(frame)
        if body is None:
            return Detections(faces=faces, hands=self.hands.find(frame, self._window))
        height_px, width_px = frame.image.shape[:2]
        self._window = window_around(body.keypoints_px, (height_px, width_px), self._window)
        face = face_of_body(faces, body.keypoints_px)
        if face is None:
            # It may be too small in the whole frame; if it is not here either, it is turned away.
            close_up = self.faces.find(frame.image, self._window)
            face = face_of_body(close_up, body.keypoints_px)
            faces += () if face is None else (face,)
        hands = self.hands.find(frame, self._window)
        person = self._person(frame.image, body, face, hands)
        return Detections(faces=faces, hands=hands, people=(person,))

    def _person(
        self,
        image: NDArray[np.uint8],
        body: Body,
        face: FaceDetection | None,
        hands: Sequence[HandDetection],
    ) -> PersonDetection:
        points = np.full((NUM_KEYPOINTS, 2), np.nan, dtype=np.float32)
        scores = np.zeros(NUM_KEYPOINTS, dtype=np.float32)
        points[BODY], scores[BODY] = body.keypoints_px, body.scores
        left, right = sides_of_hands(hands, body.keypoints_px)
        for hand, part, wrist in ((left, LEFT_HAND, LEFT_WRIST), (right, RIGHT_HAND, RIGHT_WRIST)):
            if hand is not None:
                points[part], scores[part] = hand.keypoints_px, hand.score
                points[wrist], scores[wrist] = hand.keypoints_px[0], hand.score
        if face is not None and self._mesh is not None:
            mesh = self._mesh.find(image, face)
            if mesh.score >= _MIN_MESH_SCORE:
                points[FACE], scores[FACE] = mesh_to_ibug68(mesh.vertices_px), mesh.score
        outside = ~_inside(points, image.shape[:2])
        points[outside], scores[outside] = np.nan, 0.0
        return PersonDetection(
            keypoints_px=points,
            scores=scores,
            body_wrists_px=body.keypoints_px[[LEFT_WRIST, RIGHT_WRIST]],
        )


def face_of_body(
    faces: Sequence[FaceDetection], keypoints_px: NDArray[np.floating]
) -> FaceDetection | None:
    """Return the face whose eyes are nearest to the body's, at most its own size away, or None.

    Args:
        faces: all faces of the frame.
        keypoints_px: (17 or more, 2) px, COCO body joints first.
    """
    eyes = keypoints_px[[LEFT_EYE, RIGHT_EYE]].mean(axis=0)

    def gap(face: FaceDetection) -> float:
        size = float(max(face.box_px[2] - face.box_px[0], face.box_px[3] - face.box_px[1]))
        return float(np.hypot(*(face.eyes_px.mean(axis=0) - eyes))) / size

    near = [face for face in faces if gap(face) <= 1.0]
    return min(near, key=gap, default=None)


def _inside(points_px: NDArray[np.floating], size_px: tuple[int, ...]) -> NDArray[np.bool_]:
    height_px, width_px = size_px
    # A pixel's area reaches half a pixel around its centre. NaN is not inside.
    low, high = -0.5, np.array([width_px, height_px]) - 0.5
    inside: NDArray[np.bool_] = np.all((points_px >= low) & (points_px <= high), axis=-1)
    return inside
