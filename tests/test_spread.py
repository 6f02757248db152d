from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from tpbench.spread import (
    entries,
    existing_path,
    make_place,
    new_path,
    relative_paths,
    remove,
    subfolders,
)


def put(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_subfolder_is_named_by_the_sha256_of_the_name_without_its_ending() -> None:
    digits = hashlib.sha256(b"talk").hexdigest()[:2]
    assert new_path(Path("clips"), "talk.mp4") == Path(f"clips/{digits}/talk.mp4")
    assert new_path(Path("keypoints"), "talk.npz") == Path(f"keypoints/{digits}/talk.npz")


def test_a_million_files_are_spread_evenly() -> None:
    names = (f"talk-{number:08x}_{number % 900:08d}_00004000.mp4" for number in range(51_200))
    counts = Counter(new_path(Path(), name).parent for name in names)
    assert len(counts) == 256
    # 200 each on average, with a deviation of 14.
    assert max(counts.values()) < 300


def test_a_file_is_found_where_earlier_versions_put_it(tmp_path: Path) -> None:
    assert existing_path(tmp_path, "a.mp4") == new_path(tmp_path, "a.mp4")
    old = put(tmp_path / "a.mp4")
    assert existing_path(tmp_path, "a.mp4") == old
    new = put(new_path(tmp_path, "a.mp4"))
    assert existing_path(tmp_path, "a.mp4") == new


def test_asking_for_a_path_creates_nothing_and_raises_nothing(tmp_path: Path) -> None:
    existing_path(tmp_path / "gone", "a.mp4")
    (tmp_path / "home").write_text("a file in the way")
    assert existing_path(tmp_path / "home", "a.mp4").parent.parent == tmp_path / "home"
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_place_is_made_but_not_what_is_above_it(tmp_path: Path) -> None:
    make_place(tmp_path / "clips", "a.mp4").touch()
    assert existing_path(tmp_path / "clips", "a.mp4").is_file()
    with pytest.raises(FileNotFoundError):
        make_place(tmp_path / "gone" / "clips", "a.mp4")


def test_everything_is_listed_but_the_subfolders(tmp_path: Path) -> None:
    files = [
        put(tmp_path / "a.mp4"),
        put(new_path(tmp_path, "b.mp4")),
        put(new_path(tmp_path, "b.mp4").with_name(".hidden")),
        put(tmp_path / "07"),
    ]
    put(tmp_path / "other" / "c.mp4")
    assert set(entries(tmp_path)) == {*files, tmp_path / "other"}
    assert subfolders(tmp_path) == sorted([tmp_path / "07", new_path(tmp_path, "b.mp4").parent])
    assert list(entries(tmp_path / "gone")) == subfolders(tmp_path / "gone") == []


def test_what_lies_behind_links_is_listed_only_if_asked_for(tmp_path: Path) -> None:
    put(tmp_path / "disk" / "a.mp4")
    home = tmp_path / "clips"
    home.mkdir()
    (home / "00").symlink_to(tmp_path / "disk")
    (tmp_path / "linked").symlink_to(home)
    assert list(entries(home)) == [home / "00" / "a.mp4"]
    assert list(entries(home, follow_links=False)) == []
    assert list(entries(tmp_path / "linked", follow_links=False)) == []


def test_paths_of_many_files_are_those_of_each(tmp_path: Path) -> None:
    names = [f"{name}.mp4" for name in ("old", "both", "new", "none")]
    for name in names[:2]:
        put(tmp_path / name)
    for name in names[1:3]:
        put(new_path(tmp_path, name))
    each = [existing_path(tmp_path, name).relative_to(tmp_path).as_posix() for name in names]
    assert relative_paths(tmp_path, names) == each
    assert each[0] == "old.mp4"
    assert relative_paths(tmp_path / "gone", names)[3] == each[3]


def test_a_file_is_removed_wherever_it_lies(tmp_path: Path) -> None:
    for path in (put(tmp_path / "a.mp4"), put(new_path(tmp_path, "a.mp4"))):
        assert path.is_file()
    remove(tmp_path, "a.mp4")
    remove(tmp_path, "a.mp4")
    assert list(entries(tmp_path)) == []
