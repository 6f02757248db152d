"""Faces and hands at a stride beside DWPose, against a search of every frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pytest

from tpbench.detectors.base import (
    EVERY_FRAME,
    Detections,
    DetectorSuite,
    FaceDetection,
    HandDetection,
    PersonDetection,
    Strides,
)
from tpbench.detectors.dwpose_suite import DWPoseSuite
from tpbench.video import Frame
from tpbench.wholebody import FACE, LEFT_HAND, NUM_KEYPOINTS, PoseSource

Place = Callable[[int], tuple[float, float] | None]
"""Frame -> x, y in px; None where there is nothing."""


def nod(frame: int) -> tuple[float, float]:
    return 300 + 2.0 * frame, 200 + 12 * np.sin(frame / 2)


def wave(frame: int) -> tuple[float, float]:
    return 420 + 30 * np.sin(frame), 380.0


def still(_: int) -> tuple[float, float]:
    return 180.0, 400.0


def nowhere(_: int) -> None:
    return None


def face_at(x_px: float, y_px: float) -> FaceDetection:
    around = np.array([[-15, -10], [15, -10], [0, 5], [-40, 0], [40, 0]])
    points = around + np.array([x_px, y_px])
    box = np.array([x_px - 45, y_px - 50, x_px + 45, y_px + 50])
    return FaceDetection(
        box_px=box.astype(np.float32),
        score=0.9,
        eyes_px=points[:2].astype(np.float32),
        nose_px=points[2].astype(np.float32),
        ears_px=points[3:].astype(np.float32),
    )


def hand_at(x_px: float, y_px: float) -> HandDetection:
    spread = np.random.default_rng(0).uniform(-20, 20, (21, 2)) + np.array([x_px, y_px])
    return HandDetection(keypoints_px=spread.astype(np.float32), score=0.8)


class Looking:
    """Finds what is at some places, and notes which frames it was shown."""

    def __init__(self, *, faces: Sequence[Place] = (), hands: Sequence[Place] = ()) -> None:
        self.model_digest = "0" * 64
        self.faces, self.hands = faces, hands
        self.shown: list[int] = []

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        self.shown += [frame.index for frame in frames]
        return [
            Detections(
                faces=tuple(face_at(*at) for place in self.faces if (at := place(frame.index))),
                hands=tuple(hand_at(*at) for place in self.hands if (at := place(frame.index))),
            )
            for frame in frames
        ]

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


class Skeleton:
    """A person whose face and left hand are at two places, a bit beside those of MediaPipe."""

    source: Final[PoseSource] = "dwpose"

    def __init__(self, face: Place, hand: Place) -> None:
        self.model_digest = "1" * 64
        self.places = ((FACE, face), (LEFT_HAND, hand))

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        return [Detections(people=(self.person(frame.index),)) for frame in frames]

    def person(self, frame: int) -> PersonDetection:
        points = np.full((NUM_KEYPOINTS, 2), np.nan, dtype=np.float32)
        scores = np.zeros(NUM_KEYPOINTS, dtype=np.float32)
        for part, place in self.places:
            at = place(frame)
            if at is not None:
                points[part], scores[part] = np.add(at, (3, -4)), 0.9
        return PersonDetection(keypoints_px=points, scores=scores)

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


class Talk:
    """A suite, and the frames it is shown."""

    def __init__(
        self,
        *,
        faces: Sequence[Place] = (nod,),
        hands: Sequence[Place] = (wave, still),
        skeleton: Skeleton | None = None,
        strides: Strides = EVERY_FRAME,
        on_gpu: bool = False,
    ) -> None:
        self.faces, self.hands = Looking(faces=faces), Looking(hands=hands)
        self.suite = DWPoseSuite(
            faces=self.faces,
            hands=self.hands,
            skeleton=skeleton or Skeleton(nod, wave),
            strides=strides,
            on_gpu=on_gpu,
        )

    def detect(self, count: int, batch: int = 16) -> list[Detections]:
        return [
            found
            for start in range(0, count, batch)
            for found in self.suite.detect(frames(start, min(batch, count - start)))
        ]


def frames(start: int, count: int) -> list[Frame]:
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    return [Frame(image=image, index=at, time_s=at / 25) for at in range(start, start + count)]


def test_at_a_stride_of_one_everything_is_as_the_detectors_say() -> None:
    talk, plain = Talk(), Talk()
    suite = DetectorSuite(
        faces=plain.faces, hands=plain.hands, skeleton=Skeleton(nod, wave), skeleton_finds_all=False
    )
    assert_close(talk.detect(20), suite.detect(frames(0, 20)), atol=0)
    assert talk.faces.shown == talk.hands.shown == list(range(20))
    assert talk.suite.face_digest == suite.face_digest


def test_every_nth_frame_is_searched_and_the_rest_follows_the_skeleton() -> None:
    talk = Talk(strides=Strides(faces=4, hands=8))
    assert_close(talk.detect(48), Talk().detect(48), atol=0.01)
    assert talk.faces.shown == [0, *range(3, 48, 4)]
    assert talk.hands.shown == [0, *range(7, 48, 8)]


def test_without_a_skeleton_a_face_goes_straight_from_search_to_search() -> None:
    talk = Talk(skeleton=Skeleton(nowhere, nowhere), strides=Strides(faces=4))
    found = talk.detect(12)
    ends = [found[at].faces[0].nose_px for at in (7, 11)]
    np.testing.assert_allclose(found[8].faces[0].nose_px, 0.75 * ends[0] + 0.25 * ends[1])


def test_a_face_that_comes_and_goes_is_there_in_the_same_frames() -> None:
    def guest(frame: int) -> tuple[float, float] | None:
        return (500.0, 250.0) if 21 <= frame < 38 else None

    talk = Talk(faces=(nod, guest), strides=Strides(faces=8))
    counts = [len(found.faces) for found in talk.detect(64)]
    assert counts == [1] * 21 + [2] * 17 + [1] * 26
    assert len(talk.faces.shown) < 20


def test_a_hand_in_one_of_two_searched_frames_is_carried_to_the_middle() -> None:
    def lowered(frame: int) -> tuple[float, float] | None:
        return wave(frame) if frame < 20 else None

    def raised(frame: int) -> tuple[float, float] | None:
        return wave(frame) if frame >= 20 else None

    for place, wanted in ((lowered, [1] * 19 + [0] * 13), (raised, [0] * 19 + [1] * 13)):
        talk = Talk(hands=(place,), strides=Strides(hands=8))
        found = talk.detect(32)
        assert [len(at.hands) for at in found] == wanted
        for frame, at in enumerate(found):
            for hand in at.hands:
                np.testing.assert_allclose(
                    hand.keypoints_px, hand_at(*wave(frame)).keypoints_px, atol=0.01
                )


def test_hands_that_pass_each_other_are_not_swapped() -> None:
    def right(frame: int) -> tuple[float, float]:
        return 200 + 5.0 * frame, 300.0

    def left(frame: int) -> tuple[float, float]:
        return 400 - 5.0 * frame, 390.0

    talk = Talk(hands=(right, left), strides=Strides(hands=8))
    assert_close(talk.detect(48), Talk(hands=(right, left)).detect(48), atol=0.01)


def test_a_stretch_begins_with_a_search() -> None:
    talk = Talk(strides=Strides(faces=8, hands=8))
    talk.detect(16)
    talk.suite.reset()
    again = talk.detect(16)
    assert_close(again, Talk(strides=Strides(faces=8, hands=8)).detect(16), atol=0)


def test_side_by_side_gives_the_same() -> None:
    strides = Strides(faces=4, hands=4)
    talk = Talk(strides=strides, on_gpu=True)
    assert_close(talk.detect(32), Talk(strides=strides).detect(32), atol=0)
    talk.suite.close()


def test_an_error_of_the_skeleton_arrives_from_the_other_thread() -> None:
    class Broken(Skeleton):
        def detect(self, frames: Sequence[Frame]) -> list[Detections]:
            raise MemoryError(f"{len(frames)} frames")

    talk = Talk(skeleton=Broken(nod, wave), on_gpu=True)
    with pytest.raises(MemoryError, match="16 frames"):
        talk.detect(16)
    talk.suite.close()


def test_each_stride_has_a_digest_of_its_own() -> None:
    suites = [Talk(strides=Strides(faces=n, hands=m)).suite for n, m in ((1, 1), (4, 1), (8, 4))]
    assert len({suite.face_digest for suite in suites}) == 3
    assert len({suite.hand_digest for suite in suites}) == 2


def test_no_frames_give_nothing() -> None:
    assert Talk().suite.detect([]) == []


def assert_close(found: list[Detections], wanted: list[Detections], *, atol: float) -> None:
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert len(ours.people) == len(theirs.people)
        for face, other in zip(ours.faces, theirs.faces, strict=True):
            for name in ("box_px", "eyes_px", "nose_px", "ears_px", "score"):
                one, two = getattr(face, name), getattr(other, name)
                np.testing.assert_allclose(one, two, atol=atol, rtol=1e-6)
        for hand, another in zip(ours.hands, theirs.hands, strict=True):
            np.testing.assert_allclose(
                hand.keypoints_px, another.keypoints_px, atol=atol, rtol=1e-6
            )
