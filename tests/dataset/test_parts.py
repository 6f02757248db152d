"""A manifest in parts equals one in a single file, and is replaced part by part."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.dataset.rows import MEASUREMENTS, kept, rejected
from tpbench.dataset import (
    Clip,
    Dataset,
    finalise,
    manifest,
    parts,
    read_clips,
    split_dataset,
    write_manifest,
)
from tpbench.dataset.info import content_digest
from tpbench.dataset.manifest import MANIFEST_NAME, ManifestIndex, read_table
from tpbench.dataset.parts import PARTS_FOLDER, PARTS_INDEX, read_index
from tpbench.dataset.table_checks import table_problems
from tpbench.errors import DatasetError

PART_ROWS = 10


def source(name: str, n: int = 5) -> list[Clip]:
    """Return rows of one source, every third rejected."""
    return [
        (rejected if at % 3 == 2 else kept)(f"{name}_{at:08d}", source_id=name, identity=name)
        for at in range(n)
    ]


def sources(*names: str) -> list[Clip]:
    return [row for name in names for row in source(name)]


def files(where: Path) -> dict[str, int]:
    """Return the parts and their inodes: one that is written again has another."""
    return {path.name: path.stat().st_ino for path in (where / PARTS_FOLDER).iterdir()}


ROWS = sources(*(f"talk{number:02d}" for number in range(0, 40, 2)))


@pytest.fixture
def in_parts(tmp_path: Path) -> Path:
    assert write_manifest(tmp_path, ROWS, part_rows=PART_ROWS).name == PARTS_INDEX
    return tmp_path


def test_a_manifest_in_parts_reads_as_a_single_file(in_parts: Path, tmp_path_factory: Any) -> None:  # noqa: ANN401 - pytest's own
    single = tmp_path_factory.mktemp("single")
    assert write_manifest(single, reversed(ROWS)) == single / MANIFEST_NAME

    assert len(files(in_parts)) == 10
    assert not (in_parts / MANIFEST_NAME).exists()
    assert read_table(in_parts).equals(read_table(single))
    assert read_table(in_parts).schema.equals(read_table(single).schema, check_metadata=True)
    assert read_clips(in_parts, status="rejected") == read_clips(single, status="rejected")
    digests = {ManifestIndex(where).digest() for where in (in_parts, single)}
    assert digests == {content_digest(ROWS)}
    few = read_table(in_parts, columns=["clip_id", "m_unknown"], statuses={"rejected"})
    assert few.schema.names == ["clip_id"]
    assert few["clip_id"].to_pylist() == [row.clip_id for row in ROWS if row.status == "rejected"]


def test_a_source_that_is_added_changes_one_part(in_parts: Path) -> None:
    before = files(in_parts)
    rows = [*ROWS, *source("talk15")]

    write_manifest(in_parts, rows, part_rows=PART_ROWS)

    after = files(in_parts)
    assert len(after.items() - before.items()) == 1
    assert len(before.items() - after.items()) == 1
    assert {row.clip_id for row in read_clips(in_parts)} == {row.clip_id for row in rows}


def test_the_same_rows_again_write_nothing(in_parts: Path) -> None:
    before = files(in_parts)
    index = (in_parts / PARTS_INDEX).read_bytes()
    write_manifest(in_parts, reversed(ROWS), part_rows=PART_ROWS)
    assert files(in_parts) == before
    assert (in_parts / PARTS_INDEX).read_bytes() == index


def test_a_source_before_all_or_removed_or_changed_changes_its_part_only(in_parts: Path) -> None:
    for rows in (
        [*source("a"), *ROWS],
        [row for row in ROWS if row.source_id != "talk00"],
        [replace(row, url="https://x.org") if row is ROWS[7] else row for row in ROWS],
    ):
        write_manifest(in_parts, ROWS, part_rows=PART_ROWS)
        before = files(in_parts)
        write_manifest(in_parts, rows, part_rows=PART_ROWS)
        assert len(files(in_parts).items() - before.items()) <= 1
        assert read_clips(in_parts) == sorted(rows, key=lambda row: row.clip_id)


def test_a_part_that_has_grown_is_divided_between_sources(in_parts: Path) -> None:
    more = sources(*(f"talk03x{number:02d}" for number in range(9)))
    write_manifest(in_parts, [*ROWS, *more], part_rows=PART_ROWS)
    index = read_index(in_parts)
    assert index is not None
    assert max(part.rows for part in index.parts) < 2 * PART_ROWS
    assert all(part.first.endswith("_00000000") for part in index.parts)


@pytest.mark.parametrize("dies_at", ["part", "index", "old file"])
def test_a_writer_that_dies_leaves_the_old_rows_or_the_new_ones(
    dies_at: str, in_parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    rows = [*ROWS, *source("talk15"), *source("talk31")]
    with monkeypatch.context() as patched:
        if dies_at == "part":
            calls = []
            write = parts._write

            def second_dies(home: Path, piece: Any) -> Path:  # noqa: ANN401 - an Arrow table
                calls.append(1)
                if len(calls) == 2:
                    die()
                return write(home, piece)

            patched.setattr(parts, "_write", second_dies)
        else:
            name = "atomic_write_text" if dies_at == "index" else "_delete_others"
            patched.setattr(parts, name, die)
        with pytest.raises(KeyboardInterrupt):
            write_manifest(in_parts, rows, part_rows=PART_ROWS)

    want = rows if dies_at == "old file" else ROWS
    assert read_clips(in_parts) == sorted(want, key=lambda row: row.clip_id)
    write_manifest(in_parts, rows, part_rows=PART_ROWS)
    index = read_index(in_parts)
    assert index is not None
    assert {part.name for part in index.parts} == files(in_parts).keys()


def test_a_manifest_that_has_become_small_or_large_is_read_at_every_step(
    in_parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ROWS[:5]
    with monkeypatch.context() as patched:
        patched.setattr(manifest, "delete_parts", lambda _: None)  # dies before
        write_manifest(in_parts, few, part_rows=PART_ROWS)
    assert read_clips(in_parts) == ROWS  # the parts count while their index is there
    write_manifest(in_parts, few, part_rows=PART_ROWS)
    assert read_clips(in_parts) == few
    assert [path.name for path in in_parts.iterdir()] == [MANIFEST_NAME]
    write_manifest(in_parts, ROWS, part_rows=PART_ROWS)
    assert read_clips(in_parts) == ROWS


def test_foreign_files_among_the_parts_stay(in_parts: Path) -> None:
    (in_parts / PARTS_FOLDER / "mine.parquet").write_bytes(b"mine")
    write_manifest(in_parts, ROWS[:5])
    assert files(in_parts).keys() == {"mine.parquet"}


def test_a_part_that_is_gone_or_damaged_is_one_clear_line_and_written_anew(in_parts: Path) -> None:
    path = sorted((in_parts / PARTS_FOLDER).iterdir())[0]
    content = path.read_bytes()
    for spoil in (path.unlink, lambda: path.write_bytes(content[:100])):
        spoil()
        with pytest.raises(DatasetError, match=path.name) as caught:
            read_clips(in_parts)
        assert "\n" not in str(caught.value)
        write_manifest(in_parts, ROWS, part_rows=PART_ROWS)
        assert read_clips(in_parts) == ROWS


@pytest.mark.parametrize("text", ["{", '{"schema_version": 9}', '{"schema_version": 1}', "[]"])
def test_a_damaged_index_is_one_clear_line(text: str, in_parts: Path) -> None:
    (in_parts / PARTS_INDEX).write_text(text)
    with pytest.raises(DatasetError, match=PARTS_INDEX) as caught:
        read_clips(in_parts)
    assert "\n" not in str(caught.value)


def test_an_index_that_names_a_file_elsewhere_is_refused(in_parts: Path) -> None:
    raw = json.loads((in_parts / PARTS_INDEX).read_text())
    raw["parts"][0]["sha256"] = "../../etc"
    (in_parts / PARTS_INDEX).write_text(json.dumps(raw))
    with pytest.raises(DatasetError, match="sha256"):
        read_clips(in_parts)


def test_a_manifest_written_anew_while_it_is_read_is_read_again(
    in_parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = in_parts.with_name("old")
    shutil.copytree(in_parts, old)
    rows = [*ROWS, *source("talk15")]
    stale = read_index(in_parts)
    write_manifest(in_parts, rows, part_rows=PART_ROWS)
    seen = [stale]
    real = read_index
    monkeypatch.setattr(manifest, "read_index", lambda where: seen.pop() if seen else real(where))
    assert len(read_clips(in_parts)) == len(rows)


def test_a_dataset_in_parts_is_split_and_described_as_one_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = manifest.write_table.__kwdefaults__
    assert defaults is not None
    made: list[Dataset] = []
    for name, part_rows in (("single", 1000), ("parts", PART_ROWS)):
        monkeypatch.setitem(defaults, "part_rows", part_rows)
        (tmp_path / name).mkdir()
        finalise(
            tmp_path / name, ROWS, name="talks", config={}, models={}, measurements=MEASUREMENTS
        )
        split_dataset(tmp_path / name)
        made.append(Dataset.open(tmp_path / name))
    single, several = made
    assert several.info == single.info
    assert several.clips(None) == single.clips(None)
    assert several.identities == single.identities
    assert several.table(["clip_id"], statuses={"kept"}).equals(
        single.table(["clip_id"], statuses={"kept"})
    )
    for name in ("clips-test.parquet", "clips-train.parquet", "splits/test.csv"):
        assert (several.folder / name).read_bytes() == (single.folder / name).read_bytes()
    cards = [(dataset.folder / "README.md").read_text() for dataset in made]
    assert cards[1] == cards[0].replace("path: manifest.parquet", "path: manifest/*.parquet")
    described = json.loads((several.folder / "croissant.json").read_text())
    assert described["distribution"][0]["@id"] == PARTS_INDEX
    assert described["recordSet"][0]["field"][0]["source"]["fileSet"] == {"@id": PARTS_FOLDER}
    problems = list(table_problems(several, several.clips(None)))
    assert problems == []

    part = sorted((several.folder / PARTS_FOLDER).iterdir())[0]
    table = pq.read_table(part)
    pq.write_table(table, part, compression="none")
    (problem,) = table_problems(several, several.clips(None))
    assert problem.where == f"{PARTS_FOLDER}/{part.name}"
