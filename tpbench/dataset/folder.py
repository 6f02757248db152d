"""A dataset folder: reading and writing of its manifest, and the paths of all files."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from tpbench.dataset.info import (
    FILE_HASHES,
    Clip,
    DatasetInfo,
    SplitName,
    Status,
    check_clip_id,
    content_digest,
    digest_of_files,
    digest_of_sorted,
    finite_values,
    read_info,
)
from tpbench.dataset.parts import (
    PARTS_FOLDER,
    PARTS_INDEX,
    ROWS_OF_A_PART,
    delete_parts,
    read_index,
    write_parts,
)
from tpbench.dataset.side_lists import read_version
from tpbench.errors import DatasetError, did_you_mean
from tpbench.files import atomic_write, require_regular, sha256_of
from tpbench.foreign import printable
from tpbench.spread import entries, existing_path, make_place
from tpbench.storage.addresses import Address
from tpbench.wholebody import WholeBodyPose, load_pose

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

Table = Any
Schema = Any

MANIFEST_NAME: Final = "manifest.parquet"
MANIFEST_VERSION: Final = 1
"""Incremented when the meaning of a column changes, but not for a new column alone."""
_VERSION_KEY: Final = b"tpbench.manifest_version"
_ROWS_AT_ONCE: Final = 4096
_TRIES: Final = 5
"""Times that a manifest in parts is read again, where it is replaced in the meantime."""
_MAX_NAMED: Final = 5
"""Most clip ids named in an error."""

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
    return [_clip_of(row) for batch in table.to_batches() for row in batch.to_pylist()]


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
        return _digest_of(self._table)


_DIGESTED: Final = ("status", "clip_id", *FILE_HASHES)
"""Columns that the content digest needs."""


def _digest_of(table: Table) -> str:
    """Return the content digest of rows, piece by piece: their JSON is several times as large."""
    import pyarrow.compute as pc

    kept = table.select(list(_DIGESTED)).filter(pc.equal(table["status"], "kept"))
    ids = kept["clip_id"].combine_chunks()
    if not pc.all(pc.less(ids[:-1], ids[1:])).as_py() and len(ids) > 1:
        rows = zip(*(kept[name].to_pylist() for name in _DIGESTED[1:]), strict=True)
        return digest_of_files(list(row) for row in rows)
    return digest_of_sorted(
        zip(*(batch[name].to_pylist() for name in _DIGESTED[1:]), strict=True)
        for batch in kept.to_batches(max_chunksize=_ROWS_AT_ONCE)
    )


def read_table(
    folder: Path,
    *,
    columns: Iterable[str] | None = None,
    statuses: Collection[str] | None = None,
) -> Table:
    """Read the manifest as an Arrow table, in the order of clip ids.

    Args:
        folder: the dataset.
        columns: only these, in this order; those of measurements that it lacks are left out.
        statuses: only rows with one of these.

    Raises:
        DatasetError: as `read_manifest`.
    """
    import pyarrow as pa

    wanted = None if columns is None else list(columns)
    for _ in range(_TRIES):
        index = read_index(folder)
        if index is None:
            return _read_file(folder / MANIFEST_NAME, wanted, statuses)
        paths = [folder / PARTS_FOLDER / part.name for part in index.parts]
        try:
            pieces = [_read_file(path, wanted, statuses) for path in paths]
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
    path: Path, columns: Sequence[str] | None = None, statuses: Collection[str] | None = None
) -> Table:
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
            needed = names if names is None or statuses is None else [*names, "status"]
            table = file.read(needed)
        # Parquet's reader takes bytes that are no UTF-8 as text.
        table.validate(full=True)
        if statuses is not None:
            chosen = pa.array(sorted(statuses), pa.string())
            table = table.filter(pc.is_in(table["status"], value_set=chosen))
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
    table = merged.select(schema.names).cast(schema).sort_by("clip_id").combine_chunks()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFile:
    """One of the three files of each kept clip: its folder, and how it is named there."""

    folder_name: str
    """Below the dataset; its files are spread over sub-folders (`spread`)."""
    ending: str

    def name(self, clip_id: str) -> str:
        """Return the name of the file.

        Raises:
            DatasetError: the clip id could lead out of the folder.
        """
        return f"{check_clip_id(clip_id)}{self.ending}"

    def home(self, dataset_folder: Path) -> Path:
        """Return the folder of all these files."""
        return dataset_folder / self.folder_name

    def path(self, dataset_folder: Path, clip_id: str) -> Path:
        """Return where a clip's file lies, or belongs if it does not exist."""
        return existing_path(self.home(dataset_folder), self.name(clip_id))

    def make_place(self, dataset_folder: Path, clip_id: str) -> Path:
        """Return where a clip's file is to be written; its folders are created."""
        return make_place(self.home(dataset_folder), self.name(clip_id))


CLIP_VIDEO: Final = ClipFile(folder_name="clips", ending=".mp4")
KEYPOINTS: Final = ClipFile(folder_name="keypoints", ending=".npz")
POSE_VIDEO: Final = ClipFile(folder_name="poses", ending=".mp4")
CLIP_FILES: Final = (CLIP_VIDEO, KEYPOINTS, POSE_VIDEO)

PACK_NAME: Final = "pack.json"
"""In the folder of a rebuild pack, which has tables of a dataset and is none."""
RECORDS_FOLDER: Final = ".records"
"""Records of each source, in the dataset folder. Private: they contain local paths."""
RECORDS_LOCK: Final = ".lock"
"""In `RECORDS_FOLDER`; held by the process that extends or splits the dataset."""
OLD_LEDGER: Final = Path(".ledger") / "local.sqlite"
"""In the dataset folders of earlier versions, instead of records. Private as well."""


def clip_path(folder: Path, clip_id: str) -> Path:
    """Return the path of the clip's video: `folder/clips/ab/<clip_id>.mp4` (see `spread`)."""
    return CLIP_VIDEO.path(folder, clip_id)


def keypoints_path(folder: Path, clip_id: str) -> Path:
    """Return the path of the clip's keypoints: `folder/keypoints/ab/<clip_id>.npz`."""
    return KEYPOINTS.path(folder, clip_id)


def pose_path(folder: Path, clip_id: str) -> Path:
    """Return the path of the clip's DWPose drawing: `folder/poses/ab/<clip_id>.mp4`."""
    return POSE_VIDEO.path(folder, clip_id)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Dataset:
    """A dataset folder, as returned by `Dataset.open`. Notebooks show it as a table.

    >>> dataset = Dataset.open("talks")                           # doctest: +SKIP
    >>> for clip in dataset.clips(split="test"):                  # doctest: +SKIP
    ...     pose = dataset.load_pose(clip)
    """

    folder: Path
    info: DatasetInfo
    _index: list[ManifestIndex] = field(default_factory=list, init=False, repr=False, compare=False)
    """Empty, or one element: the manifest, read when a row was first requested by its id."""

    @classmethod
    def open(cls, folder: Path | str) -> Dataset:
        """Open a dataset; reads only `dataset.json`.

        Of one in object storage, the tables are fetched; for its clips, see `local_dataset`.

        Raises:
            DatasetError: it is missing, of another version or broken, or is a rebuild pack.
        """
        if Address.of(folder) is not None:
            from tpbench.dataset.remote import local_dataset

            folder = local_dataset(folder, with_clips=False)
        if (Path(folder) / PACK_NAME).is_file():
            raise DatasetError(
                f"{folder}: a pack, not a dataset; make the dataset with "
                "`tpbench rebuild PACK --raw RAW --out DATASET`"
            )
        return cls(folder=Path(folder), info=read_info(Path(folder)))

    def __repr__(self) -> str:
        return f"Dataset({', '.join(f'{name}: {text}' for name, text in self._facts())})"

    def _repr_html_(self) -> str:
        rows = (
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(text)}</td></tr>"
            for name, text in self._facts()
        )
        return f"<table>{''.join(rows)}</table>"

    def _facts(self) -> Iterator[tuple[str, str]]:
        counts, split = self.info.counts, self.info.split
        yield "name", printable(self.info.name)
        yield "folder", printable(self.folder)
        yield "clips", f"{counts.kept:,}"
        yield "identities", f"{counts.identities:,}"
        yield "length", counts.kept_length
        if split is None:
            yield "split", "none"
        else:
            yield "split", f"{split.train_clips:,} train, {split.test_clips:,} test"
        if self.info.sources_pending:
            yield "sources pending", f"{self.info.sources_pending:,}"

    @property
    def digest(self) -> str:
        """sha256 over ids and file hashes of the kept clips: equal content, equal digest."""
        return self.info.digest

    @property
    def identities(self) -> tuple[str, ...]:
        """Identities of the kept clips, sorted."""
        named = self.table(["identity"], statuses={"kept"})["identity"].unique()
        return tuple(sorted({name or "" for name in named.to_pylist()}))

    def manifest(self) -> pd.DataFrame:
        """Return all rows, kept and rejected, as a data frame (see `read_manifest`)."""
        return read_manifest(self.folder)

    def table(
        self,
        columns: Collection[str] | None = None,
        *,
        statuses: Collection[Status] | None = None,
    ) -> Table:
        """Return rows as an Arrow table, in the order of their clip_id (see `facts`).

        Args:
            columns: only these; None for all.
            statuses: only rows with one of these; None for all.

        Raises:
            DatasetError: as `clips`.
        """
        if columns is None and statuses is None:
            table = read_table(self.folder)
            self._require_digest(_digest_of(table))
            return table
        self._require_digest(_digest_of(read_table(self.folder, columns=_DIGESTED)))
        return read_table(self.folder, columns=columns, statuses=statuses)

    def clips(self, status: Status | None = "kept", *, split: str | None = None) -> list[Clip]:
        """Return rows in the order of their clip_id.

        Args:
            status: only rows of this status; None for all.
            split: only rows on this side of the split, or in this frozen test split ("test-v1").

        Raises:
            DatasetError: a split is requested but there is none or none of that name, or the
                manifest is not the one that `dataset.json` describes (a run was killed while it
                wrote the two).
        """
        listed = None if split is None else self._frozen(split)
        clips = read_clips(self.folder, status=status)
        if status in {None, "kept"}:
            self._require_digest(content_digest(clips))
        if split is None:
            return clips
        if listed is None:
            return [clip for clip in clips if clip.split == split]
        found = [clip for clip in clips if clip.status == "kept" and clip.clip_id in listed]
        # The list lacks what was removed for good; the split's description counts it still.
        frozen = self.info.split.versions[split].clips if self.info.split else len(listed)
        if status in {None, "kept"} and len(found) < frozen:
            logger.warning(
                "%s: %d of %d clips of %s are not in the dataset any more",
                self.folder,
                frozen - len(found),
                frozen,
                split,
            )
        return found

    def _frozen(self, split: str) -> dict[str, str] | None:
        """Return the list of a frozen test split; None for a side of the present one."""
        versions = {} if self.info.split is None else self.info.split.versions
        if split in versions:
            return read_version(self.folder, split)
        if split not in (sides := get_args(SplitName)):
            raise DatasetError(f"no split '{split}'{did_you_mean(split, (*sides, *versions))}")
        if self.info.split is None:
            raise DatasetError(f"{self.folder}: not split yet; run `tpbench split {self.folder}`")
        return None

    def clip(self, clip_id: str) -> Clip:
        """Return one row, whatever its status.

        Raises:
            DatasetError: there is no such clip; the message names the closest id.
        """
        index = self._manifest()
        if clip_id in index.clip_ids:
            return index.clip(clip_id)
        hint = "; the manifest is empty"
        if index.clip_ids:
            hint = did_you_mean(clip_id, index.clip_ids)
        if len(hint) >= 200:  # a long list of ids would hide the message
            hint = (
                f"; ids begin with the name of the video, such as {min(index.clip_ids)}; "
                f"`tpbench inspect {self.folder} --json` lists all"
            )
        raise DatasetError(f"{self.folder}: no clip {clip_id!r}{hint}")

    def find(self, beginning: str) -> Clip:
        """Return the row whose clip id is `beginning`, or the only one whose id begins with it.

        Raises:
            DatasetError: there is none, or there are several; the message names some of them.
        """
        index = self._manifest()
        found = [clip_id for clip_id in index.clip_ids if clip_id.startswith(beginning)]
        if beginning in found or not found:
            return self.clip(beginning)
        if len(found) > 1:
            named = ", ".join(found[:_MAX_NAMED])
            more = f" and {len(found) - _MAX_NAMED:,} more" if len(found) > _MAX_NAMED else ""
            raise DatasetError(
                f"{self.folder}: {len(found):,} clip ids begin with {beginning!r}: {named}{more}; "
                "give more of the id"
            )
        return index.clip(found[0])

    def _manifest(self) -> ManifestIndex:
        if not self._index:
            opened = ManifestIndex(self.folder)
            self._require_digest(opened.digest())
            self._index.append(opened)
        return self._index[0]

    def _require_digest(self, digest: str) -> None:
        if digest != self.digest:
            raise DatasetError(
                f"{self.folder}: manifest.parquet and dataset.json do not belong together; "
                f"run `{self.info.made_by}` into it again to finish it"
            )

    def clip_path(self, clip: Clip) -> Path:
        """Return the path of the clip's video."""
        return clip_path(self.folder, clip.clip_id)

    def keypoints_path(self, clip: Clip) -> Path:
        """Return the path of the clip's keypoints."""
        return keypoints_path(self.folder, clip.clip_id)

    def pose_path(self, clip: Clip) -> Path:
        """Return the path of the clip's DWPose drawing."""
        return pose_path(self.folder, clip.clip_id)

    def load_pose(self, clip: Clip) -> WholeBodyPose:
        """Read the clip's keypoints.

        Raises:
            MediaError: the file is missing or broken.
        """
        return load_pose(self.keypoints_path(clip))

    def missing(self) -> list[Path]:
        """Return the missing files of kept clips; checks for existence only, reads no file."""
        paths = (
            kind.path(self.folder, clip.clip_id) for clip in self.clips() for kind in CLIP_FILES
        )
        return [path for path in paths if not path.is_file()]

    def verify(self) -> list[str]:
        """Hash all files of the kept clips and return one line per problem; empty if there is none.

        A problem is a file that is missing, has another sha256 than in the manifest, or is in
        `clips/`, `keypoints/` or `poses/` but belongs to no kept clip.
        """
        return list(self._problems())

    def _problems(self) -> Iterator[str]:
        expected: dict[Path, str | None] = {}
        for clip in self.clips():
            expected[self.clip_path(clip)] = clip.clip_sha256
            expected[self.keypoints_path(clip)] = clip.keypoints_sha256
            expected[self.pose_path(clip)] = clip.pose_sha256
        for path, sha256 in expected.items():
            if not path.is_file():
                yield f"{path}: missing"
            elif sha256_of(path) != sha256:
                yield f"{path}: not the file that the manifest describes (sha256 differs)"
        for kind in CLIP_FILES:
            for path in entries(kind.home(self.folder)):
                if path not in expected:
                    yield f"{path}: belongs to no kept clip"
