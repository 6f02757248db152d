from __future__ import annotations

import logging
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tpbench.detectors import faces
from tpbench.detectors.base import FaceDetection
from tpbench.detectors.faces import FaceMesh, mesh_to_ibug68, open_face_mesh

if TYPE_CHECKING:
    from collections.abc import Iterator

JAW = slice(0, 17)
MIRRORED_JAW = slice(16, None, -1)


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """A woman's portrait, 512x512, her face at about (225, 125)."""
    from skimage.data import astronaut

    return np.asarray(astronaut())


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
