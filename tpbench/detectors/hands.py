"""Hands by MediaPipe: landmarks, and whose left or right they are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import Detections, HandDetection
from tpbench.detectors.mediapipe_tasks import MediaPipeTask, digest, hand_bundle
from tpbench.video import Frame
from tpbench.wholebody import (
    LEFT_HIP,
    LEFT_SHOULDER,
    LEFT_WRIST,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)

MAX_GAP_SHARE: Final = 0.5
"""A hand further from a wrist than this share of the body's size does not hang on it.

On talks the median gap is 0.1, the 99th percentile 0.2; fast gestures and two models that lag
differently need the rest.
"""
_TORSO_TO_SHOULDERS: Final = 0.7


def body_size_px(keypoints_px: NDArray[np.floating]) -> float:
    """Return about the shoulder width that the person has, or would have seen from the front.

    The greater of shoulder width and 0.7 times the torso's length; NaN if neither is known.

    Args:
        keypoints_px: (17 or more, 2) px, COCO body joints first; NaN where not found.
    """
    points = keypoints_px.astype(np.float64)
    shoulders = points[[LEFT_SHOULDER, RIGHT_SHOULDER]]
    hips = points[[LEFT_HIP, RIGHT_HIP]]
    width = np.hypot(*(shoulders[0] - shoulders[1]))
    torso = np.hypot(*(shoulders.mean(axis=0) - hips.mean(axis=0)))
    return float(np.fmax(width, _TORSO_TO_SHOULDERS * torso))


def sides_of_hands(
    hands: Sequence[HandDetection], keypoints_px: NDArray[np.floating]
) -> tuple[HandDetection | None, HandDetection | None]:
    """Return the person's own left hand and right hand, None where there is none.

    Both sides are settled together: of all ways to hang the hands on the wrists, the one with the
    most hands, then the least sum of gaps (in shares of the greatest allowed) and doubts (1 -
    score).

    Args:
        hands: all hands of the frame, other people's too.
        keypoints_px: (17 or more, 2) px, COCO body joints of the person first; NaN where not
        found.
    """
    limit_px = MAX_GAP_SHARE * body_size_px(keypoints_px)
    wrists = keypoints_px[[LEFT_WRIST, RIGHT_WRIST]]
    choices: list[int | None] = [None, *range(len(hands))]

    def cost(side: int, index: int | None) -> float:
        if index is None:
            return 2.0
        gap = float(np.hypot(*(hands[index].keypoints_px[0] - wrists[side]))) / limit_px
        # NaN, for a wrist or a body that was not found, is no reason to hang a hand on it.
        return gap + 1.0 - hands[index].score if gap <= 1.0 else float("inf")

    pairs = [
        (left, right)
        for left, right in itertools.product(choices, choices)
        if left is None or left != right
    ]
    left, right = min(pairs, key=lambda pair: cost(0, pair[0]) + cost(1, pair[1]))
    return (
        None if left is None else hands[left],
        None if right is None else hands[right],
    )


_REACH: Final = 5.0
"""Side of the square around the shoulders that both hands stay in, in body sizes."""
_MAX_SHIFT_SHARE: Final = 0.2
_MAX_GROWTH: Final = 1.25
"""A window that is out by more than these is set anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A square part of a picture."""

    x0_px: int
    y0_px: int
    side_px: int

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return this part of a (H, W, 3) picture, as a view."""
        x1, y1 = self.x0_px + self.side_px, self.y0_px + self.side_px
        return image[self.y0_px : y1, self.x0_px : x1]


def window_around(
    keypoints_px: NDArray[np.floating], size_px: tuple[int, int], last: Window | None
) -> Window:
    """Return the window of a person.

    It is as large as arms reach, or as the picture allows. It stays where it was as long as that
    will do, because a hand that is followed in it is lost when it moves.

    Args:
        keypoints_px: (17 or more, 2) px, COCO body joints first, shoulders and hips known.
        size_px: height and width of the picture.
        last: the window of the frame before, if any.
    """
    height_px, width_px = size_px
    side = int(np.clip(_REACH * body_size_px(keypoints_px), 2, min(height_px, width_px)))
    middle = keypoints_px[[LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=0)
    start = np.clip(np.rint(middle - side / 2), 0, [width_px - side, height_px - side])
    if last is not None:
        shift = float(np.abs(start + side / 2 - (last.x0_px, last.y0_px) - last.side_px / 2).max())
        growth = max(side / last.side_px, last.side_px / side)
        if shift <= _MAX_SHIFT_SHARE * last.side_px and growth <= _MAX_GROWTH:
            return last
    return Window(x0_px=int(start[0]), y0_px=int(start[1]), side_px=side)


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
