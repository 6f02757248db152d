"""Rows and small dataset folders without any video in them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.datasets import clip_files
from tpbench.dataset import Clip, Dataset, Measurement, RunStats, finalise
from tpbench.files import sha256_of
from tpbench.wholebody import WholeBodyPose, save_pose

MEASUREMENTS = (
    Measurement(
        name="face_height_px",
        title="Face height",
        unit="px",
        direction="at_least",
        code="face.too_small",
        meaning="Median height of the face in the source.",
    ),
    Measurement(
        name="face_yaw_deg",
        title="Head turn",
        unit="deg",
        direction="at_most",
        code="face.turned",
    ),
)


def kept(clip_id: str = "talk_000000", **fields: object) -> Clip:
    values: dict[str, Any] = {
        "clip_id": clip_id,
        "status": "kept",
        "source_id": "talk",
        "source_path": "videos/talk.mp4",
        "start_frame": 10,
        "end_frame": 130,
        "start_s": 0.4,
        "end_s": 5.2,
        "start_pts": 5120,
        "time_base": "1/12800",
        "fps_num": 25,
        "fps_den": 1,
        "n_frames": 120,
        "source_width_px": 1280,
        "source_height_px": 720,
        "crop_x0": 0.25,
        "crop_y0": 0.0,
        "crop_x1": 0.75,
        "crop_y1": 1.0,
        "out_size_px": 512,
        "shot_id": 0,
        "track_id": 0,
        "identity": "talk",
        "pose_source": "mediapipe",
        "tool_version": "0.1.0",
        "clip_sha256": hashlib.sha256(b"clip").hexdigest(),
        "keypoints_sha256": hashlib.sha256(b"keypoints").hexdigest(),
        "pose_sha256": hashlib.sha256(b"pose").hexdigest(),
        "measurements": {"face_height_px": 140.0, "face_yaw_deg": 12.0},
        "thresholds": {"face_height_px": 80.0, "face_yaw_deg": 30.0},
    }
    return Clip(**(values | fields))


def rejected(clip_id: str = "talk_000001", **fields: object) -> Clip:
    values: dict[str, Any] = {
        "status": "rejected",
        "reject_codes": ("face.too_small",),
        "measurements": {"face_height_px": 31.5},
        "thresholds": {"face_height_px": 80.0},
        "clip_sha256": None,
        "keypoints_sha256": None,
        "pose_sha256": None,
    }
    return kept(clip_id, **(values | fields))


FAILED = Clip(
    clip_id="broken",
    status="failed",
    source_id="broken",
    source_path="videos/broken.mp4",
    error="videos/broken.mp4: the file is empty",
)


def _save_files(folder: Path, clip: Clip) -> Clip:
    """Write three files for a kept row and return the row with their hashes."""
    paths = clip_files(folder, clip.clip_id)
    for path in paths:
        path.write_bytes(path.parent.parent.name.encode() + clip.clip_id.encode())
    pose = WholeBodyPose(
        keypoints=np.full((3, 133, 2), 7, dtype=np.float32),
        scores=np.ones((3, 133), dtype=np.float32),
        width_px=512,
        height_px=512,
        source="mediapipe",
        model_digest="0" * 64,
    )
    save_pose(paths[1], pose)
    clip_sha256, keypoints_sha256, pose_sha256 = map(sha256_of, paths)
    return replace(
        clip, clip_sha256=clip_sha256, keypoints_sha256=keypoints_sha256, pose_sha256=pose_sha256
    )


def make_dataset(folder: Path, rows: Sequence[Clip]) -> Dataset:
    """Finish a dataset of these rows, with small files for the kept ones."""
    folder.mkdir(exist_ok=True)
    return finalise(
        folder,
        [_save_files(folder, row) if row.status == "kept" else row for row in rows],
        name="Small talks",
        config={"preset": "talkingpose", "out_size_px": 512},
        models={"skeleton": "a" * 64, "face": "b" * 64},
        measurements=MEASUREMENTS,
        run=RunStats(
            workers=2,
            wall_s=10.0,
            core_s=20.0,
            source_frames=450,
            source_s=18.0,
            stage_s={"decode": 5.0, "skeleton": 15.0},
        ),
    )
