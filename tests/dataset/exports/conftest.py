"""A dataset of tiny real clips on both sides of a split, for exports."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import MediaMaker
from tests.datasets import clip_files, kept_row
from tpbench.dataset import Clip, Dataset, finalise, split_dataset
from tpbench.video import CLIP, VideoWriter
from tpbench.wholebody import FEET, RIGHT_HAND, WholeBodyPose, save_pose

SIDE_PX = 64
LENGTHS = {"ann": 3, "bob": 4, "cid": 5, "dan": 6}


def write_clip(folder: Path, name: str, n_frames: int) -> Clip:
    """Write a clip whose pictures carry their number, as its poses do in x of the nose."""
    clip, keypoints, drawing = clip_files(folder, name)
    for path in (clip, drawing):
        with VideoWriter(
            path, width_px=SIDE_PX, height_px=SIDE_PX, fps=Fraction(25), encoding=CLIP
        ) as writer:
            for number in range(n_frames):
                writer.write(MediaMaker.image(number, width_px=SIDE_PX, height_px=SIDE_PX))
    points = np.full((n_frames, 133, 2), 10.5, np.float32)
    points[:, 0, 0] = np.arange(n_frames)
    points[:, FEET] = np.nan
    points[:, 50] = (30.256, 40)
    points[:, 51] = (-3, 12)  # outside
    scores = np.where(np.isfinite(points).all(axis=2), 1, 0).astype(np.float32)
    scores[:, RIGHT_HAND] = 0.1
    scores[1] = 0  # nobody is found
    save_pose(
        keypoints,
        WholeBodyPose(
            keypoints=points,
            scores=scores,
            width_px=SIDE_PX,
            height_px=SIDE_PX,
            source="mediapipe",
            model_digest="0" * 64,
        ),
    )
    return kept_row(folder, name, n_frames=n_frames, identity=f"=person {name}")


@pytest.fixture(scope="session")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Four clips of four people on two sides; no test may change it."""
    folder = tmp_path_factory.mktemp("exports") / "talks"
    rows = [write_clip(folder, name, n_frames) for name, n_frames in LENGTHS.items()]
    finalise(folder, rows, name="Small *talks*", config={}, models={}, measurements=())
    split_dataset(folder, test_share=0.5, seed=0)
    return Dataset.open(folder)


def by_side(talks: Dataset) -> dict[str, list[str]]:
    """Return the ids of the clips of each split."""
    sides: dict[str, list[str]] = {"train": [], "test": []}
    for clip in talks.clips():
        sides[clip.split or "whole"].append(clip.clip_id)
    return sides
