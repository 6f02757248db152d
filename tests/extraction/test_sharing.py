from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import MediaMaker
from tpbench.errors import DatasetError
from tpbench.extraction import durations, sharing
from tpbench.extraction.durations import durations_ms, hash64
from tpbench.extraction.sharing import divide, extended, part_of
from tpbench.extraction.sources import Source, find_sources
from tpbench.work import worker
from tpbench.work.locks import locked
from tpbench.work.records import Shard

LENGTHS_MS = st.lists(st.integers(0, 10_000_000), max_size=60)
NOTHING = np.zeros(0, np.uint64), np.zeros(0, np.int64)


def hashes(count: int, *, start: int = 0) -> np.ndarray:
    return np.array([hash64(f"{number}.mp4") for number in range(start, start + count)], np.uint64)


def sources(lengths_ms: Sequence[int], *, start: int = 0) -> list[Source]:
    """Sources without files: their durations are guessed, at 250 bytes/ms."""
    return [
        Source(
            path=Path(f"/nowhere/{number}.mp4"),
            shown_path=f"{number}.mp4",
            size_bytes=250 * length_ms,
            mtime_ns=0,
        )
        for number, length_ms in enumerate(lengths_ms, start=start)
    ]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / ".records"
    path.mkdir()
    return path


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """No worker is started; returns how many headers were asked for, by call."""
    asked: list[int] = []

    def nothing(_: object, missing: Sequence[int], *__: object) -> list[tuple[int, int]]:
        asked.append(len(missing))
        return [(at, 0) for at in missing]

    monkeypatch.setattr(durations, "_stated", nothing)
    return asked


def loads_ms(parts: np.ndarray, lengths_ms: np.ndarray, count: int) -> np.ndarray:
    costs = np.where(lengths_ms > 0, lengths_ms + sharing._PER_SOURCE_MS, 0)
    return np.bincount(parts, weights=costs, minlength=count)


@given(LENGTHS_MS, st.integers(1, 9))
def test_parts_differ_by_no_more_than_one_video(lengths: list[int], count: int) -> None:
    lengths_ms = np.array(lengths, np.int64)
    known, parts = extended(*NOTHING, hashes(len(lengths)), lengths_ms, count)
    parts = parts[np.searchsorted(known, hashes(len(lengths)))]
    loads = loads_ms(parts, lengths_ms, count)
    assert loads.max() - loads.min() <= max(lengths, default=0) + sharing._PER_SOURCE_MS
    assert ((parts >= 0) & (parts < count)).all()


@given(LENGTHS_MS, LENGTHS_MS, st.integers(1, 9), st.randoms())
def test_new_videos_move_no_known_one_and_order_does_not_matter(
    first: list[int], then: list[int], count: int, random: object
) -> None:
    lengths_ms = np.array(first + then, np.int64)
    shown = hashes(len(lengths_ms))
    known, parts = extended(*NOTHING, shown[: len(first)], lengths_ms[: len(first)], count)
    before = dict(zip(known.tolist(), parts.tolist(), strict=True))
    shuffled = list(range(len(shown)))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    ends = []
    for order in (slice(None), shuffled):
        more, where = extended(known, parts, shown[order], lengths_ms[order], count)
        ends.append(dict(zip(more.tolist(), where.tolist(), strict=True)))
    assert ends[0] == ends[1]
    assert {mark: ends[0][mark] for mark in before} == before
    assert set(ends[0]) == set(shown.tolist())


@given(st.lists(st.integers(1, 10_000_000), min_size=30, max_size=60), st.integers(2, 5))
def test_what_is_new_goes_where_least_is_left(lengths: list[int], count: int) -> None:
    """Also if one shard has finished all of its part, and the others nothing."""
    lengths_ms = np.array(lengths, np.int64)
    shown = hashes(len(lengths))
    known, parts = extended(*NOTHING, shown, lengths_ms, count)
    place = np.searchsorted(known, shown)
    left_ms = np.where(parts[place] == 0, 0, lengths_ms)
    shortest = loads_ms(parts[place], left_ms, count)[1:].min()
    new = hashes(1, start=1000)
    more, where = extended(
        known, parts, np.append(shown, new), np.append(left_ms, int(shortest) // 2), count
    )
    assert where[np.searchsorted(more, new)] == [0]


@settings(deadline=None, max_examples=25)
@given(first=LENGTHS_MS, then=LENGTHS_MS, order=st.permutations([1, 2, 3]))
def test_each_video_is_in_one_shard_whatever_starts_when(
    first: list[int], then: list[int], order: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Videos come and are finished between the starts; a shard that starts again keeps its part."""
    home = tmp_path_factory.mktemp("home")
    everything = sources(first + then)
    done: set[str] = set()
    parts = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durations, "_stated", lambda _, missing, *__: [(at, 0) for at in missing])
        for step, number in enumerate(order):
            seen = everything[: len(first)] if step == 0 else everything
            left = {source.key for source in seen} - done
            shard = Shard(number=number, count=3)
            parts[number] = part_of(home, seen, shard, left=left, workers=1)
            done |= set(sorted(parts[number])[::2])
        left = {source.key for source in everything} - done
        for number, part in parts.items():
            shard = Shard(number=number, count=3)
            again = part_of(home, everything, shard, left=left, workers=1)
            assert part <= again
            parts[number] = again
    keys = sorted(key for part in parts.values() for key in part)
    assert keys == sorted(source.key for source in everything)


def test_headers_are_read_once_and_again_where_a_file_changed(
    home: Path, unread: list[int]
) -> None:
    talks = sources([5, 6, 7])
    left = {source.key for source in talks}
    for _ in range(2):
        divide(home, talks, left=left, count=2, workers=1)
    divide(home, talks, left=left, count=3, workers=1)
    assert unread == [3]
    talks = sources([5, 6, 70, 8])
    divide(home, talks, left={source.key for source in talks}, count=3, workers=1)
    assert unread == [3, 2]


def test_a_preview_divides_as_the_run_will_and_writes_nothing(
    home: Path, unread: list[int]
) -> None:
    talks = sources(range(3_600_000, 3_600_020))
    left = {source.key for source in talks[:10]}
    before = divide(home, talks, left=left, count=4, workers=1, keep=False)
    assert list(home.iterdir()) == []
    after = divide(home, talks, left=left, count=4, workers=1)
    assert (before.parts == after.parts).all()
    assert before.left_s == pytest.approx([3 * 3600, 3 * 3600, 2 * 3600, 2 * 3600], abs=0.1)
    assert unread == [10, 10]


def test_a_damaged_division_is_told_and_a_damaged_cache_made_anew(
    home: Path, unread: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    talks = sources([5, 6, 7])
    left = {source.key for source in talks}
    divide(home, talks, left=left, count=2, workers=1)
    (home / "durations.json").write_text("{}")
    divide(home, talks, left=left, count=3, workers=1)
    assert "it is made anew" in caplog.text
    (home / "shares-of-2.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"shares-of-2\.json.*stop all shards, delete it"):
        divide(home, talks, left=left, count=2, workers=1)
    assert unread == [3, 3]


def test_a_shard_waits_while_another_divides(
    home: Path, unread: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    import threading

    talks = sources([5])
    with locked(home / ".shares.lock"):
        thread = threading.Thread(
            target=divide,
            args=(home, talks),
            kwargs={"left": {talks[0].key}, "count": 1, "workers": 1},
        )
        thread.start()
        while "another shard is dividing" not in caplog.text:
            thread.join(0.01)
    thread.join()
    assert (home / "shares-of-1.json").exists()


def test_durations_are_those_of_headers_and_guessed_by_size_elsewhere(
    tmp_path: Path, home: Path
) -> None:
    """Also beside a file whose header ends the process that reads it."""
    talks = tmp_path / "talks"
    talks.mkdir()
    make = MediaMaker(talks)
    make.cfr("a.mp4", n=50, fps=25, size=(64, 48))
    make.cfr("b.mp4", n=75, fps=25, size=(64, 48))
    (talks / "c.mp4").write_bytes(bytes(2 * (talks / "b.mp4").stat().st_size))
    (talks / "deadly.mp4").write_bytes((talks / "a.mp4").read_bytes())
    found = find_sources([talks], excluded=home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "_BOOTSTRAP", worker._BOOTSTRAP.replace("from tp", _DEADLY, 1))
        read_ms = durations_ms(home, found, workers=1, keep=True)
    assert read_ms[:2].tolist() == [2000, 3000]
    sizes = [source.size_bytes for source in found]
    per_ms = sum(sizes[:2]) / 5000
    assert read_ms[2:].tolist() == [int(size / per_ms) for size in sizes[2:]]
    assert durations_ms(home, found, workers=1, keep=True).tolist() == read_ms.tolist()


_DEADLY = (
    "import os, signal; import tpbench.video.stated as stated; whole = stated.stated_duration_s; "
    "stated.stated_duration_s = lambda path: os.kill(os.getpid(), signal.SIGKILL) "
    "if path.stem == 'deadly' else whole(path); from tp"
)
"""Runs in a worker before anything of tpbench."""
