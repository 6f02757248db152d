from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.dataset.rows import FAILED, kept, rejected
from tpbench.dataset import (
    read_clips,
    read_manifest,
    write_manifest,
)
from tpbench.dataset.manifest import COLUMNS, MANIFEST_NAME, read_table, rows_of
from tpbench.errors import DatasetError


def test_rows_come_back_equal_and_sorted(tmp_path: Path) -> None:
    rows = [kept("b"), FAILED, rejected("c", reject_codes=("x.y", "a.b")), kept("a", split="test")]
    write_manifest(tmp_path, rows)
    assert read_clips(tmp_path) == sorted(rows, key=lambda clip: clip.clip_id)
    assert read_clips(tmp_path, status="rejected") == [rows[2]]


def test_column_types_do_not_depend_on_the_rows(tmp_path: Path) -> None:
    one, other, none = tmp_path / "one", tmp_path / "other", tmp_path / "none"
    write_manifest(one, [kept(measurements={}, thresholds={})])
    write_manifest(other, [FAILED])
    write_manifest(none, [])
    schemas = [pq.read_schema(folder / MANIFEST_NAME) for folder in (one, other, none)]
    assert schemas[0].equals(schemas[1], check_metadata=True)
    assert schemas[0].equals(schemas[2], check_metadata=True)
    assert schemas[0].names == list(COLUMNS)


def test_order_of_rows_does_not_change_a_byte(tmp_path: Path) -> None:
    rows = [kept(f"c{index:03d}") for index in range(20)]
    there = write_manifest(tmp_path / "there", rows).read_bytes()
    back = write_manifest(tmp_path / "back", rows[::-1]).read_bytes()
    assert there == back


def test_measurement_that_was_not_made_is_null_and_not_nan(tmp_path: Path) -> None:
    rows = [
        kept("a", measurements={"yaw_deg": 3.0}, thresholds={}),
        kept("b", measurements={"yaw_deg": float("nan")}, thresholds={"yaw_deg": 30.0}),
        kept("c", measurements={}, thresholds={}),
    ]
    write_manifest(tmp_path, rows)
    table = pq.read_table(tmp_path / MANIFEST_NAME)
    assert table["m_yaw_deg"].to_pylist() == [3.0, None, None]
    assert table["t_yaw_deg"].to_pylist() == [None, 30.0, None]
    assert table.schema.names[len(COLUMNS) :] == ["m_yaw_deg", "t_yaw_deg"]


def test_many_rows_with_changing_measurements_are_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tpbench.dataset.manifest._ROWS_AT_ONCE", 3)
    rows = [
        kept(f"c{i:02d}", measurements={f"m{i % 4}": float(i)}, thresholds={}) for i in range(10)
    ]
    write_manifest(tmp_path, reversed(rows))
    assert read_clips(tmp_path) == rows


def test_frame_keeps_whole_numbers_whole(tmp_path: Path) -> None:
    write_manifest(tmp_path, [kept("a"), FAILED])
    frame = read_manifest(tmp_path)
    assert frame["n_frames"].dtype == pd.Int64Dtype()
    assert frame["n_frames"].tolist() == [120, pd.NA]
    assert list(frame["reject_codes"][0]) == []


def test_two_rows_with_one_id_are_refused_and_leave_the_old_file(tmp_path: Path) -> None:
    before = write_manifest(tmp_path, [kept("a")]).read_bytes()
    with pytest.raises(DatasetError, match="'b' occurs 2 times"):
        write_manifest(tmp_path, [kept("b"), kept("c"), kept("b")])
    assert (tmp_path / MANIFEST_NAME).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST_NAME]


def test_absent_manifest_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no manifest.*tpbench extract"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("keep_bytes", [0, 40, 500])
def test_cut_off_manifest_is_one_clear_line(tmp_path: Path, keep_bytes: int) -> None:
    path = write_manifest(tmp_path, [kept()])
    path.write_bytes(path.read_bytes()[:keep_bytes])
    with pytest.raises(DatasetError, match="not readable as Parquet") as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, [kept()])
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"tpbench.manifest_version": "99"}), path)
    with pytest.raises(DatasetError, match="version 99"):
        read_manifest(tmp_path)


def test_a_version_and_a_column_that_are_no_utf8_are_one_clear_line(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, [kept()])
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"tpbench.manifest_version": b"\xff\xfe"}), path)
    with pytest.raises(DatasetError, match=r"version \\xff\\xfe"):
        read_manifest(tmp_path)
    no_text = pa.array([b"\xff"]).cast(pa.string(), safe=False)
    at = table.schema.get_field_index("source_path")
    pq.write_table(table.set_column(at, "source_path", no_text), path)
    with pytest.raises(DatasetError, match=r"not readable as Parquet.*UTF8") as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_foreign_parquet_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / MANIFEST_NAME)
    with pytest.raises(DatasetError, match="manifest version none"):
        read_manifest(tmp_path)


def test_missing_and_mistyped_columns_are_named(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, [kept()])
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["identity"]), path)
    with pytest.raises(DatasetError, match="column 'identity' is missing"):
        read_clips(tmp_path)
    index = table.schema.get_field_index("n_frames")
    pq.write_table(table.set_column(index, "n_frames", table["n_frames"].cast(pa.string())), path)
    with pytest.raises(DatasetError, match="'n_frames' is string, want int64"):
        read_clips(tmp_path)


def test_file_name_that_is_no_text_is_spelt_out(tmp_path: Path) -> None:
    write_manifest(tmp_path, [kept(source_path="caf\N{LATIN SMALL LETTER E WITH ACUTE}\udcff.mp4")])
    spelt = "caf\N{LATIN SMALL LETTER E WITH ACUTE}\\udcff.mp4"
    assert [clip.source_path for clip in read_clips(tmp_path)] == [spelt]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_folder_in_place_of_the_manifest_is_refused_and_never_waited_for(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / MANIFEST_NAME)
    with pytest.raises(DatasetError, match="not a regular file"):
        read_clips(tmp_path)


def test_rows_can_be_read_by_their_ids(tmp_path: Path) -> None:
    rows = [kept(f"c{at:02d}") for at in range(30)]
    for name, part_rows in (("single", None), ("parts", 10)):
        (tmp_path / name).mkdir()
        write_manifest(tmp_path / name, rows, part_rows=part_rows)
        table = read_table(tmp_path / name, clip_ids={"c21", "c03", "none"})
        assert rows_of(table) == [rows[3], rows[21]]
        few = read_table(tmp_path / name, columns=["status"], clip_ids={"c21"})
        assert few.to_pylist() == [{"status": "kept"}]
