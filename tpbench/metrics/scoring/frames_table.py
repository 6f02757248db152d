"""Per-frame values of all clips as one Parquet file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tpbench.files import written_aside
from tpbench.metrics.scoring.records import ClipRecord


def write_frames(path: Path, records: Iterable[ClipRecord], columns: Sequence[str]) -> None:
    """Write `clip_id`, `frame` and the columns as they were measured, clip by clip.

    `frame` is the number in the clip: it begins with 1 where frame 0 was not scored. NaN is kept
    as NaN: not measured on that frame.

    Args:
        path: of the file; an older one is replaced.
        records: in the order wanted.
        columns: per-frame columns, each in every record.
    """
    import pyarrow as pa
    from pyarrow import parquet

    names = sorted(columns)
    schema = pa.schema(
        [
            ("clip_id", pa.dictionary(pa.int32(), pa.string())),
            ("frame", pa.int32()),
            *((name, pa.float64()) for name in names),
        ]
    )
    with written_aside(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for record in records:
            frames = np.arange(record.n_frames, dtype=np.int32) + record.first_frame
            clip_ids = pa.DictionaryArray.from_arrays(
                np.zeros(record.n_frames, dtype=np.int32), [record.clip_id]
            )
            arrays = [pa.array(record.columns[name], from_pandas=False) for name in names]
            table = pa.Table.from_arrays([clip_ids, pa.array(frames), *arrays], schema=schema)
            writer.write_table(table)
