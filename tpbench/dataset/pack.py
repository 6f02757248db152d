"""A rebuild pack: everything of a dataset except its pictures and sound.

    PACK/
      pack.json          format version, digests of the dataset and of all files below
      dataset.json       as in the dataset: settings, filters, counts
      manifest.parquet   as in the dataset, with the names of sources instead of their paths
      marks.parquet      clip_id, marks: what frames look like, as bits (see `likeness`)
      keypoints/<ab>/<clip_id>.npz
      splits/*.csv identities.csv removals.json    as in the dataset, where it has them
      CARD.md            the card of the dataset
      README.md          how to rebuild it

`tpbench rebuild` makes the clips again from the same videos, and says of each how it compares. The
digest of a pack covers all its files.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final

from pydantic import Field

from tpbench import __version__
from tpbench.canonical import digest_of
from tpbench.dataset.folder import KEYPOINTS, PACK_NAME, Dataset
from tpbench.dataset.identities import read_members
from tpbench.dataset.info import INFO_NAME, Clip, DatasetInfo, read_info, write_info
from tpbench.dataset.likeness import Marks, grids_of, sampled_frames
from tpbench.dataset.manifest import MANIFEST_NAME, read_clips, write_manifest
from tpbench.dataset.removal import Removals
from tpbench.dataset.side_lists import read_placed
from tpbench.errors import DatasetError, MediaError, number_of
from tpbench.files import atomic_write, atomic_write_text, lies_in, missing_folder, sha256_of
from tpbench.foreign import ForeignFileError, printable, require_own
from tpbench.privacy import public_message, public_values
from tpbench.wholebody import WholeBodyPose, load_pose
from tpbench.work import ProgressCounter, ProgressListener, usable_cores
from tpbench.work.records import Record, RecordError

PACK_VERSION: Final = 1
MARKS_NAME: Final = "marks.parquet"
_TABLES: Final = (INFO_NAME, MANIFEST_NAME, MARKS_NAME)
"""Files without which a pack can't be read."""
CARRIED: Final = ("identities.csv", "removals.json", "splits")
"""Files and folders of a dataset that are copied as they are, where it has them."""
_NEEDED: Final = (
    "start_frame", "end_frame", "fps_num", "fps_den", "n_frames",
    "crop_x0", "crop_y0", "crop_x1", "crop_y1", "out_size_px",
)  # fmt: skip
"""Columns without which a clip can't be made again."""
_MAX_SIDE_PX: Final = 4096
_CARRIED_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class PackInfo(Record):
    """The content of `pack.json`."""

    schema_version = PACK_VERSION

    name: str
    """Of the dataset."""
    version: str
    """Of the dataset."""
    tool_version: str
    dataset_digest: str = Field(pattern="^[0-9a-f]{64}$")
    """`content_digest` of the dataset: what a rebuild from the same videos has, too."""
    clips: int = Field(ge=1)
    encoders: dict[str, str]
    """Versions of the libraries that encoded the clips. Others may give other bytes."""
    files: dict[str, str]
    """Path below the pack -> sha256, for all files except keypoints, whose sha256 is in the
    manifest."""

    @property
    def digest(self) -> str:
        """sha256 over the digests of all files: equal content, equal digest."""
        return digest_of([self.schema_version, self.dataset_digest, self.files])


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A pack on disk. Create it with `open` or `write_pack`."""

    folder: Path
    info: PackInfo
    dataset: DatasetInfo
    """`dataset.json` of the dataset that it was made of."""
    _marks: list[Mapping[str, bytes]] = field(default_factory=list, init=False, repr=False)

    @classmethod
    def open(cls, folder: Path | str) -> Pack:
        """Open a pack, and check all its files except the keypoints.

        Raises:
            DatasetError: it is no pack, of another version, or damaged.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise DatasetError(f"{folder}: no pack here: {missing_folder(folder)}")
        path = folder / PACK_NAME
        if not path.exists():
            made = "; this is a dataset, not a pack" if (folder / INFO_NAME).exists() else ""
            raise DatasetError(
                f"{folder}: no pack here ({PACK_NAME} is missing){made}; "
                "`tpbench export DATASET --to pack` makes one"
            )
        try:
            info = PackInfo.read(path)
        except RecordError as error:
            raise DatasetError(f"{error}; {_GET_AGAIN}") from error
        _require_files(folder, info)
        _require_tables(folder)
        return cls(folder=folder, info=info, dataset=read_info(folder))

    def rows(self) -> list[Clip]:
        """Return all rows of the manifest.

        Raises:
            DatasetError: a kept clip can't be made again: a column is empty or impossible.
        """
        rows = read_clips(self.folder)
        kept = [row for row in rows if row.status == "kept"]
        for row in kept:
            if (why := unfit(row)) is not None:
                raise DatasetError(f"{self.folder / MANIFEST_NAME}: clip {row.clip_id} {why}")
        if len(kept) != self.info.clips:
            raise DatasetError(
                f"{self.folder / MANIFEST_NAME}: has {number_of(len(kept), 'kept clip')}, and "
                f"{PACK_NAME} tells of {self.info.clips:,}; {_GET_AGAIN}"
            )
        return rows

    def removals(self, out: Path) -> Removals:
        """Return what was removed from the dataset of the pack, or from a rebuild of it in `out`.

        Raises:
            DatasetError: a `removals.json` can't be read.
        """
        return Removals.read(out).joined(Removals.read(self.folder).tombstones)

    def marks(self, row: Clip) -> bytes:
        """Return the marks of a kept clip, as `Marks.from_bytes` reads them.

        Raises:
            DatasetError: there are none, or not those of its number of frames.
        """
        if not self._marks:
            self._marks.append(_read_marks(self.folder / MARKS_NAME))
        return _checked_marks(self.folder, row, self._marks[0].get(row.clip_id))

    def pose(self, row: Clip) -> WholeBodyPose:
        """Return the keypoints of a kept clip, in px of the clip.

        Raises:
            MediaError: the file is missing, or not the one that the manifest describes.
        """
        path = self.require_keypoints(row)
        pose = load_pose(path)
        if len(pose) != row.n_frames or (pose.width_px, pose.height_px) != (row.out_size_px,) * 2:
            raise MediaError(path, "has another length or size than the clip that it belongs to")
        return pose

    def require_keypoints(self, row: Clip) -> Path:
        """Return the file with the keypoints of a kept clip, after checking its sha256.

        Raises:
            MediaError: it is missing, or not the one that the manifest describes.
        """
        path = KEYPOINTS.path(self.folder, row.clip_id)
        try:
            require_own(self.folder, path, row.keypoints_sha256)
        except (OSError, ForeignFileError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise MediaError(path, f"{reason}; {_GET_AGAIN}") from error
        return path


def _require_tables(folder: Path) -> None:
    """Read what packs and rebuilds take over as it is: damage would only be noticed at the end."""
    read_placed(folder)
    read_members(folder)
    Removals.read(folder)


_GET_AGAIN: Final = "copy or download the pack again, or use the tpbench that wrote it"


def unfit(row: Clip) -> str | None:
    """Return why a kept clip can't be made again, as the end of a sentence; None if it can."""
    lacking = [name for name in _NEEDED if getattr(row, name) is None]
    if lacking:
        return f"can't be made again: the manifest lacks its {', '.join(lacking)}"
    start, end, n_frames = row.start_frame or 0, row.end_frame or 0, row.n_frames or 0
    if min(row.fps_num or 0, row.fps_den or 0) < 1:
        return f"has {row.fps_num}/{row.fps_den} frames a second: want more than 0"
    if start < 0 or end - start != n_frames:
        return f"has {n_frames} frames, but spans {start} to {end}"
    size_px = row.out_size_px or 0
    if not 2 <= size_px <= _MAX_SIDE_PX or size_px % 2:
        return f"is {size_px} px wide: want an even number up to {_MAX_SIDE_PX}"
    corners = row.crop_x0, row.crop_y0, row.crop_x1, row.crop_y1
    x0, y0, x1, y1 = (0.0 if corner is None else corner for corner in corners)
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        return f"has a crop outside its source: {x0:g}, {y0:g}, {x1:g}, {y1:g}"
    return None


def write_pack(
    dataset: Dataset | Path,
    out: Path,
    *,
    workers: int | None = None,
    on_progress: ProgressListener | None = None,
) -> Pack:
    """Write the pack of a dataset. It appears under its name once it is complete.

    Args:
        dataset: the dataset; every clip is decoded once.
        out: a folder that does not exist, or is empty.
        workers: clips decoded at the same time; None: one per core.
        on_progress: called after every clip.

    Raises:
        DatasetError: `out` holds something or lies in the dataset, a clip is missing or can't be
            made again, or there is no clip.
        MediaError: a clip or its keypoints can't be read.
    """
    opened = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    if lies_in(out, opened.folder):
        raise DatasetError(f"{out}: lies in the dataset itself; choose a folder beside it")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out}: exists already; choose a new or empty folder for the pack")
    _require_writable(out.absolute().parent)
    rows = [_public_row(row) for row in opened.clips(None)]
    kept = [row for row in rows if row.status == "kept"]
    _require_whole(opened, kept)
    _require_tables(opened.folder)
    progress = ProgressCounter("export", total=len(kept), before=0, listener=on_progress)
    with atomic_write(out) as staging:
        staging.mkdir()
        try:
            _fill(opened, staging, rows, progress, workers or usable_cores())
            if out.exists():
                out.rmdir()
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    return Pack.open(out)


def _require_writable(folder: Path) -> None:
    """Refuse a place where no pack can be written, before all clips are decoded for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryDirectory(dir=folder, prefix=".tpbench-").cleanup()
    except OSError as error:
        raise DatasetError(f"{folder}: can't write a pack here ({error.strerror})") from error


def _require_whole(dataset: Dataset, kept: Sequence[Clip]) -> None:
    """Refuse a dataset of which some clip can't be made again, before the work begins."""
    if not kept:
        raise DatasetError(f"{dataset.folder}: has no kept clips, so a pack of it would be empty")
    for row in kept:
        if (why := unfit(row)) is not None:
            raise DatasetError(f"{dataset.folder}: clip {row.clip_id} {why}")
    if missing := dataset.missing():
        raise DatasetError(
            f"{dataset.folder}: {number_of(len(missing), 'file')} of kept clips missing, such as "
            f"{missing[0].relative_to(dataset.folder)}; run the same `tpbench extract` again"
        )


def _public_row(row: Clip) -> Clip:
    """Return a row with the name of its source only, without the folder that the user gave."""
    name = PurePosixPath(row.source_path).name
    error = row.error
    if error is not None:
        error = public_message(error.replace(row.source_path, name))
    return replace(row, source_path=name, error=error)


def _fill(
    dataset: Dataset, folder: Path, rows: Sequence[Clip], progress: ProgressCounter, workers: int
) -> None:
    """Write all files of a pack, `pack.json` last."""
    kept = [row for row in rows if row.status == "kept"]
    write_info(folder, _public_info(dataset.info))
    write_manifest(folder, rows, part_rows=None)
    _write_marks(folder / MARKS_NAME, dataset, kept, progress, workers)
    for row in kept:
        source = dataset.keypoints_path(row)
        target = KEYPOINTS.make_place(folder, row.clip_id)
        shutil.copyfile(source, target)
        if sha256_of(target) != row.keypoints_sha256:
            raise MediaError(source, "not the file that the manifest describes (sha256 differs)")
    for name in CARRIED:
        _copy(dataset.folder / name, folder / name)
    _copy(dataset.folder / "README.md", folder / "CARD.md")
    atomic_write_text(folder / "README.md", _readme(dataset.info, len(kept)))
    PackInfo(
        name=dataset.info.name,
        version=dataset.info.version,
        tool_version=__version__,
        dataset_digest=dataset.digest,
        clips=len(kept),
        encoders=encoders(),
        files={path: sha256_of(folder / path) for path in sorted(_files_below(folder))},
    ).write(folder / PACK_NAME)


def _public_info(info: DatasetInfo) -> DatasetInfo:
    """Return `dataset.json` without what this machine took, and without local paths."""
    return info.model_copy(update={"run": None, "config": public_values(info.config)})


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
        for path in sorted(source.iterdir()):
            if path.is_file() and _CARRIED_PART.fullmatch(path.name):
                shutil.copyfile(path, target / path.name)
    elif source.is_file():
        shutil.copyfile(source, target)


def _files_below(folder: Path) -> Iterator[str]:
    """Yield the files that `pack.json` lists, relative to the pack."""
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and relative.parts[0] != KEYPOINTS.folder_name:
            yield relative.as_posix()


def encoders() -> dict[str, str]:
    """Return the versions of the libraries that decide the bytes of a clip."""
    import av

    versions = {"av": av.__version__}
    for name, version in av.library_versions.items():
        if name in {"libavcodec", "libswscale"}:
            versions[name] = ".".join(map(str, version))
    return versions


def _write_marks(
    path: Path,
    dataset: Dataset,
    kept: Sequence[Clip],
    progress: ProgressCounter,
    workers: int,
) -> None:
    """Mark all clips, decoding several at a time: libav works outside Python's lock."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def marked(row: Clip) -> bytes:
        path = dataset.clip_path(row)
        try:
            if sha256_of(path) != row.clip_sha256:
                raise MediaError(path, "not the file that the manifest describes (sha256 differs)")
        except OSError as error:
            raise MediaError(path, f"can't be read: {error.strerror}") from error
        return _checked_marks(dataset.folder, row, Marks.of(grids_of(path)).to_bytes())

    schema = pa.schema([("clip_id", pa.string()), ("marks", pa.binary())])
    executor = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="marks")
    try:
        with atomic_write(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
            for at in range(0, len(kept), _ROWS_AT_ONCE):
                piece = kept[at : at + _ROWS_AT_ONCE]
                found = []
                for row, marks in zip(piece, executor.map(marked, piece), strict=True):
                    found.append(marks)
                    progress.finish(row.clip_id, frames=row.n_frames, counts={})
                writer.write_table(pa.table([[row.clip_id for row in piece], found], schema=schema))
    finally:
        executor.shutdown(cancel_futures=True)


_ROWS_AT_ONCE: Final = 1024


def _read_marks(path: Path) -> dict[str, bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["clip_id", "marks"])
        ids, marks = table["clip_id"].to_pylist(), table["marks"].to_pylist()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DatasetError(f"{path}: not readable as Parquet ({reason}); {_GET_AGAIN}") from error
    return {clip_id: data for clip_id, data in zip(ids, marks, strict=True) if data}


def _checked_marks(folder: Path, row: Clip, data: bytes | None) -> bytes:
    """Return marks if they are those of as many frames as the clip has."""
    wanted = len(sampled_frames(row.n_frames or 0, Fraction(row.fps_num or 0, row.fps_den or 1)))
    try:
        found = 0 if data is None else len(Marks.from_bytes(data))
    except ValueError:
        found = 0
    if data is None or found != wanted:
        raise DatasetError(
            f"{folder}: clip {row.clip_id} has marks of {number_of(found, 'frame')}, want {wanted}"
        )
    return data


def _require_files(folder: Path, info: PackInfo) -> None:
    """Compare the files of a pack with what `pack.json` says of them."""
    for name in _TABLES:
        if name not in info.files:
            raise DatasetError(f"{folder / PACK_NAME}: lists no {name}; {_GET_AGAIN}")
    for name, sha256 in info.files.items():
        parts = PurePosixPath(name).parts
        if not all(map(_CARRIED_PART.fullmatch, parts)):
            raise DatasetError(f"{folder / PACK_NAME}: {printable(name)!r} is no file of a pack")
        try:
            require_own(folder, folder / name, sha256)
        except (OSError, ForeignFileError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DatasetError(f"{folder / name}: {reason}; {_GET_AGAIN}") from error


def _readme(info: DatasetInfo, clips: int) -> str:
    return f"""\
# Rebuild pack of {_one_line(info.name)} {_one_line(info.version)}

Times, crops, keypoints, filter measurements and splits of {number_of(clips, "clip")}. It holds no
picture and no sound. The card of the dataset is CARD.md.

With the source videos in a folder:

    pip install tpbench
    tpbench rebuild PACK --raw FOLDER --out DATASET

From the same files, the result has the digest
{info.digest}.
Of every clip, `rebuild` says whether it has the same bytes, shows the same pictures of a source
that was encoded again, shows other pictures, or has no source any more.
"""


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())
