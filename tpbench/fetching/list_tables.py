"""Parquet tables as id lists, such as the manifest of a dataset or a pack."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Final

from tpbench.errors import ConfigError

_STATUS: Final = "status"
_KEPT: Final = "kept"


def table_rows(path: Path, *, columns: Set[str], needed: Set[str]) -> list[tuple[int, list[str]]]:
    """Return the rows of a table as a text file would have them: numbers and cells, header first.

    Of a table with a column `status`, only rows that are `kept` are returned.

    Args:
        path: of the table.
        columns: names of columns to read.
        needed: one of these has to be among them.

    Raises:
        ConfigError: it is no readable Parquet table, or lacks the columns.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if name in columns]
            if not needed & set(names):
                raise ConfigError(f"{path}: no list of ids: it has no column url or video_id")
            has_status = _STATUS in file.schema_arrow.names
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ConfigError(f"{path}: no list of ids: it has two columns {twice[0]}")
            table = file.read(columns=[*names, _STATUS] if has_status else names)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path}: no list of ids: not a Parquet table ({reason})") from error
    if has_status:
        try:
            table = table.filter(pc.equal(table[_STATUS], _KEPT))
        except pa.ArrowNotImplementedError as error:  # numbers, lists
            raise ConfigError(f"{path}: no list of ids: its column {_STATUS} is no text") from error
    cells = [table[name].to_pylist() for name in names]
    rows = [
        (number, ["" if cell is None else str(cell) for cell in row])
        for number, row in enumerate(zip(*cells, strict=True), start=2)
    ]
    return [(1, names), *rows]
