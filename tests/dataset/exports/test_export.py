"""What all exports share: free folders, resume, space, the same bytes again."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest

from tests.dataset.exports.conftest import LENGTHS, by_side
from tests.dataset.rows import make_dataset, rejected
from tpbench.dataset import Clip, Dataset, clip_path
from tpbench.dataset.exports import ExportKind, export, hugging_face, webdataset
from tpbench.errors import ConfigError, DatasetError, TPBenchError
from tpbench.files import sha256_of
from tpbench.work import Progress

KINDS: tuple[ExportKind, ...] = tuple(kind for kind in get_args(ExportKind) if kind != "pack")
"""Packs need clips whose sources are known: tests/dataset/test_pack.py."""
each_kind = pytest.mark.parametrize("kind", KINDS)


def content(folder: Path) -> dict[str, str]:
    """File -> sha256 of all files, hidden ones included."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@each_kind
def test_the_same_dataset_gives_the_same_bytes_and_nothing_else(
    kind: ExportKind, talks: Dataset, tmp_path: Path
) -> None:
    first = export(talks.folder, tmp_path / "a", to=kind)
    export(talks.folder, tmp_path / "b", to=kind)
    found = content(tmp_path / "a")
    assert found == content(tmp_path / "b")
    assert not [name for name in found if name.startswith(".")]
    assert first.n_files == len(found)
    assert first.n_bytes == sum((tmp_path / "a" / name).stat().st_size for name in found)
    assert first.clips == {side: len(ids) for side, ids in by_side(talks).items()}


@each_kind
def test_a_folder_that_holds_something_is_refused(
    kind: ExportKind, talks: Dataset, tmp_path: Path
) -> None:
    export(talks.folder, tmp_path / "done", to=kind)
    before = content(tmp_path / "done")
    with pytest.raises(DatasetError, match="done: is there already; choose a new folder"):
        export(talks.folder, tmp_path / "done", to=kind)
    assert content(tmp_path / "done") == before
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="is there already"):
        export(talks.folder, tmp_path / "file", to=kind)
    with pytest.raises(DatasetError, match="lies in the dataset itself"):
        export(talks.folder, talks.folder / "export", to=kind)


def test_an_empty_folder_is_used(talks: Dataset, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(talks.folder, tmp_path / "out", to="coco")
    assert (tmp_path / "out" / "wholebody-test.json").is_file()


def count_shards(patch: pytest.MonkeyPatch, *, stop_at: int | None = None) -> list[str]:
    """Stop as by Ctrl-C in the middle of a shard; return the shards that are begun."""
    write = webdataset._write_shard
    begun: list[str] = []

    def counting(dataset: Dataset, clips: Sequence[Clip], path: Path) -> list[Path]:
        begun.append(path.name)
        if len(begun) == stop_at:
            path.with_name(f".{path.name}.01234567.tmp").write_bytes(b"half")
            raise KeyboardInterrupt
        return write(dataset, clips, path)

    patch.setattr(webdataset, "_write_shard", counting)
    return begun


def test_an_interrupted_export_continues_and_equals_one_without_a_break(
    talks: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(talks.folder, tmp_path / "whole", to="webdataset", per_shard=1)
    with monkeypatch.context() as patch:
        first = count_shards(patch, stop_at=3)
        with pytest.raises(KeyboardInterrupt):
            export(talks.folder, tmp_path / "broken", to="webdataset", per_shard=1)
    with monkeypatch.context() as patch:
        second = count_shards(patch)
        seen: list[Progress] = []
        export(
            talks.folder,
            tmp_path / "broken",
            to="webdataset",
            per_shard=1,
            on_progress=seen.append,
        )
    assert (len(first), len(second)) == (3, 2)
    assert first[2] == second[0]
    assert seen[0].before == 2
    assert seen[-1].done == seen[-1].total == len(LENGTHS)
    assert content(tmp_path / "broken") == content(tmp_path / "whole")


def test_copies_that_a_killed_run_left_are_used_if_they_are_right(
    talks: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(talks.folder, tmp_path / "whole", to="hf")
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(hugging_face, "sync", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            export(talks.folder, out, to="hf")
    left = sorted(out.glob("*/*/*"))
    assert len(left) > 2
    left[0].write_bytes(b"?")
    before = {path: path.stat().st_ino for path in left[1:]}
    export(talks.folder, out, to="hf")
    assert {path: path.stat().st_ino for path in left[1:]} == before
    assert content(out) == content(tmp_path / "whole")


def test_a_part_whose_file_was_cut_off_or_deleted_is_written_again(
    talks: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(talks.folder, tmp_path / "whole", to="webdataset", per_shard=1)
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(webdataset, "_write_index", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            export(talks.folder, out, to="webdataset", per_shard=1)
    first, second, *_ = sorted(out.glob("*.tar"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:100])
    export(talks.folder, out, to="webdataset", per_shard=1)
    assert content(out) == content(tmp_path / "whole")


def _interrupt(*_: object) -> list[Path]:
    raise KeyboardInterrupt


def test_an_unfinished_export_is_continued_by_nothing_else(
    talks: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(webdataset, "_write_index", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            export(talks.folder, out, to="webdataset")
    with pytest.raises(DatasetError, match="holds an unfinished export to webdataset"):
        export(talks.folder, out, to="hf")
    with pytest.raises(DatasetError, match=r"of other content \('Small \*talks\*', of another"):
        export(talks.folder, out, to="webdataset", per_shard=2)
    (out / ".unfinished" / "export.json").write_text("{}")
    with pytest.raises(DatasetError, match="is there already"):
        export(talks.folder, out, to="webdataset")


@each_kind
def test_too_little_space_is_said_before_anything_is_written(
    kind: ExportKind, talks: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10_000, 9_000, 1_000))
    with pytest.raises(TPBenchError, match=r"out: needs .*, and 1,000 bytes are free on that disk"):
        export(talks.folder, tmp_path / "out", to=kind)
    monkeypatch.undo()
    assert not [name for name in content(tmp_path / "out") if not name.startswith(".unfinished")]
    export(talks.folder, tmp_path / "out", to=kind)


@each_kind
def test_a_missing_file_is_named(kind: ExportKind, talks: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "talks"
    shutil.copytree(talks.folder, folder)
    for home in ("clips", "keypoints"):
        next((folder / home).glob("*/ann.*")).unlink()
    with pytest.raises(DatasetError, match=r"/ann\.(mp4|npz): No such file .*inspect --verify"):
        export(folder, tmp_path / "out", to=kind)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["webdataset", "hf", "coco"])
def test_a_file_that_the_manifest_does_not_describe_is_not_taken_over(
    kind: ExportKind, talks: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "talks"
    shutil.copytree(talks.folder, folder)
    for home in ("clips", "keypoints"):
        path = next((folder / home).glob("*/ann.*"))
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(DatasetError, match=r"/ann\.(mp4|npz): not the file .*sha256 differs"):
        export(folder, tmp_path / "out", to=kind)


def test_a_file_that_leads_out_of_the_dataset_is_not_taken_over(
    talks: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "talks"
    shutil.copytree(talks.folder, folder)
    path = clip_path(folder, "ann")
    shutil.move(path, tmp_path / "secret.mp4")
    path.symlink_to(tmp_path / "secret.mp4")
    with pytest.raises(DatasetError, match=r"ann\.mp4: leads out of clips"):
        export(folder, tmp_path / "out", to="hf")


def test_nothing_to_export_and_wrong_options_are_refused(talks: Dataset, tmp_path: Path) -> None:
    empty = make_dataset(tmp_path / "empty", [rejected()])
    out = tmp_path / "out"
    with pytest.raises(DatasetError, match="has no kept clips"):
        export(empty.folder, out, to="hf")
    with pytest.raises(ConfigError, match="unknown format 'webdatasets'; did you mean"):
        export(talks.folder, out, to="webdatasets")  # type: ignore[arg-type]  # a user's typo
    with pytest.raises(ConfigError, match="--per-shard is of --to webdataset"):
        export(talks.folder, out, to="hf", per_shard=5)
    with pytest.raises(ConfigError, match="must be at least 1"):
        export(talks.folder, out, to="webdataset", per_shard=0)
    with pytest.raises(ConfigError, match="--root is of --to talkingpose-json"):
        export(talks.folder, out, to="coco", root="/data")
    assert not out.exists()
