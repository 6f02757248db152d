from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from tpbench.detectors.faces import MediaPipeFaceDetector
from tpbench.video import Frame, Window


@pytest.fixture(scope="module")
def detector() -> Iterator[MediaPipeFaceDetector]:
    detector = MediaPipeFaceDetector()
    yield detector
    detector.close()


def test_a_face_is_found_where_it_is(detector: MediaPipeFaceDetector, portrait: np.ndarray) -> None:
    (face,) = detector.find(portrait)
    np.testing.assert_allclose(face.box_px, [173, 67, 276, 170], atol=6)
    np.testing.assert_allclose(face.eyes_px, [[202, 102], [246, 104]], atol=4)
    np.testing.assert_allclose(face.nose_px, [223, 130], atol=5)
    assert face.ears_px[0, 0] < face.eyes_px[0, 0] < face.eyes_px[1, 0] < face.ears_px[1, 0]
    assert face.score > 0.8


def test_a_mirrored_picture_has_the_mirrored_face(
    detector: MediaPipeFaceDetector, portrait: np.ndarray
) -> None:
    (here,) = detector.find(portrait)
    (there,) = detector.find(np.ascontiguousarray(portrait[:, ::-1]))
    np.testing.assert_allclose(511 - there.eyes_px[::-1, 0], here.eyes_px[:, 0], atol=3)
    np.testing.assert_allclose(there.eyes_px[::-1, 1], here.eyes_px[:, 1], atol=3)


def test_a_small_face_in_a_wide_frame_is_found(
    detector: MediaPipeFaceDetector, portrait: np.ndarray
) -> None:
    wide = np.full((1080, 1920, 3), 60, dtype=np.uint8)
    wide[500:1012, 1200:1712] = portrait  # the face is 11 % of the height
    (face,) = detector.find(wide)
    np.testing.assert_allclose(face.eyes_px.mean(axis=0), [1200 + 224, 500 + 103], atol=20)


def test_a_face_that_fills_the_picture_is_found(
    detector: MediaPipeFaceDetector, portrait: np.ndarray
) -> None:
    close = cv2.resize(portrait[75:165, 180:270], (512, 512))
    (face,) = detector.find(np.asarray(close))
    assert face.box_px[3] - face.box_px[1] > 350


def test_two_people_are_two_faces(detector: MediaPipeFaceDetector, portrait: np.ndarray) -> None:
    left, right = detector.find(np.hstack([portrait, portrait]))
    middles = sorted([left.eyes_px[:, 0].mean(), right.eyes_px[:, 0].mean()])
    np.testing.assert_allclose(middles, [224, 512 + 224], atol=6)


def test_a_window_gives_the_face_in_px_of_the_whole_picture(
    detector: MediaPipeFaceDetector, portrait: np.ndarray
) -> None:
    (face,) = detector.find(portrait, Window(100, 20, 260, 260))
    np.testing.assert_allclose(face.eyes_px, [[202, 102], [246, 104]], atol=4)
    assert detector.find(portrait, Window(300, 250, 200, 200)) == ()


@pytest.mark.parametrize("size_px", [(512, 512), (144, 177), (9, 1), (1, 1)])
def test_pictures_without_faces_have_none(
    detector: MediaPipeFaceDetector, size_px: tuple[int, int]
) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (*size_px, 3), dtype=np.uint8)
    assert detector.find(noise) == ()


def test_frames_are_answered_in_order_each_for_itself(
    detector: MediaPipeFaceDetector, portrait: np.ndarray
) -> None:
    empty = np.zeros_like(portrait)
    images = [portrait, empty, portrait]
    frames = [Frame(image=image, index=i, time_s=i / 25) for i, image in enumerate(images)]
    first, second, third = detector.detect(frames)
    assert (len(first.faces), len(second.faces), len(third.faces)) == (1, 0, 1)
    np.testing.assert_array_equal(first.faces[0].box_px, third.faces[0].box_px)


def test_the_digest_tells_settings_apart() -> None:
    one, two = MediaPipeFaceDetector(), MediaPipeFaceDetector(min_score=0.6)
    assert one.model_digest != two.model_digest
    one.close()
    two.close()
