"""The manifest of a dataset as columns: how it is written, read, and digested."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tpbench.dataset.info import (
    FILE_HASHES,
    Clip,
    digest_of_files,
    digest_of_sorted,
    finite_values,
)
from tpbench.dataset.parts import (
    PARTS_FOLDER,
    PARTS_INDEX,
    ROWS_OF_A_PART,
    delete_parts,
    read_index,
    write_parts,
)
from tpbench.errors import DatasetError
from tpbench.files import atomic_write, require_regular
from tpbench.foreign import printable

if TYPE_CHECKING:
    import pandas as pd

Table = Any
Schema = Any

MANIFEST_NAME: Final = "manifest.parquet"
MANIFEST_VERSION: Final = 1
"""Incremented when the meaning of a column changes, but not for a new column alone."""
_VERSION_KEY: Final = b"tpbench.manifest_version"
_ROWS_AT_ONCE: Final = 4096
_TRIES: Final = 5
"""Times that a manifest in parts is read again, where it is replaced in the meantime."""

_KINDS: Final = {"int | None": "int64", "float | None": "float64", "tuple[str, ...]": "list"}
COLUMNS: Final[Mapping[str, str]] = {
    item.name: _KINDS.get(str(item.type), "string")
    for item in fields(Clip)
    if item.name not in {"measurements", "thresholds"}
}
"""Column -> Arrow type, in file order; pairs `m_<name>`, `t_<name>` (float64) follow, sorted."""


def write_manifest(
    folder: Path, rows: Iterable[Clip], *, part_rows: int | None = ROWS_OF_A_PART
) -> Path:
    """Write all rows atomically, sorted by clip_id, as `folder/manifest.parquet`, or in parts.

    Column types do not depend on the rows: a column of nulls keeps its type. A missing measurement
    is null, never NaN.

    Args:
        folder: the dataset.
        rows: in any order.
        part_rows: more rows are written in parts of about that many, see `parts`; None: never.

    Returns:
        `manifest.parquet`, or `manifest.json` of a manifest in parts.

    Raises:
        DatasetError: two rows share a clip_id.
    """
    return write_table(folder, manifest_table(rows), part_rows=part_rows)


def write_table(folder: Path, table: Table, *, part_rows: int | None = ROWS_OF_A_PART) -> Path:
    """Write rows as `write_manifest` does, from columns sorted by clip_id, each in one piece."""
    import pyarrow.parquet as pq

    path = folder / MANIFEST_NAME
    if part_rows is not None and len(table) > part_rows:
        # `manifest.json` counts where both are there, so a reader sees one of them at any time.
        write_parts(folder, table, part_rows=part_rows, read=_read_file)
        path.unlink(missing_ok=True)
        return folder / PARTS_INDEX
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    delete_parts(folder)
    return path


def has_manifest(folder: Path) -> bool:
    """Whether there is a manifest, in one file or in parts, readable or not."""
    return (folder / MANIFEST_NAME).exists() or (folder / PARTS_INDEX).exists()


def manifest_file(folder: Path) -> Path:
    """Return the file whose sha256 stands for the manifest: itself, or the index of its parts."""
    index = folder / PARTS_INDEX
    return index if index.exists() else folder / MANIFEST_NAME


def read_manifest(folder: Path) -> pd.DataFrame:
    """Read the manifest as a data frame.

    Integers are `Int64`, so that null stays null; `reject_codes` holds an array per row.

    Raises:
        DatasetError: it is missing, no Parquet, of another version, or lacks a column.
    """
    import pandas as pd
    import pyarrow as pa

    nullable = {pa.int64(): pd.Int64Dtype()}
    frame: pd.DataFrame = read_table(folder).to_pandas(types_mapper=nullable.get)
    return frame


def read_clips(folder: Path, *, status: str | None = None) -> list[Clip]:
    """Read the manifest as rows, in the order of their clip_id.

    Args:
        folder: the dataset.
        status: only rows of this status; None for all.
    """
    return rows_of(read_table(folder, statuses=None if status is None else {status}))


def rows_of(table: Table) -> list[Clip]:
    """Return the rows of a manifest, or of a part of it, in their order."""
    return list(each_row(table))


def each_row(table: Table) -> Iterator[Clip]:
    """Yield the rows of a manifest in their order, of which few are in memory at a time."""
    for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
        yield from map(_clip_of, batch.to_pylist())


def first_known(table: Table, column: str) -> str | None:
    """Return the first text of a column that is neither null nor empty, None if there is none."""
    return next((value for value in table[column].unique().to_pylist() if value), None)


class ManifestIndex:
    """A manifest kept in memory as a compact Arrow table, for access to single rows.

    Raises:
        DatasetError: as `read_manifest`.
    """

    def __init__(self, folder: Path) -> None:
        self._table = read_table(folder)
        self._at = {clip_id: at for at, clip_id in enumerate(self._table["clip_id"].to_pylist())}

    @property
    def clip_ids(self) -> Collection[str]:
        """Ids of all rows, in their order."""
        return self._at.keys()

    def clip(self, clip_id: str) -> Clip:
        """Return one row.

        Raises:
            KeyError: there is no row with that id.
        """
        return _clip_of(self._table.slice(self._at[clip_id], 1).to_pylist()[0])

    def digest(self) -> str:
        """Return the content digest of the rows; see `content_digest`."""
        return digest_of_table(self._table)


DIGESTED: Final = ("status", "clip_id", *FILE_HASHES)
"""Columns that the content digest needs."""


def digest_of_table(table: Table) -> str:
    """Return the content digest of rows, piece by piece: their JSON is several times as large."""
    import pyarrow.compute as pc

    kept = table.select(list(DIGESTED)).filter(pc.equal(table["status"], "kept"))
    ids = kept["clip_id"].combine_chunks()
    if not pc.all(pc.less(ids[:-1], ids[1:])).as_py() and len(ids) > 1:
        rows = zip(*(kept[name].to_pylist() for name in DIGESTED[1:]), strict=True)
        return digest_of_files(list(row) for row in rows)
    return digest_of_sorted(
        zip(*(batch[name].to_pylist() for name in DIGESTED[1:]), strict=True)
        for batch in kept.to_batches(max_chunksize=_ROWS_AT_ONCE)
    )


def read_table(
    folder: Path,
    *,
    columns: Iterable[str] | None = None,
    statuses: Collection[str] | None = None,
    clip_ids: Collection[str] | None = None,
) -> Table:
    """Read the manifest as an Arrow table, in the order of clip ids.

    Args:
        folder: the dataset.
        columns: only these, in this order; those of measurements that it lacks are left out.
        statuses: only rows with one of these.
        clip_ids: only these rows. Of a manifest in parts, one part at a time is in memory.

    Raises:
        DatasetError: as `read_manifest`.
    """
    import pyarrow as pa

    wanted = None if columns is None else list(columns)
    given = {"status": statuses, "clip_id": clip_ids}
    only = {name: values for name, values in given.items() if values is not None}
    for _ in range(_TRIES):
        index = read_index(folder)
        if index is None:
            return _read_file(folder / MANIFEST_NAME, wanted, only)
        paths = [folder / PARTS_FOLDER / part.name for part in index.parts]
        try:
            pieces = [_read_file(path, wanted, only) for path in paths]
        except _NoFileError:
            if read_index(folder) == index:
                raise
            continue  # written anew since the index was read
        # Every part has the same columns, unless another program wrote one of them.
        try:
            return pa.concat_tables(pieces)
        except pa.ArrowException as error:
            said = f"its parts have different columns ({str(error).splitlines()[0]})"
            raise DatasetError(f"{folder / PARTS_FOLDER}: {said}") from error
    raise DatasetError(f"{folder / PARTS_INDEX}: is being written again and again; try later")


class _NoFileError(DatasetError):
    """A manifest, or a part of one, is missing."""


def _read_file(
    path: Path,
    columns: Sequence[str] | None = None,
    only: Mapping[str, Collection[str]] | None = None,
) -> Table:
    """Read a file; `only` has columns of text and the values of which a row needs one."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        require_regular(path)
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            _require_schema(path, schema)
            names = None
            if columns is not None:
                names = [name for name in columns if name in schema.names]
            table = file.read(None if names is None else [*dict.fromkeys([*names, *(only or ())])])
        # Parquet's reader takes bytes that are no UTF-8 as text.
        table.validate(full=True)
        for name, values in (only or {}).items():
            chosen = pa.array(sorted(values), pa.string())
            table = table.filter(pc.is_in(table[name], value_set=chosen))
        return table if names is None else table.select(names)
    except FileNotFoundError as error:
        raise _NoFileError(
            f"{path}: no manifest; is this a dataset that `tpbench extract` finished?"
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(
            f"{path}: not readable as Parquet ({str(error).splitlines()[0]})"
        ) from error


def _require_schema(path: Path, schema: Schema) -> None:
    stated = (schema.metadata or {}).get(_VERSION_KEY, b"none")
    version = printable(stated.decode("utf-8", "backslashreplace"))
    if version != str(MANIFEST_VERSION):
        raise DatasetError(
            f"{path}: manifest version {version}, this tpbench reads {MANIFEST_VERSION}; "
            "extract the dataset again or use the tpbench that created it"
        )
    wanted = _schema(())
    for name in COLUMNS:
        if name not in schema.names:
            raise DatasetError(f"{path}: column {name!r} is missing")
        if schema.field(name).type != wanted.field(name).type:
            raise DatasetError(
                f"{path}: column {name!r} is {schema.field(name).type}, "
                f"want {wanted.field(name).type}"
            )


def _schema(measurements: Iterable[str]) -> Schema:
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "list": pa.list_(pa.field("element", pa.string(), nullable=False)),
    }
    columns = [pa.field(name, types[kind]) for name, kind in COLUMNS.items()]
    for name in measurements:
        columns += [pa.field(f"{prefix}_{name}", pa.float64()) for prefix in "mt"]
    return pa.schema(columns, metadata={_VERSION_KEY: str(MANIFEST_VERSION).encode()})


def manifest_table(rows: Iterable[Clip]) -> Table:
    """Return rows as columns, sorted by clip id, each in one piece.

    Raises:
        DatasetError: two rows share a clip id.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    pieces = [_schema(()).empty_table()]
    # In batches: as Python objects, a million rows would fill gigabytes.
    source = iter(rows)
    while piece := list(islice(source, _ROWS_AT_ONCE)):
        names = sorted({name for clip in piece for name in (*clip.measurements, *clip.thresholds)})
        pieces.append(pa.Table.from_pylist([_flat(clip) for clip in piece], schema=_schema(names)))
    merged = pa.concat_tables(pieces, promote_options="default")
    names = sorted({name[2:] for name in merged.schema.names if name.startswith(("m_", "t_"))})
    schema = _schema(names)
    unsorted = merged.select(schema.names).cast(schema)
    del merged, pieces
    order = pc.sort_indices(unsorted["clip_id"])
    columns = []
    # Column by column, each freed at once: rows are in memory once, not twice.
    while unsorted.num_columns:
        columns.append(unsorted.column(0).take(order).combine_chunks())
        unsorted = unsorted.remove_column(0)
    table = pa.table(columns, schema=schema)
    ids = table["clip_id"]
    for count in pc.value_counts(ids).to_pylist() if len(pc.unique(ids)) < len(ids) else ():
        if count["counts"] > 1:
            raise DatasetError(
                f"clip id {count['values']!r} occurs {count['counts']} times: ids must be unique"
            )
    return table


def _flat(clip: Clip) -> dict[str, Any]:
    row: dict[str, Any] = {name: storable(getattr(clip, name)) for name in COLUMNS}
    row |= {f"m_{name}": value for name, value in finite_values(clip.measurements).items()}
    row |= {f"t_{name}": value for name, value in finite_values(clip.thresholds).items()}
    return row


def storable(value: object) -> object:
    """Return a value as Parquet takes it: bytes of a file name that are no UTF-8 are escaped."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value


def _clip_of(row: Mapping[str, Any]) -> Clip:
    plain = {name: row[name] for name in COLUMNS}
    groups: dict[str, dict[str, float]] = {"m_": {}, "t_": {}}
    for name, value in row.items():
        if name[:2] in groups and name not in COLUMNS and value is not None:
            groups[name[:2]][name[2:]] = value
    return Clip.from_json({**plain, "measurements": groups["m_"], "thresholds": groups["t_"]})
