from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.metrics.scoring import stand_ins
from tests.metrics.scoring.clips import pairing_of, scored, some_clips, write_set
from tpbench.files import sha256_of
from tpbench.metrics.networks import WindowStream
from tpbench.metrics.scoring.features import (
    CacheEntry,
    FeatureWriter,
    clear,
    content_key,
    entries,
    n_windows,
    read_features,
    real_cache_dir,
    trim,
)

N, DIM = 6, 5


def vectors(n: int = N) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(n, DIM)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "features.npy"


def write(path: Path, *, pieces: int = 3) -> Path:
    with FeatureWriter(path, n=N, dim=DIM) as writer:
        for piece in np.array_split(vectors(), pieces):
            writer.append(piece)
        writer.commit()
    return path


def test_what_was_written_is_read(path: Path) -> None:
    found = read_features(write(path), n=N, dim=DIM)
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vectors())
    np.testing.assert_array_equal(np.load(path), vectors())
    assert list(path.parent.iterdir()) == [path]


def test_pieces_make_no_difference(path: Path) -> None:
    whole = write(path, pieces=1).read_bytes()
    assert write(path, pieces=6).read_bytes() == whole


def test_no_vectors_make_a_file_too(path: Path) -> None:
    with FeatureWriter(path, n=0, dim=DIM) as writer:
        writer.append(np.empty((0, DIM), np.float32))
        writer.commit()
    found = read_features(path, n=0, dim=DIM)
    assert found is not None
    assert found.shape == (0, DIM)


def test_a_file_of_another_size_is_none(path: Path) -> None:
    write(path)
    assert read_features(path, n=N + 1, dim=DIM) is None
    assert read_features(path, n=N, dim=DIM - 1) is None
    assert read_features(path.with_name("absent.npy"), n=N, dim=DIM) is None


def test_a_damaged_file_is_none_whichever_byte_it_is(path: Path) -> None:
    good = write(path).read_bytes()
    for at in range(len(good)):
        damaged = bytearray(good)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        assert read_features(path, n=N, dim=DIM) is None, at
    for length in range(0, len(good), 5):
        path.write_bytes(good[:length])
        assert read_features(path, n=N, dim=DIM) is None, length
    path.write_bytes(good + b"\0")
    assert read_features(path, n=N, dim=DIM) is None


def test_features_without_a_checksum_are_none(path: Path) -> None:
    path.parent.mkdir()
    np.save(path, vectors())
    assert read_features(path, n=N, dim=DIM) is None


@pytest.mark.parametrize("n", [N - 1, N + 1])
def test_another_number_than_announced_is_never_committed(n: int, path: Path) -> None:
    with FeatureWriter(path, n=N, dim=DIM) as writer:
        writer.append(vectors(n))
        with pytest.raises(ValueError, match=f"{n} vectors came, not {N}"):
            writer.commit()
    assert list(path.parent.iterdir()) == []


def test_vectors_of_another_length_are_refused(path: Path) -> None:
    complaint = r"want \(k, 6\) before the end, got \(6, 5\)"
    with (
        FeatureWriter(path, n=N, dim=DIM + 1) as writer,
        pytest.raises(ValueError, match=complaint),
    ):
        writer.append(vectors())


def test_what_is_not_committed_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    before = write(path).read_bytes()
    with FeatureWriter(path, n=N, dim=DIM) as writer:
        writer.append(vectors(2))
        assert len(list(path.parent.iterdir())) == 2
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("stride", [1, 5, 16])
@pytest.mark.parametrize("n_frames", [0, 15, 16, 17, 31, 32, 33, 64])
def test_windows_are_counted_as_the_stream_makes_them(n_frames: int, stride: int) -> None:
    stream = WindowStream(stride=stride)
    made = [stream.push(np.zeros((2, 2, 3), np.uint8)) for _ in range(n_frames)]
    assert n_windows(n_frames, stride=stride) == sum(window is not None for window in made)


DAY_S = 24 * 3600


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
