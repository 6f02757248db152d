"""Where the files of a clip go, and the row that belongs to them, for datasets made by hand."""

from __future__ import annotations

from pathlib import Path

from tpbench.dataset import Clip, clip_path, keypoints_path, pose_path
from tpbench.files import sha256_of


def clip_files(folder: Path, clip_id: str) -> tuple[Path, Path, Path]:
    """Return the paths of clip, keypoints and pose video; their folders are made."""
    paths = (
        clip_path(folder, clip_id),
        keypoints_path(folder, clip_id),
        pose_path(folder, clip_id),
    )
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    return paths


def as_before(folder: Path) -> None:
    """Move all files of a dataset to where earlier versions had them: not into sub-folders."""
    for home in ("clips", "keypoints", "poses", ".thumbnails", ".records/sources"):
        for path in sorted((folder / home).glob("[0-9a-f][0-9a-f]/*")):
            path.rename(folder / home / path.name)
        for subfolder in sorted((folder / home).glob("[0-9a-f][0-9a-f]")):
            subfolder.rmdir()


def kept_row(folder: Path, clip_id: str, *, n_frames: int, identity: str | None = None) -> Clip:
    """Return the row of a clip at 25 frames a second whose three files are written.

    Its source and, unless told otherwise, the person in it bear its name.
    """
    clip_sha256, keypoints_sha256, pose_sha256 = map(sha256_of, clip_files(folder, clip_id))
    return Clip(
        clip_id=clip_id,
        status="kept",
        source_id=clip_id,
        source_path=f"{clip_id}.mp4",
        fps_num=25,
        fps_den=1,
        n_frames=n_frames,
        identity=identity or clip_id,
        clip_sha256=clip_sha256,
        keypoints_sha256=keypoints_sha256,
        pose_sha256=pose_sha256,
    )
