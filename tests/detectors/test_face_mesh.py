from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.detectors.base import FaceDetection
from tpbench.detectors.face_mesh import FaceMesh, MeshFollower, _mesh_edges, mesh_to_ibug68

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
    return FaceMesh()


def mirrored(face: FaceDetection, width_px: int) -> FaceDetection:
    x0, y0, x1, y1 = face.box_px
    eyes = face.eyes_px[::-1] * (-1, 1) + (width_px - 1, 0)
    box = np.array([width_px - 1 - x1, y0, width_px - 1 - x0, y1], dtype=np.float32)
    return replace(face, box_px=box, eyes_px=eyes.astype(np.float32))


def test_eyes_and_nose_of_the_mesh_are_those_of_the_picture(
    mesh: FaceMesh, portrait: np.ndarray, face: FaceDetection
) -> None:
    found = mesh.find(portrait, face)
    points = mesh_to_ibug68(found[:, :2])
    assert found[0, 2] > 0.99
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
    assert np.abs(good[:, :2] - bad[:, :2]).mean() < 0.01 * width


def test_a_mirrored_face_has_the_mirrored_points(
    mesh: FaceMesh, portrait: np.ndarray, face: FaceDetection
) -> None:
    width_px = portrait.shape[1]
    here = mesh_to_ibug68(mesh.find(portrait, face)[:, :2])
    flipped = np.ascontiguousarray(portrait[:, ::-1])
    there = mesh_to_ibug68(mesh.find(flipped, mirrored(face, width_px))[:, :2])
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
    there = mesh.find(np.asarray(turned), replace(face, eyes_px=eyes))[:, :2]
    here = mesh.find(portrait, face)[:, :2] @ turn[:, :2].T + turn[:, 2]
    assert np.hypot(*(there - here).T).mean() < 2.0


def test_the_jaw_is_an_evenly_spaced_outline_around_the_face(
    mesh: FaceMesh, portrait: np.ndarray, face: FaceDetection
) -> None:
    points = mesh_to_ibug68(mesh.find(portrait, face)[:, :2])
    steps = np.hypot(*np.diff(points[JAW], axis=0).T)
    assert steps.max() < 1.2 * steps.min()
    assert points[JAW, 0].min() == points[:, 0].min()
    assert points[JAW, 0].max() == points[:, 0].max()
    assert points[JAW, 1].max() == points[:, 1].max()


def test_where_there_is_no_face_the_score_says_so(mesh: FaceMesh, face: FaceDetection) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    assert mesh.find(noise, face)[0, 2] < 0.5


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


def test_the_edges_are_those_of_mediapipe() -> None:
    from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarksConnections

    theirs = FaceLandmarksConnections.FACE_LANDMARKS_TESSELATION
    edges = {(min(edge.start, edge.end), max(edge.start, edge.end)) for edge in theirs}
    assert [tuple(edge) for edge in _mesh_edges().tolist()] == sorted(edges)


def test_another_number_of_vertices_is_refused() -> None:
    with pytest.raises(ValueError, match="468"):
        mesh_to_ibug68(np.zeros((478, 2)))


def test_a_mesh_that_is_followed_is_the_one_that_is_found(
    mesh: FaceMesh, portrait: np.ndarray, face: FaceDetection
) -> None:
    found = mesh.find(portrait, face)
    followed = mesh.follow(portrait, found + np.array([6.0, -4.0, 0.0]))
    assert np.abs(followed - found)[:, :2].mean() < 1.0


def moved(face: FaceDetection, x: float, y: float) -> FaceDetection:
    return FaceDetection.from_points(face.to_points() + np.array([x, y, 0.0]))


def test_the_mesh_is_that_of_the_frames_face_wherever_the_last_one_was(
    mesh: FaceMesh, portrait: np.ndarray, face: FaceDetection
) -> None:
    images = [np.roll(portrait, (100, 200), (0, 1)), portrait]
    _, found = MeshFollower(mesh).push(images, [moved(face, 200, 100), face])
    assert found is not None
    assert np.abs(found - mesh.find(portrait, face))[:, :2].mean() < 1.0


def test_after_a_reset_the_mesh_is_found_anew(
    mesh: FaceMesh, portrait: np.ndarray, face: FaceDetection
) -> None:
    follower = MeshFollower(mesh)
    follower.push([portrait], [moved(face, 3, 0)])
    follower.reset()
    (found,) = follower.push([portrait], [face])
    np.testing.assert_array_equal(found, mesh.find(portrait, face))


@pytest.mark.parametrize("every_frame", [True, False])
def test_a_face_that_moves_is_followed(
    mesh: FaceMesh, portrait: np.ndarray, face: FaceDetection, *, every_frame: bool
) -> None:
    steps = range(0, 40, 8)
    follower = MeshFollower(mesh, every_frame=every_frame)
    found = follower.push(
        [np.roll(portrait, step, 1) for step in steps], [moved(face, step, 0) for step in steps]
    )
    for step, one in zip(steps, found, strict=True):
        assert one is not None
        still = mesh.follow(portrait, one - np.array([step, 0.0, 0.0]))
        assert np.abs(one - still - [step, 0.0, 0.0])[:, :2].mean() < 0.5


class ScriptedMesh(FaceMesh):
    """Gives the meshes of a script, by the first pixel of the image."""

    def __init__(self, *meshes: np.ndarray) -> None:
        self.meshes = meshes
        self.looked_at: list[int] = []

    def find(self, image: np.ndarray, face: FaceDetection) -> np.ndarray:
        return self.follow(image, face.to_points())

    def follow(self, image: np.ndarray, last: np.ndarray) -> np.ndarray:
        self.looked_at.append(int(image[0, 0, 0]))
        return self.meshes[self.looked_at[-1]]


@pytest.mark.parametrize(
    ("stretch", "every_frame", "looked_at"),
    [(1.0, False, [0, 2, 4]), (1.0, True, [0, 1, 2, 3, 4]), (1.3, False, [0, 2, 1, 4])],
)
def test_every_second_frame_is_looked_at_only_where_the_shape_changes(
    mesh: FaceMesh,
    portrait: np.ndarray,
    face: FaceDetection,
    stretch: float,
    *,
    every_frame: bool,
    looked_at: list[int],
) -> None:
    still = mesh.find(portrait, face)
    middle = still.mean(axis=0)
    wide = (still - middle) * [1, stretch, 1] + middle
    script = ScriptedMesh(still, still, wide, wide, wide)
    follower = MeshFollower(script, every_frame=every_frame)
    images = [np.full((2, 2, 3), number, np.uint8) for number in range(5)]
    found = follower.push(images, [face] * 5)
    assert script.looked_at == looked_at
    for one, true in zip(found, script.meshes, strict=True):
        assert one is not None
        np.testing.assert_allclose(one, true, atol=1e-9)


def test_a_frame_without_a_face_has_no_mesh(
    mesh: FaceMesh, portrait: np.ndarray, face: FaceDetection
) -> None:
    follower = MeshFollower(mesh, every_frame=False)
    assert follower.push([portrait] * 4, [None, face, None, face])[::2] == [None, None]
