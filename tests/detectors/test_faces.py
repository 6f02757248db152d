from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.detectors import faces
from tpbench.detectors.base import FaceDetection
from tpbench.detectors.faces import FaceMesh, MediaPipeFaceDetector, mesh_to_ibug68, open_face_mesh
from tpbench.video import Frame, Window

JAW = slice(0, 17)
MIRRORED_JAW = slice(16, None, -1)


@pytest.fixture(scope="module")
def face() -> FaceDetection:
    """Where her face is, read off the picture."""
    return FaceDetection(
        box_px=np.array([173, 67, 276, 170], dtype=np.float32),
        score=1.0,
        eyes_px=np.array([[202, 102], [246, 104]], dtype=np.float32),
        nose_px=np.array([223, 130], dtype=np.float32),
        ears_px=np.array([[177, 106], [270, 111]], dtype=np.float32),
    )


@pytest.fixture(scope="module")
def mesh() -> FaceMesh:
    pytest.importorskip("ai_edge_litert")
    return FaceMesh()


@pytest.fixture
def told_anew() -> Iterator[None]:
    faces._tell_of_missing_mesh.cache_clear()
    yield
    faces._tell_of_missing_mesh.cache_clear()


def mirrored(face: FaceDetection, width_px: int) -> FaceDetection:
    x0, y0, x1, y1 = face.box_px
    eyes = face.eyes_px[::-1] * (-1, 1) + (width_px - 1, 0)
    box = np.array([width_px - 1 - x1, y0, width_px - 1 - x0, y1], dtype=np.float32)
    return replace(face, box_px=box, eyes_px=eyes.astype(np.float32))


def test_eyes_and_nose_of_the_mesh_are_those_of_the_picture(
    mesh: FaceMesh, portrait: np.ndarray, face: FaceDetection
) -> None:
    found = mesh.find(portrait, face)
    points = mesh_to_ibug68(found.vertices_px)
    assert found.score > 0.99
    np.testing.assert_allclose(points[36:42].mean(axis=0), face.eyes_px[0], atol=5)
    np.testing.assert_allclose(points[42:48].mean(axis=0), face.eyes_px[1], atol=5)
    np.testing.assert_allclose(points[30], face.nose_px, atol=6)


def test_a_box_that_sits_badly_gives_the_same_mesh(
    mesh: FaceMesh, portrait: np.ndarray, face: FaceDetection
) -> None:
    width = face.box_px[2] - face.box_px[0]
    shift = width * np.array([0.15, -0.1, 0.25, 0.0], dtype=np.float32)
    good, bad = (
        mesh.find(portrait, face),
        mesh.find(portrait, replace(face, box_px=face.box_px + shift)),
    )
    assert np.abs(good.vertices_px - bad.vertices_px).mean() < 0.01 * width


def test_a_mirrored_face_has_the_mirrored_points(
    mesh: FaceMesh, portrait: np.ndarray, face: FaceDetection
) -> None:
    width_px = portrait.shape[1]
    here = mesh_to_ibug68(mesh.find(portrait, face).vertices_px)
    flipped = np.ascontiguousarray(portrait[:, ::-1])
    there = mesh_to_ibug68(mesh.find(flipped, mirrored(face, width_px)).vertices_px)
    there[:, 0] = width_px - 1 - there[:, 0]
    np.testing.assert_allclose(there[MIRRORED_JAW], here[JAW], atol=5)
    np.testing.assert_allclose(there[30], here[30], atol=3)


def test_a_turned_head_has_a_turned_mesh(
    mesh: FaceMesh, portrait: np.ndarray, face: FaceDetection
) -> None:
    centre = (224.0, 118.0)
    turn = cv2.getRotationMatrix2D(centre, 35, 1.0)
    turned = cv2.warpAffine(portrait, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    eyes = (face.eyes_px @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
    there = mesh.find(np.asarray(turned), replace(face, eyes_px=eyes)).vertices_px
    here = mesh.find(portrait, face).vertices_px @ turn[:, :2].T + turn[:, 2]
    assert np.hypot(*(there - here).T).mean() < 2.0


def test_the_jaw_is_an_evenly_spaced_outline_around_the_face(
    mesh: FaceMesh, portrait: np.ndarray, face: FaceDetection
) -> None:
    points = mesh_to_ibug68(mesh.find(portrait, face).vertices_px)
    steps = np.hypot(*np.diff(points[JAW], axis=0).T)
    assert steps.max() < 1.2 * steps.min()
    assert points[JAW, 0].min() == points[:, 0].min()
    assert points[JAW, 0].max() == points[:, 0].max()
    assert points[JAW, 1].max() == points[:, 1].max()


def test_where_there_is_no_face_the_score_says_so(mesh: FaceMesh, face: FaceDetection) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    assert mesh.find(noise, face).score < 0.5


def test_a_machine_without_litert_has_no_mesh_and_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, told_anew: None
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with caplog.at_level(logging.WARNING):
        assert open_face_mesh() is None
        assert open_face_mesh() is None
    assert len(caplog.messages) == 1
    assert "no face points" in caplog.messages[0]


def meshes() -> st.SearchStrategy[np.ndarray]:
    """Vertices anywhere: what is claimed below holds for faces and for nonsense."""
    return st.integers(0, 2**32 - 1).map(
        lambda seed: np.random.default_rng(seed).uniform(0, 500, (468, 2))
    )


@given(meshes(), st.floats(0.1, 10), st.floats(-3, 3), st.floats(-500, 500), st.floats(-500, 500))
def test_points_move_turn_and_grow_with_the_mesh(
    mesh: np.ndarray, scale: float, angle: float, x: float, y: float
) -> None:
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    turn, shift = np.array([[cos, sin], [-sin, cos]]), np.array([x, y])
    moved = mesh_to_ibug68(mesh @ turn + shift)
    np.testing.assert_allclose(moved, mesh_to_ibug68(mesh) @ turn + shift, atol=0.02 * scale + 0.01)


@given(meshes())
def test_points_never_lie_further_out_than_the_chin_reaches(mesh: np.ndarray) -> None:
    points = mesh_to_ibug68(mesh)
    assert points.shape == (68, 2)
    assert points.dtype == np.float32
    assert np.isfinite(points).all()
    assert points.min() > -0.5 * 500
    assert points.max() < 1.5 * 500


def test_a_mesh_shrunk_to_one_point_is_that_point() -> None:
    np.testing.assert_allclose(mesh_to_ibug68(np.full((468, 2), 7.0)), 7.0)


def test_another_number_of_vertices_is_refused() -> None:
    with pytest.raises(ValueError, match="468"):
        mesh_to_ibug68(np.zeros((478, 2)))


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
    noise = np.random.default_rng(1).integers(0, 255, (*size_px, 3), dtype=np.uint8)
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
