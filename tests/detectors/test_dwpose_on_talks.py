"""Followed boxes, faces and hands on a real talk, with MediaPipe's points in place of DWPose's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from tpbench.detectors.base import EVERY_FRAME, Detections, PersonDetection, Strides
from tpbench.detectors.box_following import BoxFollower
from tpbench.detectors.dwpose_suite import DWPoseSuite
from tpbench.detectors.faces import MediaPipeFaceDetector
from tpbench.detectors.mediapipe_skeleton import MediaPipeHandDetector, MediaPipeSkeletonDetector
from tpbench.video import Frame, read_frames
from tpbench.wholebody import PoseSource

pytestmark = [pytest.mark.shared, pytest.mark.slow]

N_FRAMES = 160
BATCH = 16


class Replayed:
    """A skeleton that was found before."""

    source: Final[PoseSource] = "dwpose"
    model_digest: Final = "0" * 64

    def __init__(self, found: Sequence[Detections]) -> None:
        self.people = [Detections(people=one.people) for one in found]

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        return [self.people[frame.index] for frame in frames]

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def frames(shared_dir: Path) -> list[Frame]:
    path = shared_dir / "data" / "talkingpose_samples" / "vid1.mp4"
    return list(read_frames(path, start_frame=0, end_frame=N_FRAMES))


@pytest.fixture(scope="module")
def skeleton(frames: list[Frame]) -> Iterator[Replayed]:
    detector = MediaPipeSkeletonDetector()
    yield Replayed(detector.detect(frames))
    detector.close()


def found_by(frames: list[Frame], skeleton: Replayed, strides: Strides) -> list[Detections]:
    suite = DWPoseSuite(
        faces=MediaPipeFaceDetector(),
        hands=MediaPipeHandDetector(),
        skeleton=skeleton,
        strides=strides,
        on_gpu=False,
    )
    found = [
        one
        for start in range(0, len(frames), BATCH)
        for one in suite.detect(frames[start : start + BATCH])
    ]
    suite.close()
    return found


def test_faces_at_a_stride_are_where_a_search_of_every_frame_finds_them(
    frames: list[Frame], skeleton: Replayed
) -> None:
    wanted = found_by(frames, skeleton, EVERY_FRAME)
    found = found_by(frames, skeleton, Strides(faces=4))
    assert [len(one.faces) for one in found] == [len(one.faces) for one in wanted]
    gaps = [
        np.linalg.norm(ours.faces[0].nose_px - theirs.faces[0].nose_px)
        for ours, theirs in zip(found, wanted, strict=True)
        if theirs.faces
    ]
    assert np.median(gaps) <= 2
    assert np.percentile(gaps, 95) <= 6


def test_boxes_between_searched_frames_are_close_to_those_of_a_search(
    frames: list[Frame], skeleton: Replayed
) -> None:
    """The crop has 12.5 % of the box around it."""
    used: dict[int, NDArray[np.float32]] = {}
    searched: list[int] = []
    shown = {id(frame.image): frame.index for frame in frames}
    noise = np.random.default_rng(0).normal(0, 0.005, (N_FRAMES, 4))

    def box_of(index: int) -> NDArray[np.float32]:
        (person,) = skeleton.people[index].people
        points = person.keypoints_px[np.isfinite(person.keypoints_px).all(axis=1)]
        low, high = points.min(axis=0), points.max(axis=0)
        box = np.concatenate([low, high]) + noise[index] * np.tile(high - low, 2)
        return np.array([box], dtype=np.float32)

    def search(images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        numbers = [shown[id(image)] for image in images]
        searched.extend(numbers)
        return [box_of(number) for number in numbers]

    def find(
        images: Sequence[NDArray[np.uint8]], boxes: Sequence[NDArray[np.float32]]
    ) -> list[PersonDetection]:
        numbers = [shown[id(image)] for image in images]
        used.update(zip(numbers, boxes, strict=True))
        return [skeleton.people[number].people[0] for number in numbers]

    follower = BoxFollower(every=8, find_boxes=search, find_people=find)
    for start in range(0, N_FRAMES, BATCH):
        follower.find([frame.image for frame in frames[start : start + BATCH]])
    off = []
    for number, box in used.items():
        (wanted,) = box_of(number)
        off.append(np.abs(box - wanted).max() / (wanted[2:] - wanted[:2]).max())
    assert len(used) == N_FRAMES
    assert len(searched) <= 0.25 * N_FRAMES
    assert np.median(off) <= 0.02
    assert np.percentile(off, 95) <= 0.06
