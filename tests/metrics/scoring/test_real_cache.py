from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.metrics.scoring import stand_ins
from tests.metrics.scoring.clips import pairing_of, scored, some_clips, write_set
from tpbench.files import sha256_of
from tpbench.metrics.scoring.features import (
    CacheEntry,
    clear,
    content_key,
    entries,
    real_cache_dir,
    trim,
)

DAY_S = 24 * 3600

if TYPE_CHECKING:
    from pathlib import Path


def entry(
    folder: Path, *, content: str = "a" * 64, key: str = "0" * 64, days: float = 0, size: int = 10
) -> Path:
    name = content_key(content, key) if content else key
    path = folder / "inception" / "aa" / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    used_s = time.time() - days * DAY_S
    os.utime(path, (used_s, used_s))
    return path


def paths(found: list[CacheEntry]) -> list[Path]:
    return [each.path for each in found]


def test_a_cache_that_does_not_exist_holds_nothing(tmp_path: Path) -> None:
    assert entries(tmp_path / "none") == []
    assert clear(tmp_path / "none") == []


def test_entries_come_with_what_was_unused_for_longest_first(tmp_path: Path) -> None:
    new, old = entry(tmp_path, key="1" * 64), entry(tmp_path, key="2" * 64, days=3)

    found = entries(tmp_path)

    assert paths(found) == [old, new]
    assert {(each.kind, each.content, each.size_bytes) for each in found} == {
        ("inception", "a" * 32, 10)
    }


def test_trim_keeps_the_latest_that_fit(tmp_path: Path) -> None:
    made = [entry(tmp_path, key=f"{at}" * 64, days=at) for at in range(5)]

    removed = trim(tmp_path, max_bytes=25)

    assert paths(removed) == [made[4], made[3], made[2]]
    assert [path.exists() for path in made] == [True, True, False, False, False]


def test_trim_removes_what_was_not_used_for_so_long(tmp_path: Path) -> None:
    made = [entry(tmp_path, key=f"{at}" * 64, days=at) for at in range(3)]

    trim(tmp_path, max_age_s=1.5 * DAY_S)

    assert [path.exists() for path in made] == [True, True, False]


def test_clear_by_content_takes_that_clip_and_what_may_be_its(tmp_path: Path) -> None:
    mine, other = entry(tmp_path, content="b" * 64), entry(tmp_path, content="c" * 64)
    unnamed = entry(tmp_path, content="", key="d" * 64)

    clear(tmp_path, contents=["b" * 64])

    assert (mine.exists(), other.exists(), unnamed.exists()) == (False, True, False)


def test_clear_of_a_kind_leaves_the_others(tmp_path: Path) -> None:
    path = entry(tmp_path)

    assert clear(tmp_path, kinds=["skeletons"]) == []
    assert paths(clear(tmp_path, kinds=["inception"])) == [path]


def test_files_of_others_and_links_stay(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    precious = entry(tmp_path / "elsewhere")
    (folder / "i3d" / "aa").mkdir(parents=True)
    (folder / "i3d" / "aa" / "thesis.npy").write_bytes(b"1")
    (folder / "i3d" / "aa" / f"{'e' * 64}.npy").symlink_to(precious)
    (folder / "linked").symlink_to(tmp_path / "elsewhere" / "inception")

    clear(folder)
    trim(folder, max_bytes=0)

    assert precious.exists()
    assert (folder / "i3d" / "aa" / "thesis.npy").exists()


def test_half_written_files_go_once_they_are_abandoned(tmp_path: Path) -> None:
    path = entry(tmp_path)
    fresh = path.with_name(f".{path.name}.0a1b2c3d.tmp")
    stale = path.with_name(f".{path.name}.ffffffff.tmp")
    fresh.write_bytes(b"")
    stale.write_bytes(b"")
    os.utime(stale, (0, 0))

    trim(tmp_path, max_bytes=10**9)

    assert fresh.exists()
    assert not stale.exists()


@pytest.mark.usefixtures("networks")
def test_what_scoring_keeps_is_found_by_the_clip_and_made_again_when_cleared(
    tmp_path: Path,
) -> None:
    sides = some_clips((18, 20), size_px=(96, 80))
    for side, clips in zip(("real", "gen"), sides, strict=True):
        for images in clips.values():
            for image in images:
                stand_ins.paint_person(image, 40 if side == "real" else 42, 30)
        write_set(tmp_path / side, clips)
    pairing = pairing_of(tmp_path / "real", tmp_path / "gen")
    first = scored(pairing, tmp_path / "out", "akd_body", "fid")
    content = sha256_of(tmp_path / "real" / "clip0.avi")
    before = entries(real_cache_dir())

    removed = clear(real_cache_dir(), contents=[content])

    assert {each.kind for each in before} == {"skeletons", "inception"}
    assert sorted(each.kind for each in removed) == ["inception", "skeletons"]
    assert all(each.content == content[:32] for each in removed)
    again = scored(pairing, tmp_path / "again", "akd_body", "fid")
    assert again.metrics == first.metrics
    assert {each.path for each in entries(real_cache_dir())} == {each.path for each in before}
