from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

from tpbench.detectors.base import Detections, FaceDetection, PersonDetection
from tpbench.detectors.mediapipe_skeleton import MediaPipeSkeletonDetector, face_of_body
from tpbench.video import Frame
from tpbench.wholebody import (
    BODY,
    FACE,
    FEET,
    LEFT_ELBOW,
    LEFT_EYE,
    LEFT_HAND,
    LEFT_HIP,
    LEFT_SHOULDER,
    RIGHT_ELBOW,
    RIGHT_EYE,
    RIGHT_HAND,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    VISIBLE_SCORE,
)


@pytest.fixture(scope="module")
def skeleton() -> Iterator[MediaPipeSkeletonDetector]:
    detector = MediaPipeSkeletonDetector()
    yield detector
    detector.close()


def still(image: np.ndarray, count: int, start: int = 0) -> list[Frame]:
    """A video in which nothing moves."""
    return [Frame(image=image, index=i, time_s=i / 25) for i in range(start, start + count)]


def person_in(skeleton: MediaPipeSkeletonDetector, image: np.ndarray) -> PersonDetection:
    """The person of a picture that was looked at for three frames."""
    skeleton.reset()
    (person,) = skeleton.detect(still(image, 3))[-1].people
    return person


def same(one: list[Detections], two: list[Detections]) -> bool:
    people = zip([d.people[0] for d in one], [d.people[0] for d in two], strict=True)
    return all(
        np.array_equal(a.keypoints_px, b.keypoints_px, equal_nan=True)
        and np.array_equal(a.scores, b.scores)
        for a, b in people
    )


def test_left_is_the_persons_own_left(
    skeleton: MediaPipeSkeletonDetector, portrait: np.ndarray
) -> None:
    points = person_in(skeleton, portrait).keypoints_px
    assert points[LEFT_SHOULDER, 0] > points[RIGHT_SHOULDER, 0] + 100
    assert points[LEFT_EYE, 0] > points[RIGHT_EYE, 0]
    face = points[FACE]
    assert face[16, 0] > face[0, 0]
    np.testing.assert_allclose(face[36:42].mean(axis=0), points[RIGHT_EYE], atol=10)
    np.testing.assert_allclose(face[42:48].mean(axis=0), points[LEFT_EYE], atol=10)


def test_a_mirrored_picture_swaps_the_sides(
    skeleton: MediaPipeSkeletonDetector, portrait: np.ndarray
) -> None:
    here = person_in(skeleton, portrait).keypoints_px
    there = person_in(skeleton, np.ascontiguousarray(portrait[:, ::-1])).keypoints_px
    there[:, 0] = portrait.shape[1] - 1 - there[:, 0]
    pairs = [(LEFT_SHOULDER, RIGHT_SHOULDER), (LEFT_EYE, RIGHT_EYE)]
    for left, right in [*pairs, *[(b, a) for a, b in pairs]]:
        np.testing.assert_allclose(there[left], here[right], atol=12)


def test_what_is_not_in_the_picture_is_not_found(
    skeleton: MediaPipeSkeletonDetector, portrait: np.ndarray
) -> None:
    person = person_in(skeleton, portrait[:260])
    assert np.isfinite(person.keypoints_px[[LEFT_SHOULDER, RIGHT_SHOULDER]]).all()
    for joint in (LEFT_ELBOW, RIGHT_ELBOW, LEFT_HIP, RIGHT_HIP):
        assert person.scores[joint] < VISIBLE_SCORE
    assert np.isnan(person.keypoints_px[FEET]).all()
    missing = np.isnan(person.keypoints_px).any(axis=1)
    assert (person.scores[missing] == 0).all()
    assert (person.scores[~missing] > 0).all()


def test_every_point_lies_in_the_picture_and_every_score_in_0_1(
    skeleton: MediaPipeSkeletonDetector, portrait: np.ndarray
) -> None:
    person = person_in(skeleton, np.ascontiguousarray(portrait[60:, 150:]))
    points = person.keypoints_px[np.isfinite(person.keypoints_px[:, 0])]
    assert (points >= -0.5).all()
    assert (points <= [361.5, 451.5]).all()
    assert ((person.scores >= 0) & (person.scores <= 1)).all()


def test_one_pass_answers_for_faces_hands_and_people(
    skeleton: MediaPipeSkeletonDetector, portrait: np.ndarray
) -> None:
    skeleton.reset()
    (found,) = skeleton.detect(still(portrait, 1))
    assert len(found.faces) == 1
    assert len(found.people) == 1
    np.testing.assert_array_equal(found.faces[0].box_px, skeleton.faces.find(portrait)[0].box_px)


def test_an_empty_picture_has_nobody(skeleton: MediaPipeSkeletonDetector) -> None:
    skeleton.reset()
    (found,) = skeleton.detect(still(np.full((240, 320, 3), 128, dtype=np.uint8), 1))
    assert (found.faces, found.hands, found.people) == ((), (), ())


def test_a_stretch_is_answered_the_same_whatever_came_before(
    skeleton: MediaPipeSkeletonDetector, portrait: np.ndarray
) -> None:
    shifted = np.roll(portrait, 60, axis=1)
    skeleton.reset()
    first = skeleton.detect(still(portrait, 4))
    skeleton.detect(still(shifted, 4, start=4))
    without_reset = skeleton.detect(still(portrait, 4, start=8))
    skeleton.reset()
    after_reset = skeleton.detect(still(portrait, 4))
    assert same(first, after_reset)
    assert not same(first, without_reset)


def test_batches_make_no_difference(
    skeleton: MediaPipeSkeletonDetector, portrait: np.ndarray
) -> None:
    frames = still(portrait, 4)
    skeleton.reset()
    together = skeleton.detect(frames)
    skeleton.reset()
    assert same(together, [skeleton.detect([frame])[0] for frame in frames])


def test_frames_of_one_millisecond_are_taken_in_order(
    skeleton: MediaPipeSkeletonDetector, portrait: np.ndarray
) -> None:
    skeleton.reset()
    frames = [Frame(image=portrait, index=i, time_s=i / 5000) for i in range(4)]
    assert [len(found.people) for found in skeleton.detect(frames)] == [1, 1, 1, 1]


def test_a_small_person_in_a_wide_frame_has_a_face(
    skeleton: MediaPipeSkeletonDetector, portrait: np.ndarray
) -> None:
    wide = np.full((1080, 1920, 3), 60, dtype=np.uint8)
    wide[568:, 700:1212] = portrait
    points = person_in(skeleton, wide).keypoints_px
    np.testing.assert_allclose(points[FACE].mean(axis=0), [700 + 224, 568 + 130], atol=25)


def test_the_face_is_the_one_at_the_bodys_eyes() -> None:
    body = np.zeros((17, 2))
    body[[LEFT_EYE, RIGHT_EYE]] = [[120, 100], [100, 100]]

    def face_at(x: float, score: float) -> FaceDetection:
        eyes = np.array([[x - 10, 100], [x + 10, 100]], dtype=np.float32)
        box = np.array([x - 30, 70, x + 30, 130], dtype=np.float32)
        nose = eyes.mean(axis=0)
        return FaceDetection(box_px=box, score=score, eyes_px=eyes, nose_px=nose, ears_px=eyes)

    hers, neighbours, far = face_at(112, 0.6), face_at(160, 0.95), face_at(400, 0.99)
    assert face_of_body((far, neighbours, hers), body) is hers
    assert face_of_body((far,), body) is None
    assert face_of_body((), body) is None


UNALIGNED = "Input tensor memory is not aligned"


def test_native_libraries_print_nothing_but_where_malloc_put_a_picture() -> None:
    script = (
        "import numpy as np\n"
        "from tpbench.detectors.mediapipe_skeleton import MediaPipeSkeletonDetector\n"
        "from tpbench.video import Frame\n"
        "from skimage.data import astronaut\n"
        "skeleton = MediaPipeSkeletonDetector()\n"
        "for i in range(3):\n"
        "    skeleton.detect([Frame(image=astronaut(), index=i, time_s=i / 25)])\n"
        "skeleton.reset()\n"
        "skeleton.detect([Frame(image=astronaut(), index=0, time_s=0.0)])\n"
    )
    for ending in ("skeleton.close()\n", ""):
        done = subprocess.run(
            [sys.executable, "-c", script + ending], capture_output=True, text=True, check=True
        )
        said = [line for line in done.stderr.splitlines() if UNALIGNED not in line]
        assert (done.stdout, said) == ("", [])


@pytest.mark.slow
def test_memory_does_not_grow_with_frames_or_stretches(
    skeleton: MediaPipeSkeletonDetector, portrait: np.ndarray
) -> None:
    process = psutil.Process()

    def after(frames: int) -> int:
        for _ in range(frames // 100):
            skeleton.reset()
            skeleton.detect(still(portrait, 100))
        return int(process.memory_info().rss)

    settled = after(400)
    assert after(2600) - settled < 40 * 2**20


def test_scores_of_a_seen_body_pass_the_cut_of_the_drawing(
    skeleton: MediaPipeSkeletonDetector, portrait: np.ndarray
) -> None:
    scores = person_in(skeleton, portrait).scores
    assert (scores[BODY][[0, 1, 2, LEFT_SHOULDER, RIGHT_SHOULDER]] > 0.8).all()
    assert (scores[FACE] > 0.9).all()
    for hand in (LEFT_HAND, RIGHT_HAND):
        assert np.unique(scores[hand]).size <= 2


def test_a_face_that_moves_beside_one_that_rests_is_not_counted_twice(
    portrait: np.ndarray,
) -> None:
    head = portrait[40:240, 120:320]
    frames = []
    for index in range(32):
        image = np.full((400, 900, 3), 60, dtype=np.uint8)
        image[100:300, 20:220] = head
        left = 300 + 14 * abs(index % 12 - 6)
        image[100:300, left : left + 200] = head
        frames.append(Frame(image=image, index=index, time_s=index / 25))
    detector = MediaPipeSkeletonDetector(every_frame=False)
    found = [*detector.detect(frames[:16]), *detector.detect(frames[16:])]
    assert {len(detection.faces) for detection in found} == {2}
