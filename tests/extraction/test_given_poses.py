"""Keypoints of other tools become ours: order, unit, missing points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.extraction.conftest import MakePose
from tpbench.errors import MediaError
from tpbench.extraction.given_poses import read_given_pose
from tpbench.wholebody import (
    LEFT_HAND,
    NOSE,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    WholeBodyPose,
    save_pose,
    to_openpose,
)

SIZE_PX = (640, 480)


@pytest.fixture
def pose(make_pose: MakePose) -> WholeBodyPose:
    return make_pose(5)


def save(path: Path, **arrays: NDArray[Any]) -> Path:
    np.savez_compressed(path, allow_pickle=False, **arrays)
    return path


def read(path: Path, n_frames: int = 5) -> WholeBodyPose:
    return read_given_pose(path, size_px=SIZE_PX, n_frames=n_frames)


def assert_same(found: WholeBodyPose, wanted: WholeBodyPose) -> None:
    np.testing.assert_allclose(found.keypoints, wanted.keypoints, atol=1e-3)
    np.testing.assert_array_equal(found.scores, wanted.scores)
    assert (found.width_px, found.height_px, found.source) == (*SIZE_PX, "dwpose")


def in_dwpose_order(pose: WholeBodyPose) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the 134 points of DWPose: OpenPose's 18 joints, then feet, face and hands."""
    joints, scores = to_openpose(pose.keypoints, pose.scores)
    return (
        np.concatenate([joints, pose.keypoints[:, 17:]], axis=1),
        np.concatenate([scores, pose.scores[:, 17:]], axis=1),
    )


def test_our_own_file_is_read_as_it_is(pose: WholeBodyPose, tmp_path: Path) -> None:
    save_pose(tmp_path / "a.npz", pose)
    assert_same(read(tmp_path / "a.npz"), pose)


def test_133_points_are_in_our_order(pose: WholeBodyPose, tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", keypoints=pose.keypoints, scores=pose.scores)
    assert_same(read(path), pose)
    joined = np.concatenate([pose.keypoints, pose.scores[..., None]], axis=2)
    assert_same(read(save(tmp_path / "b.npz", keypoints=joined)), pose)


def test_134_points_are_in_the_order_of_dwpose(pose: WholeBodyPose, tmp_path: Path) -> None:
    points, scores = in_dwpose_order(pose)
    path = save(tmp_path / "a.npz", keypoints=np.nan_to_num(points, nan=-1), scores=scores)
    found = read(path)
    assert_same(found, pose)
    np.testing.assert_allclose(found.keypoints[0, NOSE], (320, 140))
    np.testing.assert_allclose(found.keypoints[0, RIGHT_SHOULDER], (245, 220))


def test_the_parts_that_dwpose_draws_are_shares_of_the_size(
    pose: WholeBodyPose, tmp_path: Path
) -> None:
    points, scores = in_dwpose_order(pose)
    shares = points / SIZE_PX
    path = save(
        tmp_path / "a.npz",
        bodies=shares[:, :18],
        body_scores=scores[:, :18],
        faces=shares[:, 24:92],
        faces_scores=scores[:, 24:92],
        hands=shares[:, 92:].reshape(5, 2, 21, 2),
        hands_scores=scores[:, 92:].reshape(5, 2, 21),
    )
    assert_same(read(path), pose)
    path = save(tmp_path / "b.npz", bodies=shares[:, :18], body_scores=scores[:, :18])
    assert np.isnan(read(path).keypoints[:, LEFT_HAND]).all()


def test_points_that_were_not_found_are_nan_with_a_score_of_0(
    pose: WholeBodyPose, tmp_path: Path
) -> None:
    points, scores = pose.keypoints.copy(), pose.scores.copy()
    points[0, NOSE] = -1
    scores[1, RIGHT_WRIST] = 0
    found = read(save(tmp_path / "a.npz", keypoints=points, scores=scores))
    for frame, point in ((0, NOSE), (1, RIGHT_WRIST)):
        assert np.isnan(found.keypoints[frame, point]).all()
        assert found.scores[frame, point] == 0


def test_another_number_of_frames_is_refused(pose: WholeBodyPose, tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", keypoints=pose.keypoints, scores=pose.scores)
    with pytest.raises(MediaError, match="has keypoints of 5 frames, and the clip has 6"):
        read(path, n_frames=6)


def test_our_keypoints_for_another_size_are_refused(make_pose: MakePose, tmp_path: Path) -> None:
    save_pose(tmp_path / "a.npz", make_pose(5, size_px=(320, 240)))
    with pytest.raises(MediaError, match="for 320x240 px, and the clip has 640x480 px"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros(3)}, r"no keypoints that are known \(it has x\)"),
        ({"keypoints": np.zeros((5, 17, 2))}, r"\(5, 17, 2\); want \(T, 133, 2\)"),
        ({"keypoints": np.zeros(())}, "no numbers"),
        ({"keypoints": np.full((5, 133, 2), "a")}, "no numbers"),
        ({"keypoints": np.zeros((5, 133, 2)), "scores": np.zeros((5, 2))}, "scores are"),
        ({"bodies": np.zeros((5, 17, 2))}, r"bodies are \(5, 17, 2\); want \(5, 18, 2\)"),
        ({"bodies": np.zeros((5, 18, 2)), "hands": np.zeros((4, 42, 2))}, "hands are"),
    ],
)
def test_other_arrays_are_refused(
    arrays: dict[str, NDArray[Any]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(MediaError, match=said):
        read(save(tmp_path / "a.npz", **arrays))


def test_a_pickle_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", keypoints=np.array([{"bodies": 1}], dtype=object))
    with pytest.raises(MediaError, match="holds objects"):
        read(tmp_path / "a.npz")
    with pytest.raises(MediaError, match="no such keypoints file"):
        read(tmp_path / "b.npz")
