"""Rows about removed clips leave every table of a dataset."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.dataset.rows import kept
from tpbench.dataset.removal import Removals, Tombstone
from tpbench.dataset.side_tables import Leaving, drop_rows
from tpbench.errors import DatasetError

DAY = "2026-11-29"
LEAVING = Leaving(
    removals=Removals().joined(
        [
            Tombstone(kind="source", id="talk-0123abcd", date=DAY),
            Tombstone(kind="identity", id="=ann", date=DAY),
        ]
    ),
    gone=[kept("odd", identity="carl"), kept("gone", identity="bob")],
    kept=[kept("stays", identity="bob", clip_sha256="1" * 64)],
)


def test_rows_of_csv_tables_go_by_clip_source_and_identity(tmp_path: Path) -> None:
    (tmp_path / "splits").mkdir()
    list_of_clips = tmp_path / "splits" / "test-v1.csv"
    list_of_clips.write_text(
        "clip_id,identity\nb_1,bob\nodd,bob\ntalk-0123abcd_00000000_00001000,x\nc,'=ann\n"
    )
    people = tmp_path / "identities.csv"
    people.write_text(
        'source_id,identity,why,own_identity\ntalk-0123abcd,x,"uploader: A, B",y\n'
        'other-9876abcd,x,"uploader: A, B",y\n'
    )
    assert drop_rows(tmp_path, LEAVING) == [people, list_of_clips]
    assert list_of_clips.read_text() == "clip_id,identity\nb_1,bob\n"
    assert people.read_text() == (
        'source_id,identity,why,own_identity\nother-9876abcd,x,"uploader: A, B",y\n'
    )
    assert drop_rows(tmp_path, LEAVING) == []


def test_people_without_clips_lose_their_side_and_others_keep_it(tmp_path: Path) -> None:
    (tmp_path / "splits").mkdir()
    placed = tmp_path / "splits" / "placed.csv"
    placed.write_text("identity,side\nbob,test\ncarl,train\ndora,train\ntalk-0123abcd,test\n")
    drop_rows(tmp_path, LEAVING)
    assert placed.read_text() == "identity,side\nbob,test\ndora,train\n"


@pytest.mark.parametrize(
    "text", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
def test_rows_of_parquet_tables_go_by_the_hash_of_a_clip(tmp_path: Path, text: pa.DataType) -> None:
    schema = pa.schema([("clip_sha256", text), ("n", pa.int32())], metadata={"v": "1"})
    hashes = pa.array(["1" * 64, "2" * 64]).cast(text)
    table = pa.table({"clip_sha256": hashes, "n": [1, 2]}, schema=schema)
    path = tmp_path / "fingerprints.parquet"
    pq.write_table(table, path)
    pq.write_table(table, tmp_path / "clips-train.parquet")
    assert drop_rows(tmp_path, LEAVING) == [path]
    left = pq.read_table(path)
    assert left.to_pylist() == [{"clip_sha256": "1" * 64, "n": 1}]
    assert left.schema.equals(schema, check_metadata=True)
    assert len(pq.read_table(tmp_path / "clips-train.parquet")) == 2, "written with the manifest"


def test_other_tables_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("what\nodd\n")
    (tmp_path / "empty.csv").touch()
    assert drop_rows(tmp_path, LEAVING) == []


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\x00")
    with pytest.raises(DatasetError, match=f"{name}: not readable"):
        drop_rows(tmp_path, LEAVING)
