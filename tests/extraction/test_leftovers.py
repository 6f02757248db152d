from __future__ import annotations

from pathlib import Path

import pytest

from tpbench.dataset import Clip, clip_path, keypoints_path, pose_path
from tpbench.dataset.manifest import manifest_table
from tpbench.extraction.leftovers import prune, sweep
from tpbench.files import atomic_write

KEPT = "talk-01234567_00000000_00004000"
GONE = "talk-01234567_00004000_123456789"


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    return path


def row(clip_id: str) -> Clip:
    return Clip(
        clip_id=clip_id,
        status="kept",
        source_id="talk-01234567",
        source_path="talk.mp4",
        identity="talk-01234567",
        n_frames=100,
        fps_num=25,
        fps_den=1,
        clip_sha256="1",
        keypoints_sha256="2",
        pose_sha256="3",
    )


@pytest.mark.parametrize("name", ["manifest.parquet", "dataset.json", "splits/train.csv"])
def test_what_was_being_written_is_swept(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    with atomic_write(tmp_path / name) as temporary:
        temporary.touch()
        sweep(tmp_path)
        assert not temporary.exists()
        temporary.touch()  # so that the block ends well


def test_work_that_was_given_up_is_swept(tmp_path: Path) -> None:
    make(tmp_path / ".work" / "talk-01234567" / "clips" / f".{KEPT}.mp4.ab12cd34.part")
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_or_missing_folder_needs_no_sweep(tmp_path: Path) -> None:
    sweep(tmp_path)
    sweep(tmp_path / "none")
    prune(tmp_path, manifest_table([]))


@pytest.mark.parametrize("path_of", [clip_path, keypoints_path, pose_path])
def test_files_of_no_kept_clip_are_pruned(tmp_path: Path, path_of: type[Path]) -> None:
    kept, gone = make(path_of(tmp_path, KEPT)), make(path_of(tmp_path, GONE))
    prune(tmp_path, manifest_table([row(KEPT)]))
    assert kept.exists()
    assert not gone.exists()


def test_strangers_files_stay(tmp_path: Path) -> None:
    foreign = [
        make(tmp_path / name)
        for name in (
            ".notes.tmp",
            ".manifest.parquet.swp",
            "manifest.parquet.1.tmp",
            "clips/thumbnail.mp4",
            f"clips/{GONE}.txt",
            f"clips/{GONE}.mp4/inside",
            "poses/.DS_Store",
            "splits/val.csv",
        )
    ]

    sweep(tmp_path)
    prune(tmp_path, manifest_table([]))

    assert [path for path in foreign if not path.exists()] == []


def test_thumbnails_of_sources_that_are_gone_are_deleted(tmp_path: Path) -> None:
    home = tmp_path / ".thumbnails"
    for name in ("talk-01234567.json", "gone-01234567.json", "mine.txt"):
        make(home / name)
    make(home / ".talk-01234567.json.0123abcd.tmp")
    prune(tmp_path, manifest_table([row(KEPT)]))
    assert {path.name for path in home.iterdir()} == {"talk-01234567.json", "mine.txt"}
