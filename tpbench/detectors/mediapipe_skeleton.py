"""MediaPipe's faces and hands, and whole-body skeletons put together from them, body and mesh.

Everything needed comes from PyPI. Feet are never found.
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
from tpbench.detectors.bodies import OF_COCO, BodyFinder, BodyNetworks, BodySmoother
from tpbench.detectors.face_mesh import FaceMesh, MeshFollower, mesh_to_ibug68
from tpbench.detectors.faces import MediaPipeFaceDetector
from tpbench.detectors.flow import Greys, Points
from tpbench.detectors.hands import HandFinder, HandNetworks, HandView
from tpbench.detectors.lite import digest
from tpbench.detectors.sparse import SparseTracker, partner, step_frames
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
    """Detects up to two hands and follows them through a stretch.

    Palms are searched for only while fewer than two hands are followed, so two hands are cheap.
    A palm must be about 6 % of the searched image's long side to be found: in a wide frame, that of
    a person whose face is an eighth of the frame's height. A `Window` around the person removes
    this limit. A hand's score is the network's confidence in left or right. It says little about
    presence, but hands with a presence below one half are never reported.

    Args:
        every_frame: run the networks on every frame; otherwise optical flow carries hands over
            most frames (see `SparseTracker`).
        offline: never fetch model files.

    Raises:
        MissingWeightsError: a model file is absent and may not or can't be fetched.
    """

    def __init__(self, *, every_frame: bool = True, offline: bool = False) -> None:
        networks = HandNetworks(offline=offline)
        self._every_frame = every_frame
        self._tracker = SparseTracker(HandFinder(networks, doubts=not every_frame))
        self._last_image: NDArray[np.uint8] | None = None
        self.model_digest: Final = digest(networks.model_digest, f"{every_frame=}")

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Return the hands of each frame."""
        if not frames:
            return []
        views = [HandView(image=frame.image, window=None) for frame in frames]
        greys = Greys([frame.image for frame in frames], self._last_image)
        self._last_image = frames[-1].image
        step = step_frames(frames, every_frame=self._every_frame)
        return [Detections(hands=hands) for hands in self.find(views, greys, step=step)]

    def find(
        self, views: Sequence[HandView], greys: Greys, *, step: int
    ) -> list[tuple[HandDetection, ...]]:
        """Return the hands of the next frames of the stretch, in px of the whole frame.

        Args:
            views: the frames.
            greys: their pictures, and that of the frame before them, if any.
            step: most frames from one search to the next.
        """
        return [
            tuple(
                HandDetection(
                    keypoints_px=points[:, :2].astype(np.float32), score=float(points[0, 2])
                )
                for points in hands
            )
            for hands in self._tracker.push(views, greys, step=step)
        ]

    def reset(self) -> None:
        """Discard tracking state."""
        self._tracker.reset()
        self._last_image = None

    def close(self) -> None:
        """Do nothing: the networks are freed with the detector."""


_MIN_MESH_SCORE: Final = 0.5
_FACE_TOLERANCE: Final = 0.08
"""By how much the flow may miss a face's points, in heights of the face."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _FaceView:
    image: NDArray[np.uint8]
    joints_px: NDArray[np.float32] | None
    window: Window | None


class _FaceFinder:
    """Finds all faces of a frame, and the one at the body's eyes if it is too small for that."""

    def __init__(self, faces: MediaPipeFaceDetector) -> None:
        self._faces = faces

    def anchor(self, item: _FaceView, expected: Sequence[Points]) -> list[Points]:
        faces = self._faces.find(item.image)
        if item.joints_px is not None and face_of_body(faces, item.joints_px) is None:
            # It may be too small in the whole frame; if it is not here either, it is turned away.
            close_up = self._faces.find(item.image, item.window)
            face = face_of_body(close_up, item.joints_px)
            faces += () if face is None else (face,)
        return [face.to_points() for face in faces]

    def near(self, item: _FaceView, guesses: Sequence[Points]) -> list[Points]:
        faces = self.anchor(item, guesses)
        nearest = {
            id(face): face for guess in guesses if (face := partner(guess, faces)) is not None
        }
        return list(nearest.values())

    def tolerance_px(self, points: Points) -> NDArray[np.float64]:
        tolerance = np.full(len(points), _FACE_TOLERANCE * float(np.ptp(points[:2, 1])))
        tolerance[:2] = np.inf  # Corners of the box lie on the background.
        return tolerance


class MediaPipeSkeletonDetector:
    """Detects the most prominent person's 133 points, and all faces and hands.

    `Detections.faces` and `hands` are those that the skeleton was built from. The face is the one
    at the body's eyes. A hand is assigned to the nearer wrist (`sides_of_hands`), and the hand
    model, which sees it larger, then replaces that wrist. Points outside the frame count as not
    found: NaN, score 0. A joint's score is visibility times presence; points of a hand or face have
    the score of the hand or mesh.

    Attributes:
        source: always "mediapipe".
        faces: the face detector, for use on its own.
        hands: the hand detector.

    Args:
        every_frame: run the networks on every frame; otherwise optical flow carries its parts over
            most frames (see `SparseTracker`).
        offline: never fetch model files.

    Raises:
        MissingWeightsError: a model file is absent and may not or can't be fetched.
    """

    source: Final[PoseSource] = "mediapipe"

    def __init__(self, *, every_frame: bool = True, offline: bool = False) -> None:
        self.faces: Final = MediaPipeFaceDetector(offline=offline)
        self.hands: Final = MediaPipeHandDetector(every_frame=every_frame, offline=offline)
        bodies, mesh = BodyNetworks(offline=offline), FaceMesh(offline=offline)
        self._every_frame = every_frame
        self._bodies = SparseTracker(BodyFinder(bodies))
        self._smoother = BodySmoother()
        self._close_faces = SparseTracker(_FaceFinder(self.faces))
        self._mesh = MeshFollower(mesh, every_frame=every_frame)
        self._window: Window | None = None
        self._last_image: NDArray[np.uint8] | None = None
        parts = (self.faces.model_digest, self.hands.model_digest, bodies.model_digest)
        self.model_digest: Final = digest(*parts, mesh.model_digest, f"{every_frame=}")

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Return faces, hands and at most one person for each frame."""
        if not frames:
            return []
        step = step_frames(frames, every_frame=self._every_frame)
        images = [frame.image for frame in frames]
        greys = Greys(images, self._last_image)
        self._last_image = images[-1]
        found = self._bodies.push(images, greys, step=step)
        bodies = [
            self._smoother.push(body[0] if body else None, frame.time_s)
            for frame, body in zip(frames, found, strict=True)
        ]
        joints = [None if body is None else body[OF_COCO, :2].astype(np.float32) for body in bodies]
        windows = [self._next_window(f, j) for f, j in zip(frames, joints, strict=True)]
        faces = self._faces_of(frames, joints, windows, greys, step=step)
        own_faces = [
            None if j is None else face_of_body(f, j) for f, j in zip(faces, joints, strict=True)
        ]
        meshes = self._mesh.push(images, own_faces)
        views = [HandView(image=f.image, window=w) for f, w in zip(frames, windows, strict=True)]
        hands = self.hands.find(views, greys, step=step)
        return [
            Detections(
                faces=faces[at],
                hands=hands[at],
                people=()
                if (body := bodies[at]) is None
                else (_person(frame.image.shape[:2], body, meshes[at], hands[at]),),
            )
            for at, frame in enumerate(frames)
        ]

    def reset(self) -> None:
        """Discard tracking state."""
        self.hands.reset()
        self._bodies.reset()
        self._smoother.reset()
        self._close_faces.reset()
        self._mesh.reset()
        self._window = None
        self._last_image = None

    def close(self) -> None:
        """Do nothing: the networks are freed with the detector."""

    def _next_window(self, frame: Frame, joints_px: NDArray[np.float32] | None) -> Window | None:
        if joints_px is not None:
            height_px, width_px = frame.image.shape[:2]
            self._window = window_around(joints_px, (height_px, width_px), self._window)
        return self._window

    def _faces_of(
        self,
        frames: Sequence[Frame],
        joints: Sequence[NDArray[np.float32] | None],
        windows: Sequence[Window | None],
        greys: Greys,
        *,
        step: int,
    ) -> list[tuple[FaceDetection, ...]]:
        views = [
            _FaceView(image=frame.image, joints_px=joint, window=window)
            for frame, joint, window in zip(frames, joints, windows, strict=True)
        ]
        return [
            tuple(FaceDetection.from_points(points) for points in faces)
            for faces in self._close_faces.push(views, greys, step=step)
        ]


def _person(
    size_px: tuple[int, ...],
    body: Points,
    mesh: Points | None,
    hands: Sequence[HandDetection],
) -> PersonDetection:
    points = np.full((NUM_KEYPOINTS, 2), np.nan, dtype=np.float32)
    scores = np.zeros(NUM_KEYPOINTS, dtype=np.float32)
    joints_px = body[OF_COCO, :2].astype(np.float32)
    points[BODY], scores[BODY] = joints_px, body[OF_COCO, 2]
    left, right = sides_of_hands(hands, joints_px)
    for hand, part, wrist in ((left, LEFT_HAND, LEFT_WRIST), (right, RIGHT_HAND, RIGHT_WRIST)):
        if hand is not None:
            points[part], scores[part] = hand.keypoints_px, hand.score
            points[wrist], scores[wrist] = hand.keypoints_px[0], hand.score
    if mesh is not None and mesh[0, 2] >= _MIN_MESH_SCORE:
        points[FACE], scores[FACE] = mesh_to_ibug68(mesh[:, :2]), mesh[0, 2]
    outside = ~_inside(points, size_px)
    points[outside], scores[outside] = np.nan, 0.0
    return PersonDetection(
        keypoints_px=points,
        scores=scores,
        body_wrists_px=joints_px[[LEFT_WRIST, RIGHT_WRIST]],
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
