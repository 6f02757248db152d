"""DWPose with MediaPipe's faces and hands beside it, some frames searched and the others followed.

Faces and hands cost the processor more than all else that an extraction with DWPose on a GPU does
there. Between two searched frames a face or a hand lies on the straight line between what was found
in both, plus what DWPose's own points of that face or hand did beside their straight line: so it
follows a nod or a wave, and nothing is left over at the searched frames themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import (
    Detections,
    Detector,
    DetectorSuite,
    FaceDetection,
    HandDetection,
    SkeletonDetector,
    Strides,
)
from tpbench.detectors.box_following import partners_of, searched_frames
from tpbench.video import Frame
from tpbench.wholebody import FACE, LEFT_HAND, RIGHT_HAND, VISIBLE_SCORE

Points = NDArray[np.float32]
"""(N, 2) px."""

HAND_REACH: Final = 2.0
"""A hand moves by at most this many of its own sizes from one searched frame to the next."""


class DWPoseSuite(DetectorSuite):
    """Detects people by DWPose, and faces and hands by MediaPipe, each at its stride.

    Frames passed together are processed together: the last one is always searched. Where faces
    differ between two searched frames, the frames between are searched as well. Hands are tracked,
    so no frame can be searched later: a hand that is in only one of two searched frames is carried
    to the middle between them.

    Args:
        faces: detects faces, each frame independently.
        hands: detects hands.
        skeleton: detects people.
        strides: how many frames apart faces and hands are searched.
        on_gpu: the skeleton runs on a GPU, so faces and hands are searched meanwhile.
    """

    def __init__(
        self,
        *,
        faces: Detector,
        hands: Detector,
        skeleton: SkeletonDetector,
        strides: Strides,
        on_gpu: bool,
    ) -> None:
        super().__init__(faces=faces, hands=hands, skeleton=skeleton, skeleton_finds_all=False)
        self._strides = strides
        self._last: Detections | None = None
        self._thread = ThreadPoolExecutor(max_workers=1) if on_gpu else None
        self.on_gpu = on_gpu
        self.face_digest = _with_stride(self.face_digest, strides.faces)
        self.hand_digest = _with_stride(self.hand_digest, strides.hands)

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Return faces, hands and people of each frame."""
        if not frames:
            return []
        with self._people_of(frames) as people_of:
            faces = self._searched_faces(frames)
            hands = self._searched_hands(frames)
            people = people_of()
        found = [
            Detections(faces=faces.get(at, ()), hands=hands.get(at, ()), people=seen.people)
            for at, seen in enumerate(people)
        ]
        known = dict(enumerate(found)) | ({} if self._last is None else {-1: self._last})
        for start, end in pairwise(sorted(faces)):
            for at in range(start + 1, end):
                moved = _faces_between(known[start], known[at], known[end], _share(start, at, end))
                known[at] = replace(known[at], faces=moved)
        for start, end in pairwise(sorted(hands)):
            for at in range(start + 1, end):
                moved_hands = _hands_between(
                    known[start], known[at], known[end], _share(start, at, end)
                )
                known[at] = replace(known[at], hands=moved_hands)
        self._last = known[len(frames) - 1]
        return [known[at] for at in range(len(frames))]

    def reset(self) -> None:
        """Discard tracking state."""
        super().reset()
        self._last = None

    def close(self) -> None:
        """Release native memory. Can be called repeatedly."""
        if self._thread is not None:
            self._thread.shutdown()
        super().close()

    @contextmanager
    def _people_of(self, frames: Sequence[Frame]) -> Iterator[Callable[[], list[Detections]]]:
        """Search for people: now, or on a GPU while the block searches for faces and hands."""
        if self._thread is None:
            people = self._skeleton.detect(frames)
            yield lambda: people
            return
        started: Future[list[Detections]] = self._thread.submit(self._skeleton.detect, frames)
        try:
            yield started.result
        finally:
            started.exception()  # waits: the detector is not used twice at once

    def _searched_faces(self, frames: Sequence[Frame]) -> dict[int, tuple[FaceDetection, ...]]:
        return searched_frames(
            len(frames),
            every=self._strides.faces,
            last=None if self._last is None else self._last.faces,
            search=lambda wanted: [
                found.faces for found in self.faces.detect([frames[at] for at in wanted])
            ],
            agree=lambda start, end: partners_of(_boxes(start), _boxes(end)) is not None,
        )

    def _searched_hands(self, frames: Sequence[Frame]) -> dict[int, tuple[HandDetection, ...]]:
        return searched_frames(
            len(frames),
            every=self._strides.hands,
            last=None if self._last is None else self._last.hands,
            search=lambda wanted: [
                found.hands for found in self._hands.detect([frames[at] for at in wanted])
            ],
            agree=lambda _start, _end: True,
        )


def _with_stride(digest: str, every: int) -> str:
    """Return the digest of a detector that sees every nth frame; its own if it sees all."""
    return digest if every == 1 else hashlib.sha256(f"{digest} {every=}".encode()).hexdigest()


def _share(start: int, at: int, end: int) -> float:
    return (at - start) / (end - start)


def _boxes(faces: Sequence[FaceDetection]) -> NDArray[np.float32]:
    return np.array([face.box_px for face in faces], dtype=np.float32).reshape(-1, 4)


def _faces_between(
    start: Detections, now: Detections, end: Detections, share: float
) -> tuple[FaceDetection, ...]:
    partners = partners_of(_boxes(start.faces), _boxes(end.faces))
    if partners is None:
        return ()
    heads = [_middles(found, FACE) for found in (start, now, end)]
    carried = []
    for face, partner in zip(start.faces, partners, strict=True):
        other = end.faces[partner]
        boxes = np.stack([face.box_px, other.box_px]).reshape(2, 2, 2)
        aside = _aside(
            *heads,
            begin_px=boxes[0].mean(axis=0),
            end_px=boxes[1].mean(axis=0),
            share=share,
            reach_px=float(np.ptp(boxes[0], axis=0).max()),
        )
        carried.append(
            FaceDetection(
                box_px=_line(face.box_px, other.box_px, share) + np.tile(aside, 2),
                score=(1 - share) * face.score + share * other.score,
                eyes_px=_line(face.eyes_px, other.eyes_px, share) + aside,
                nose_px=_line(face.nose_px, other.nose_px, share) + aside,
                ears_px=_line(face.ears_px, other.ears_px, share) + aside,
            )
        )
    return tuple(sorted(carried, key=lambda face: -face.score))


def _hands_between(
    start: Detections, now: Detections, end: Detections, share: float
) -> tuple[HandDetection, ...]:
    palms = [
        np.concatenate([_middles(found, LEFT_HAND), _middles(found, RIGHT_HAND)])
        for found in (start, now, end)
    ]
    pairs = _same_hands(start.hands, end.hands)
    carried = []
    for at, hand in enumerate(start.hands):
        other = end.hands[pairs[at]] if at in pairs else None
        if other is not None or share < 0.5:
            carried.append(_hand_between(hand, other or hand, palms, share, both=other is not None))
    alone = set(range(len(end.hands))) - set(pairs.values())
    if share >= 0.5:
        carried += [
            _hand_between(end.hands[at], end.hands[at], palms[::-1], 1 - share, both=False)
            for at in sorted(alone)
        ]
    return tuple(carried)


def _hand_between(
    hand: HandDetection,
    other: HandDetection,
    palms: Sequence[Points],
    share: float,
    *,
    both: bool,
) -> HandDetection:
    """Return the hand on its way from one searched frame to the other, or away from the only one.

    Args:
        hand: in the first of the frames.
        other: the same in the second frame, or `hand` again if it is not there.
        palms: middles of all hands of the skeletons: in the first frame, now, in the second frame.
        share: of the way.
        both: whether it was found in both frames.
    """
    points = hand.keypoints_px
    aside = _aside(
        palms[0],
        palms[1],
        palms[2] if both else palms[0],
        begin_px=points.mean(axis=0),
        end_px=other.keypoints_px.mean(axis=0),
        share=share,
        reach_px=_size_px(hand),
    )
    return HandDetection(
        keypoints_px=_line(points, other.keypoints_px, share) + aside,
        score=(1 - share) * hand.score + share * other.score,
    )


def _same_hands(start: Sequence[HandDetection], end: Sequence[HandDetection]) -> dict[int, int]:
    """Return hand at the start -> the same hand at the end, the nearest pairs first."""
    gaps = {
        (at, to): float(
            np.linalg.norm(one.keypoints_px.mean(axis=0) - other.keypoints_px.mean(axis=0))
        )
        for at, one in enumerate(start)
        for to, other in enumerate(end)
    }
    pairs: dict[int, int] = {}
    for at, to in sorted(gaps, key=gaps.__getitem__):
        if gaps[at, to] > HAND_REACH * _size_px(start[at]):
            break
        if at not in pairs and to not in pairs.values():
            pairs[at] = to
    return pairs


def _size_px(hand: HandDetection) -> float:
    return float(np.ptp(hand.keypoints_px, axis=0).max())


def _middles(found: Detections, part: slice) -> Points:
    """Return the middle of a part of each skeleton that shows it, (N, 2) px."""
    middles = [
        person.keypoints_px[part].mean(axis=0)
        for person in found.people
        if person.scores[part].mean() > VISIBLE_SCORE
    ]
    finite = [middle for middle in middles if np.isfinite(middle).all()]
    return np.array(finite, dtype=np.float32).reshape(-1, 2)


def _aside(
    begin: Points,
    now: Points,
    end: Points,
    *,
    begin_px: Points,
    end_px: Points,
    share: float,
    reach_px: float,
) -> NDArray[np.float32]:
    """Return how far a part of a skeleton is beside its own straight line, (2,) px.

    It is the one near the face or hand that is carried; if there is none in all three frames, 0.

    Args:
        begin: (N, 2) px, the middles of such parts in the first searched frame.
        now: likewise in this frame.
        end: likewise in the second searched frame.
        begin_px: (2,) px, where the face or hand was found in the first.
        end_px: likewise in the second.
        share: how far this frame is on the way.
        reach_px: how far away a part can be.
    """
    first, last = _nearest(begin, begin_px, reach_px), _nearest(end, end_px, reach_px)
    if first is None or last is None:
        return np.zeros(2, dtype=np.float32)
    straight = _line(first, last, share)
    here = _nearest(now, straight, HAND_REACH * reach_px)
    return np.zeros(2, dtype=np.float32) if here is None else here - straight


def _nearest(points: Points, to_px: Points, reach_px: float) -> Points | None:
    gaps = np.linalg.norm(points - to_px, axis=1)
    return points[gaps.argmin()] if len(gaps) and gaps.min() <= reach_px else None


def _line(start: Points, end: Points, share: float) -> NDArray[np.float32]:
    way: NDArray[np.float32] = start + np.float32(share) * (end - start)
    return way
