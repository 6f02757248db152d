"""A dataset of drawn people who move, with the poses that they move in."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from tests.baselines.test_warp import HEIGHT_PX, WIDTH_PX, draw, points_of_a_person, pose_of
from tests.datasets import clip_files, kept_row
from tpbench.dataset import Clip, Dataset, finalise
from tpbench.video import CLIP, VideoWriter
from tpbench.wholebody import LEFT_HAND, RIGHT_HAND, save_pose

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


def swaying(n_frames: int, *, phase: float) -> list[NDArray[np.float64]]:
    """Poses of somebody who sways and beats time with both hands."""
    poses = []
    for at in range(n_frames):
        points = points_of_a_person()
        beat = 10 * np.sin(at / 5 + phase)
        for hand, elbow in ((LEFT_HAND, 9), (RIGHT_HAND, 10)):
            points[hand, 1] += beat
            points[elbow, 1] += beat
        points[:, 0] += 8 * np.sin(at / 17 + phase)
        poses.append(points)
    return poses


def write_people(folder: Path, lengths: Mapping[str, int]) -> Dataset:
    """Write one clip of each person, 256x224 px at 25 frames a second."""
    rows = [
        _write(folder, name, swaying(n, phase=float(at)), tint=at)
        for at, (name, n) in enumerate(lengths.items())
    ]
    return finalise(folder, rows, name="People", config={}, models={}, measurements=(), run=None)


def _write(folder: Path, name: str, poses: list[NDArray[np.float64]], *, tint: int) -> Clip:
    clip, keypoints, drawing = clip_files(folder, name)
    with VideoWriter(
        clip, width_px=WIDTH_PX, height_px=HEIGHT_PX, fps=Fraction(25), encoding=CLIP
    ) as writer:
        for points in poses:
            writer.write(np.roll(draw(points), tint, axis=2))
    save_pose(keypoints, pose_of(poses))
    drawing.write_bytes(b"pose")
    return kept_row(folder, name, n_frames=len(poses))
