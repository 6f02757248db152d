from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.detectors.faces import mesh_to_ibug68


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
