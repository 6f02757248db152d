"""A dataset folder: its rows, and the paths of all files."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from tpbench.dataset.info import (
    Clip,
    DatasetInfo,
    SplitName,
    Status,
    check_clip_id,
    content_digest,
    read_info,
)
from tpbench.dataset.manifest import (
    DIGESTED,
    ManifestIndex,
    Table,
    digest_of_table,
    read_clips,
    read_manifest,
    read_table,
)
from tpbench.dataset.side_lists import read_version
from tpbench.errors import DatasetError, did_you_mean
from tpbench.files import sha256_of
from tpbench.foreign import printable
from tpbench.spread import entries, existing_path, make_place
from tpbench.storage.addresses import Address
from tpbench.wholebody import WholeBodyPose, load_pose

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

_MAX_NAMED: Final = 5
"""Most clip ids named in an error."""


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
            self._require_digest(digest_of_table(table))
            return table
        self._require_digest(digest_of_table(read_table(self.folder, columns=DIGESTED)))
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
