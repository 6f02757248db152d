from __future__ import annotations

import shutil
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.benchmark.conftest import FIRST_NUMBER
from tests.conftest import MediaMaker
from tpbench.benchmark.tasks import SELF, self_task, task_rule
from tpbench.dataset import Dataset, keypoints_path
from tpbench.errors import ConfigError, DatasetError, MediaError
from tpbench.files import sha256_of
from tpbench.wholebody import load_pose, save_pose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tpbench.wholebody import WholeBodyPose


def test_a_clip_is_animated_by_its_own_poses(talks: Path) -> None:
    dataset = Dataset.open(talks)
    clip = dataset.clip("b")

    task = self_task(talks, clip, seed=5)

    assert MediaMaker.frame_number(task.reference) == FIRST_NUMBER
    assert (task.n_frames, task.fps, task.seed) == (104, Fraction(25), 5)
    assert (task.width_px, task.height_px) == (48, 32)
    assert task.driving.keypoints[:, 0, 0].tolist() == list(range(104))
    assert task.reference_pose is not None
    assert np.array_equal(task.reference_pose.keypoints, task.driving.keypoints[:1])
    assert (task.driving_video, task.audio_path) == (dataset.clip_path(clip), None)


def test_the_task_wants_more_than_100_frames() -> None:
    assert SELF.min_frames == 101


def test_another_limit_is_another_task() -> None:
    rule = task_rule("self", min_frames=24)

    assert (rule.name, rule.min_frames) == ("self.min24", 24)
    assert task_rule("self", min_frames=101) == task_rule("self") == SELF
    assert SELF.name == "self"


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="no task 'slef'; did you mean 'self'"):
        task_rule("slef")


def test_a_limit_without_anything_to_make_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2, got 1"):
        task_rule("self", min_frames=1)


def test_a_file_that_the_manifest_does_not_describe_is_refused(talks: Path, tmp_path: Path) -> None:
    shutil.copytree(talks, tmp_path / "data")
    clip = Dataset.open(talks).clip("a")
    shutil.copy(keypoints_path(talks, "b"), keypoints_path(tmp_path / "data", "a"))

    with pytest.raises(DatasetError, match=r"a\.npz: not the file that the manifest describes"):
        self_task(tmp_path / "data", clip, seed=0)


def test_a_file_that_is_gone_is_named(talks: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"a\.mp4: can't be read: No such file"):
        self_task(tmp_path, Dataset.open(talks).clip("a"), seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pose: pose.slice_frames(0, 90), "90 poses for a clip of 101 frames"),
        (lambda pose: replace(pose, width_px=64), "poses of 64x32 px for a clip of 48x32 px"),
    ],
)
def test_poses_that_do_not_fit_the_clip_are_refused(
    change: Callable[[WholeBodyPose], WholeBodyPose], message: str, talks: Path, tmp_path: Path
) -> None:
    shutil.copytree(talks, tmp_path / "data")
    path = keypoints_path(tmp_path / "data", "a")
    save_pose(path, change(load_pose(path)))
    clip = replace(Dataset.open(talks).clip("a"), keypoints_sha256=sha256_of(path))

    with pytest.raises(MediaError, match=message):
        self_task(tmp_path / "data", clip, seed=0)
