from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from tpbench.metrics.scoring.frames_table import write_frames
from tpbench.metrics.scoring.records import ClipRecord

if TYPE_CHECKING:
    from pathlib import Path


def record(name: str, values: list[float], *, first_frame: int = 0) -> ClipRecord:
    return ClipRecord(
        clip_id=name,
        real_sha256="",
        generated_sha256="",
        n_frames=len(values),
        first_frame=first_frame,
        width_px=8,
        height_px=8,
        fps=None,
        codec="h264",
        notes=(),
        keys={},
        features={},
        real_features={},
        columns={"psnr": np.array(values), "l1": np.zeros(len(values)), "left_out": np.ones(9)},
    )


def test_values_are_written_as_they_were_measured(tmp_path: Path) -> None:
    path = tmp_path / "frames.parquet"
    records = [record("b", [0.1 + 0.2, math.inf, math.nan], first_frame=2), record("a", [7.0])]

    write_frames(path, records, ["psnr", "l1"])

    table = parquet.read_table(path)
    assert table.column_names == ["clip_id", "frame", "l1", "psnr"]
    assert table["clip_id"].cast(pa.string()).to_pylist() == ["b", "b", "b", "a"]
    assert table["frame"].to_pylist() == [2, 3, 4, 0]
    assert table["psnr"].null_count == 0, "not measured is NaN"
    assert repr(table["psnr"].to_pylist()) == repr([0.1 + 0.2, math.inf, math.nan, 7.0])
    assert list(tmp_path.iterdir()) == [path]


def test_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_frames(tmp_path / name, [record("a", [1.0, 2.0]), record("b", [3.0])], ["psnr"])

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_no_records_are_a_table_without_rows(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames.parquet", [], ["psnr"])

    table = parquet.read_table(tmp_path / "frames.parquet")
    assert (table.num_rows, table.column_names) == (0, ["clip_id", "frame", "psnr"])
