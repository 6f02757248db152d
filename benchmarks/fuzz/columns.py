"""Spoilt Parquet: other columns, other types, values that no column should have, lying footers."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from benchmarks.fuzz.spoiling import Rng, flipped
from benchmarks.fuzz.texts import Damage

_ROWS: Final = 3_000_000
"""Equal rows take no space in a file, and much in memory."""


def _read(data: bytes) -> Any:  # noqa: ANN401 - pyarrow has no types
    import pyarrow.parquet as pq

    return pq.read_table(io.BytesIO(data))


def _written(table: Any) -> bytes:  # noqa: ANN401 - pyarrow has no types
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def _types(rng: Rng, data: bytes) -> bytes:
    import pyarrow as pa

    table = _read(data)
    number = int(rng.integers(table.num_columns))
    n = len(table)
    odd: tuple[Callable[[], Any], ...] = (
        lambda: pa.nulls(n),
        lambda: pa.array([[1]] * n),
        lambda: pa.array([{"a": 1}] * n),
        lambda: pa.array([2**62] * n),
        lambda: pa.array([-1] * n, pa.int8()),
        lambda: pa.array(["x"] * n).dictionary_encode(),
        lambda: pa.array([b"\xff\xfe"] * n, pa.binary()),
        lambda: pa.array([0] * n, pa.timestamp("ns")),
        lambda: pa.array([True] * n),
        lambda: pa.array([float("nan")] * n),
        lambda: pa.array(["x"] * n, pa.large_string()),
        lambda: pa.array([[[[[[["x"]]]]]]] * n),
    )
    column = odd[int(rng.integers(len(odd)))]()
    return _written(table.set_column(number, table.schema.names[number], column))


def _values(rng: Rng, data: bytes) -> bytes:
    """Values of the right type that nobody expects."""
    import pyarrow as pa

    table = _read(data)
    wild: dict[str, tuple[Any, ...]] = {
        "string": ("", "../../../etc/passwd", "\x1b[2J\u202e", "a" * 300_000, None, "/etc/passwd"),
        "int64": (-1, 0, 2**62, -(2**63), None),
        "double": (float("nan"), float("inf"), -1e308, None),
        "bool": (None,),
    }
    for _ in range(int(rng.integers(1, 4))):
        number = int(rng.integers(table.num_columns))
        kind = table.schema.field(number).type
        values = wild.get(str(kind), (None,))
        column = table.column(number).to_pylist()
        if column:
            column[int(rng.integers(len(column)))] = values[int(rng.integers(len(values)))]
        try:
            field = pa.field(table.schema.names[number], kind)
            table = table.set_column(number, field, pa.array(column, kind))
        except pa.ArrowException:
            continue
    return _written(table)


def _shape(rng: Rng, data: bytes) -> bytes:
    import pyarrow as pa

    table = _read(data)
    names = table.schema.names
    number = int(rng.integers(table.num_columns))
    n = len(table)
    shapes: tuple[Callable[[], Any], ...] = (
        lambda: table.remove_column(number),
        lambda: table.append_column(names[number], table.column(number)),
        lambda: table.slice(0, 0),
        lambda: pa.concat_tables([table, table]),
        lambda: (
            pa.concat_tables([table.slice(0, 1)] * (_ROWS // 1000)).combine_chunks() if n else table
        ),
        lambda: pa.table({f"c{at}": [1] for at in range(20_000)}),
        lambda: pa.table({"x": pa.nulls(50 * _ROWS)}),
        lambda: table.rename_columns([f"\u202e../{name}" for name in names]),
        lambda: table.replace_schema_metadata({b"tpbench.manifest_version": b"\xff\xfe"}),
        lambda: table.replace_schema_metadata({b"ARROW:schema": b"x" * 1000}),
    )
    return _written(shapes[int(rng.integers(len(shapes)))]())


def _text(rng: Rng, data: bytes) -> bytes:
    """Text that is no UTF-8: the bytes of a binary column under the name of a text column."""
    import pyarrow as pa

    table = _read(data)
    texts = [at for at, field in enumerate(table.schema) if field.type == pa.string()]
    if not texts:
        return _types(rng, data)
    number = texts[int(rng.integers(len(texts)))]
    buffers = pa.array([b"\xff\xfe\x80"] * len(table), pa.binary()).buffers()
    column = pa.Array.from_buffers(pa.string(), len(table), buffers)
    return _written(table.set_column(number, table.schema.names[number], column))


def _footer(rng: Rng, data: bytes) -> bytes:
    (length,) = struct.unpack("<I", data[-8:-4])
    if rng.random() < 0.3:
        lies = (0, 1, 2**32 - 1, 2**31, len(data), length - 1, length + 1)
        told = struct.pack("<I", lies[int(rng.integers(len(lies)))])
        return data[:-8] + told + data[-4:]
    return flipped(rng, data, [(len(data) - 8 - length, len(data) - 8)])


PARQUET: Final[Mapping[str, Damage]] = {
    "columns of another type": _types,
    "wild values": _values,
    "another shape": _shape,
    "text that is none": _text,
    "a lying footer": _footer,
}
