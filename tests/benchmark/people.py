"""A dataset of drawn people who move, with the poses that they move in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.baselines.test_warp import draw, points_of_a_person, pose_of
from tpbench.dataset import Clip, Dataset, clip_path, finalise, keypoints_path, pose_path
from tpbench.files import sha256_of
from tpbench.video import CLIP, VideoWriter
from tpbench.wholebody import LEFT_HAND, RIGHT_HAND, WholeBodyPose, save_pose


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
    rows = []
    for at, (name, n) in enumerate(lengths.items()):
        poses = swaying(n, phase=float(at))
        images = (np.roll(draw(points), at, axis=2) for points in poses)
        rows.append(write_clip(folder, name, images, pose_of(poses)))
    return write_manifest(folder, rows)


def write_clip(
    folder: Path, name: str, images: Iterable[NDArray[np.uint8]], pose: WholeBodyPose
) -> Clip:
    """Write the files of a clip, of somebody of the same name, and return its row."""
    paths = [path_of(folder, name) for path_of in (clip_path, keypoints_path, pose_path)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(
        paths[0],
        width_px=pose.width_px,
        height_px=pose.height_px,
        fps=Fraction(25),
        encoding=CLIP,
    ) as writer:
        for image in images:
            writer.write(image)
    save_pose(paths[1], pose)
    paths[2].write_bytes(b"pose")
    clip_sha256, keypoints_sha256, pose_sha256 = map(sha256_of, paths)
    return Clip(
        clip_id=name,
        status="kept",
        source_id=name,
        source_path=f"{name}.mp4",
        fps_num=25,
        fps_den=1,
        n_frames=len(pose),
        identity=name,
        clip_sha256=clip_sha256,
        keypoints_sha256=keypoints_sha256,
        pose_sha256=pose_sha256,
    )


def write_manifest(folder: Path, rows: Sequence[Clip]) -> Dataset:
    """Write all that makes a dataset of clips."""
    return finalise(folder, rows, name="People", config={}, models={}, measurements=(), run=None)
