from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.detectors.base import FaceDetection
from tpbench.extraction.measures import yaw_deg

EARS_MM = np.array([[-75.0, 0, 0], [75.0, 0, 0]])
"""The person's own right ear and left ear: x to the person's left, y down, z to the camera."""

NOSE_MM = np.array([0.0, 15, 105])
CAMERA_MM = 1500.0


def _face(
    yaw: float, *, pitch: float = 0.0, roll: float = 0.0, size: float = 1.0, at: float = 400.0
) -> FaceDetection:
    """Photograph a head that is turned to its own left by `yaw`, from 1.5 m; x is to the right.

    A person who faces us has the left ear on our right, so x needs no mirror.
    """
    yaw, pitch, roll = (math.radians(angle) for angle in (yaw, pitch, roll))
    turn = np.array(
        [[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]]
    )
    nod = np.array(
        [[1, 0, 0], [0, math.cos(pitch), math.sin(pitch)], [0, -math.sin(pitch), math.cos(pitch)]]
    )
    tilt = np.array(
        [[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]]
    )
    points = np.concatenate([EARS_MM, NOSE_MM[None]]) @ (tilt @ nod @ turn).T
    seen = at + size * points[:, :2] * CAMERA_MM / (CAMERA_MM - points[:, 2:])
    return FaceDetection(
        box_px=np.array([at - 100, at - 100, at + 100, at + 100], dtype=np.float32),
        score=1.0,
        eyes_px=np.zeros((2, 2), dtype=np.float32),
        nose_px=seen[2].astype(np.float32),
        ears_px=seen[:2].astype(np.float32),
    )


@pytest.mark.parametrize("yaw", range(-60, 61, 10))
def test_a_turned_head_is_measured_to_five_degrees(yaw: int) -> None:
    assert yaw_deg(_face(yaw)) == pytest.approx(yaw, abs=5)


def test_a_turn_to_the_persons_own_left_is_positive() -> None:
    """The nose comes to the right of the picture."""
    face = _face(30)
    assert face.nose_px[0] > face.ears_px.mean(axis=0)[0]
    assert yaw_deg(face) > 0


@pytest.mark.parametrize("roll", [-40, -15, 15, 40])
@pytest.mark.parametrize("yaw", [-45, 0, 45])
def test_a_tilted_head_is_turned_as_far(yaw: int, roll: int) -> None:
    assert yaw_deg(_face(yaw, roll=roll)) == pytest.approx(yaw_deg(_face(yaw)), abs=1)


@pytest.mark.parametrize("pitch", [-20, 20])
@pytest.mark.parametrize("yaw", [-40, 0, 40])
def test_a_nod_changes_it_by_ten_degrees_at_most(yaw: int, pitch: int) -> None:
    assert yaw_deg(_face(yaw, pitch=pitch)) == pytest.approx(yaw, abs=10)


@given(st.floats(-60, 60), st.floats(0.1, 20), st.floats(-500, 2000))
def test_size_and_place_do_not_matter(yaw: float, size: float, at: float) -> None:
    assert yaw_deg(_face(yaw, size=size, at=at)) == pytest.approx(yaw_deg(_face(yaw)), abs=0.5)


@given(st.floats(0, 80))
def test_left_and_right_are_alike(yaw: float) -> None:
    assert yaw_deg(_face(yaw)) == pytest.approx(-yaw_deg(_face(-yaw)), abs=0.01)


def test_ears_in_one_point_tell_nothing() -> None:
    face = _face(0)
    face.ears_px[:] = face.ears_px[0]
    assert math.isnan(yaw_deg(face))
