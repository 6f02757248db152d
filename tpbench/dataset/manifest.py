"""`manifest.parquet`: one row per candidate clip, kept and rejected alike, sorted by clip_id."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from tpbench.dataset.clip import Clip, finite_values
from tpbench.dataset.info import digest_of_files
from tpbench.errors import DatasetError
from tpbench.files import require_regular, written_aside

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    import pandas as pd

    # pyarrow carries no type information.
    Table = Any
    Schema = Any

MANIFEST_NAME: Final = "manifest.parquet"
MANIFEST_VERSION: Final = 1
"""Goes up when a column changes its meaning; a new column alone does not."""

_VERSION_KEY: Final = b"tpbench.manifest_version"
_ROWS_AT_ONCE: Final = 4096

COLUMNS: Final[Mapping[str, str]] = {
    "clip_id": "string",
    "status": "string",
    "reject_codes": "list",
    "source_id": "string",
    "source_path": "string",
    "source_sha256": "string",
    "url": "string",
    "licence": "string",
    "uploader": "string",
    "retrieved_at": "string",
    "start_frame": "int64",
    "end_frame": "int64",
    "start_s": "float64",
    "end_s": "float64",
    "start_pts": "int64",
    "time_base": "string",
    "fps_num": "int64",
    "fps_den": "int64",
    "n_frames": "int64",
    "source_width_px": "int64",
    "source_height_px": "int64",
    "crop_x0": "float64",
    "crop_y0": "float64",
    "crop_x1": "float64",
    "crop_y1": "float64",
    "out_size_px": "int64",
    "shot_id": "int64",
    "track_id": "int64",
    "identity": "string",
    "split": "string",
    "pose_source": "string",
    "skeleton_digest": "string",
    "face_digest": "string",
    "hand_digest": "string",
    "tool_version": "string",
    "clip_sha256": "string",
    "keypoints_sha256": "string",
    "pose_sha256": "string",
    "error": "string",
}
"""Column -> Arrow type, in file order; pairs `m_<name>`, `t_<name>` (float64) follow, sorted."""


def write_manifest(folder: Path, rows: Iterable[Clip]) -> Path:
    """Write all rows as `folder/manifest.parquet`, sorted by clip_id, aside and renamed.

    Column types do not depend on the rows: a column of nulls keeps its type. A measurement that was
    not made is null, never NaN.

    Raises:
        DatasetError: two rows share a clip_id.
    """
    path = folder / MANIFEST_NAME
    write_table(path, _table_of(rows))
    return path


def read_manifest(folder: Path) -> pd.DataFrame:
    """Read the manifest as a data frame.

    Whole numbers are `Int64`, so that null stays null; `reject_codes` holds an array per row.

    Raises:
        DatasetError: it is absent, no Parquet, of another version, or lacks a column.
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
    import pyarrow.compute as pc

    table = read_table(folder)
    if status is not None:
        table = table.filter(pc.equal(table["status"], status))
    return [_clip_of(row) for batch in table.to_batches() for row in batch.to_pylist()]


class ManifestIndex:
    """A manifest in memory, of which single rows are asked for: as a table, it is small.

    Raises:
        DatasetError: as `read_manifest`.
    """

    def __init__(self, folder: Path) -> None:
        self._table = read_table(folder)
        self._at = {clip_id: at for at, clip_id in enumerate(self._table["clip_id"].to_pylist())}

    @property
    def clip_ids(self) -> Collection[str]:
        """Of all rows, in their order."""
        return self._at.keys()

    def clip(self, clip_id: str) -> Clip:
        """Return one row.

        Raises:
            KeyError: there is none of that id.
        """
        return _clip_of(self._table.slice(self._at[clip_id], 1).to_pylist()[0])

    def digest(self) -> str:
        """Return the content digest of the rows; see `content_digest`."""
        import pyarrow.compute as pc

        kept = self._table.filter(pc.equal(self._table["status"], "kept"))
        names = ("clip_id", "clip_sha256", "keypoints_sha256", "pose_sha256")
        columns = (kept[name].to_pylist() for name in names)
        return digest_of_files(list(row) for row in zip(*columns, strict=True))


def read_table(folder: Path) -> Table:
    """Read the manifest as an Arrow table, after the checks that `read_manifest` names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / MANIFEST_NAME
    try:
        require_regular(path)
        table = pq.read_table(path)
    except FileNotFoundError as error:
        msg = f"{path}: no manifest; is this a dataset that `tpbench extract` finished?"
        raise DatasetError(msg) from error
    except (pa.ArrowException, OSError) as error:
        msg = f"{path}: not readable as Parquet ({str(error).splitlines()[0]})"
        raise DatasetError(msg) from error
    version = (table.schema.metadata or {}).get(_VERSION_KEY, b"none").decode()
    if version != str(MANIFEST_VERSION):
        msg = (
            f"{path}: manifest version {version}, this tpbench reads {MANIFEST_VERSION}; "
            "extract the dataset again or use the tpbench that made it"
        )
        raise DatasetError(msg)
    wanted = _schema(())
    for name in COLUMNS:
        if name not in table.schema.names:
            msg = f"{path}: column {name!r} is missing"
            raise DatasetError(msg)
        if table.schema.field(name).type != wanted.field(name).type:
            msg = (
                f"{path}: column {name!r} is {table.schema.field(name).type}, "
                f"want {wanted.field(name).type}"
            )
            raise DatasetError(msg)
    return table


def write_table(path: Path, table: Table) -> None:
    """Write an Arrow table that already has the manifest's schema, aside and renamed."""
    import pyarrow.parquet as pq

    with written_aside(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


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


def _table_of(rows: Iterable[Clip]) -> Table:
    """Gather rows in pieces: as Python objects a million rows would fill gigabytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    pieces = [_schema(()).empty_table()]
    source = iter(rows)
    while piece := list(islice(source, _ROWS_AT_ONCE)):
        names = sorted({name for clip in piece for name in (*clip.measurements, *clip.thresholds)})
        pieces.append(pa.Table.from_pylist([_flat(clip) for clip in piece], schema=_schema(names)))
    merged = pa.concat_tables(pieces, promote_options="default")
    names = sorted({name[2:] for name in merged.schema.names if name.startswith(("m_", "t_"))})
    schema = _schema(names)
    table = merged.select(schema.names).cast(schema).sort_by("clip_id").combine_chunks()
    ids = table["clip_id"]
    for count in pc.value_counts(ids).to_pylist() if len(pc.unique(ids)) < len(ids) else ():
        if count["counts"] > 1:
            msg = f"clip id {count['values']!r} occurs {count['counts']} times: ids must be unique"
            raise DatasetError(msg)
    return table


def _flat(clip: Clip) -> dict[str, Any]:
    row: dict[str, Any] = {name: _storable(getattr(clip, name)) for name in COLUMNS}
    row["reject_codes"] = list(clip.reject_codes)
    row |= {f"m_{name}": value for name, value in finite_values(clip.measurements).items()}
    row |= {f"t_{name}": value for name, value in finite_values(clip.thresholds).items()}
    return row


def _storable(value: object) -> object:
    """Spell out bytes of a file name that are no text: Parquet holds UTF-8 and nothing else."""
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
