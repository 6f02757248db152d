"""Clips of existing sets are found and named; tables and poses belong to them or are refused."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from tpbench.errors import ConfigError
from tpbench.extraction.existing_sets import find_clips, rate, with_poses, with_table


@pytest.fixture
def ted(tmp_path: Path) -> Path:
    """Videos in `train` and `test`, and files that are none."""
    root = tmp_path / "TED"
    for name in ("train/a.mp4", "train/b#1.MP4", "test/c.mp4", "test/.hidden.mp4", "readme.txt"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def write_frames(folder: Path, numbers: range = range(1, 4)) -> Path:
    folder.mkdir(parents=True)
    for number in numbers:
        cv2.imwrite(str(folder / f"{number:04d}.png"), np.zeros((8, 8, 3), np.uint8))
    return folder


def names(root: Path) -> list[str]:
    return [clip.name for clip in find_clips(root, excluded=root.parent / "out")]


def test_videos_are_named_by_their_path_and_split_by_their_folder(ted: Path) -> None:
    clips = find_clips(ted, excluded=ted.parent / "out")
    assert [clip.name for clip in clips] == ["test/c", "train/a", "train/b#1"]
    assert [clip.split for clip in clips] == ["test", "train", "train"]
    assert clips[0].source.shown_path == "TED/test/c.mp4"


def test_a_split_by_folders_needs_all_clips_in_them(ted: Path) -> None:
    (ted / "d.mp4").touch()
    clips = find_clips(ted, excluded=ted.parent / "out")
    assert {clip.split for clip in clips} == {None}


def test_folders_of_frames_are_clips(tmp_path: Path) -> None:
    write_frames(tmp_path / "set" / "one")
    write_frames(tmp_path / "set" / "deep" / "two.v1")
    assert names(tmp_path / "set") == ["deep/two.v1", "one"]


def test_in_tiktoks_layout_images_are_the_frames_and_masks_are_none(tmp_path: Path) -> None:
    for kind in ("images", "masks", "densepose"):
        write_frames(tmp_path / "TikTok" / "00001" / kind)
    (clip,) = find_clips(tmp_path / "TikTok", excluded=tmp_path / "out")
    assert clip.name == "00001"
    assert clip.source.path == tmp_path / "TikTok" / "00001" / "images"
    assert clip.source.shown_path == "TikTok/00001"


def test_a_changed_frame_changes_what_a_clip_is_known_by(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "set" / "one")
    (before,) = find_clips(tmp_path / "set", excluded=tmp_path / "out")
    os.utime(folder / "0002.png", ns=(1, before.source.mtime_ns + 1))
    (after,) = find_clips(tmp_path / "set", excluded=tmp_path / "out")
    assert before.source != after.source


def test_links_are_followed_once_and_the_dataset_is_left_out(ted: Path) -> None:
    (ted / "again").symlink_to(ted)
    (ted / "out" / "clips").mkdir(parents=True)
    (ted / "out" / "clips" / "x.mp4").touch()
    found = find_clips(ted, excluded=ted / "out")
    assert [clip.name for clip in found] == ["test/c", "train/a", "train/b#1"]


def test_an_empty_a_missing_and_the_dataset_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty: holds no videos and no folders of numbered"):
        find_clips(tmp_path / "empty", excluded=tmp_path / "out")
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        find_clips(tmp_path / "nowhere", excluded=tmp_path / "out")
    with pytest.raises(ConfigError, match="is the dataset itself"):
        find_clips(tmp_path / "empty", excluded=tmp_path)


def test_two_clips_of_one_name_are_refused(ted: Path) -> None:
    (ted / "train" / "a.mkv").touch()
    with pytest.raises(ConfigError, match=r"two clips are called 'train/a': a\.mkv and a\.mp4"):
        find_clips(ted, excluded=ted.parent / "out")


def test_poses_are_found_by_name_and_by_a_unique_last_part(ted: Path) -> None:
    poses = ted.parent / "poses"
    (poses / "train").mkdir(parents=True)
    (poses / "train" / "a.npz").write_bytes(b"12345")
    (poses / "c.npz").touch()
    plain = find_clips(ted, excluded=ted.parent / "out")
    clips = with_poses(plain, poses)
    assert [clip.poses for clip in clips] == [poses / "c.npz", poses / "train" / "a.npz", None]
    assert clips[1].source == plain[1].source
    assert clips[1].recorded.size_bytes == plain[1].recorded.size_bytes + 5


def test_poses_of_no_clip_are_refused(ted: Path) -> None:
    clips = find_clips(ted, excluded=ted.parent / "out")
    (ted.parent / "poses").mkdir()
    with pytest.raises(ConfigError, match=r"holds no file of these clips; want .* test/c\.npz"):
        with_poses(clips, ted.parent / "poses")
    with pytest.raises(ConfigError, match=r"--poses .*nowhere: no such folder"):
        with_poses(clips, ted.parent / "nowhere")


def told(ted: Path, text: str) -> dict[str, tuple[str | None, str | None, Fraction | None]]:
    table = ted.parent / "table.csv"
    table.write_text(text, encoding="utf-8")
    clips = with_table(find_clips(ted, excluded=ted.parent / "out"), table)
    return {clip.name: (clip.split, clip.identity, clip.fps) for clip in clips}


def test_a_table_says_split_identity_and_rate(ted: Path) -> None:
    assert told(
        ted,
        "Clip,identity,split,fps,notes\ntest/c.mp4,Cleo,train,30000/1001,x\na, '=Ann,test,,\n"
        "train/b#1,,train,12.5,\n\n",
    ) == {
        "test/c": ("train", "Cleo", Fraction(30000, 1001)),
        "train/a": ("test", "=Ann", None),
        "train/b#1": ("train", None, Fraction(25, 2)),
    }


def test_a_table_without_a_split_leaves_that_of_the_folders(ted: Path) -> None:
    assert told(ted, "clip_id,identity\na,Ann\n")["train/a"] == ("train", "Ann", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clip,split\nd,test\nx,test\n", r"names 2 clips that the folder does not hold: 'd', 'x'"),
        ("clip,split\ntrain/aa,test\n", r"does not hold: 'train/aa'; did you mean 'train/a'\?"),
        ("a,test\nc,train\n", r"want in the first line `clip` and at least one of split"),
        ("clip,notes\na,b\n", r"want in the first line"),
        ("", r"has no rows below its first line"),
        ("clip,split\n", r"has no rows below its first line"),
        ("clip,split\na,validation\n", r"line 2: split 'validation'; want train or test"),
        ("clip,fps\na,0\n", r"line 2: fps '0'; want frames a second"),
        ("clip,fps\na,fast\n", r"line 2: fps 'fast'"),
        ("clip,split\na,test\ntrain/a.mp4,test\n", r"line 3: clip 'train/a' has a row already"),
        ("clip,split\na,test,x\n", r"line 2: has 3 cells, and the header has 2"),
        ("clip,identity\na,Zoe\nc,Zoe\n", r"identity 'Zoe' is on both sides: 'test/c' in test"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(text: str, said: str, ted: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        told(ted, text)


def test_a_split_of_some_clips_only_is_refused(ted: Path) -> None:
    (ted / "d.mp4").touch()
    with pytest.raises(ConfigError, match="gives 3 clips no split, such as 'd'"):
        told(ted, "clip,split\na,test\n")


def test_a_table_that_is_no_text_or_missing_is_refused(ted: Path) -> None:
    clips = find_clips(ted, excluded=ted.parent / "out")
    with pytest.raises(ConfigError, match=r"nowhere.csv: can't be read as a table"):
        with_table(clips, ted.parent / "nowhere.csv")
    (ted.parent / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="can't be read"):
        with_table(clips, ted.parent / "bytes.csv")


@pytest.mark.parametrize(
    "text", ["", "0", "-5", "1e400000000", "1/0", "5000", "nan", "25 ", "1_000", "٢٥", "9" * 5000]
)
def test_what_is_no_rate_is_none(text: str) -> None:
    assert rate(text) is None
