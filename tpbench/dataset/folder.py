"""A finished dataset on disk, opened for reading."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tpbench.dataset.clip import check_clip_id
from tpbench.dataset.info import content_digest, read_info
from tpbench.dataset.manifest import ManifestIndex, read_clips, read_manifest
from tpbench.errors import DatasetError, did_you_mean
from tpbench.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from tpbench.dataset.clip import Clip, SplitName, Status
    from tpbench.dataset.info import DatasetInfo
    from tpbench.wholebody import WholeBodyPose

CLIPS_FOLDER: Final = "clips"
KEYPOINTS_FOLDER: Final = "keypoints"
POSES_FOLDER: Final = "poses"

LEDGER_FILE: Final = Path(".ledger") / "local.sqlite"
"""Below the dataset: what is done and what is left to do, on the machine that makes it. Whoever
writes into the dataset holds its lock. It is private, and no part of what is published."""


def clip_path(folder: Path, clip_id: str) -> Path:
    """Return where the clip's video lies: `folder/clips/<clip_id>.mp4`."""
    return folder / CLIPS_FOLDER / f"{check_clip_id(clip_id)}.mp4"


def keypoints_path(folder: Path, clip_id: str) -> Path:
    """Return where the clip's keypoints lie: `folder/keypoints/<clip_id>.npz`."""
    return folder / KEYPOINTS_FOLDER / f"{check_clip_id(clip_id)}.npz"


def pose_path(folder: Path, clip_id: str) -> Path:
    """Return where the clip's DWPose drawing lies: `folder/poses/<clip_id>.mp4`."""
    return folder / POSES_FOLDER / f"{check_clip_id(clip_id)}.mp4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset folder. Make one with `Dataset.open`.

    >>> dataset = Dataset.open("talks")                           # doctest: +SKIP
    >>> for clip in dataset.clips(split="test"):                  # doctest: +SKIP
    ...     pose = dataset.load_pose(clip)
    """

    folder: Path
    info: DatasetInfo
    _index: list[ManifestIndex] = field(default_factory=list, init=False, repr=False, compare=False)
    """None or one: rows that are asked for by id are looked up, not read through each time."""

    @classmethod
    def open(cls, folder: Path | str) -> Dataset:
        """Open a dataset; reads `dataset.json` only.

        Raises:
            DatasetError: there is none, or it is of another version or broken.
        """
        return cls(folder=Path(folder), info=read_info(Path(folder)))

    @property
    def digest(self) -> str:
        """sha256 over ids and file hashes of the kept clips: equal content, equal digest."""
        return self.info.digest

    @property
    def identities(self) -> tuple[str, ...]:
        """Who is seen in the kept clips, sorted."""
        return tuple(sorted({clip.identity or "" for clip in self.clips()}))

    def manifest(self) -> pd.DataFrame:
        """Return all rows, kept and rejected, as a data frame (see `read_manifest`)."""
        return read_manifest(self.folder)

    def clips(
        self, status: Status | None = "kept", *, split: SplitName | None = None
    ) -> list[Clip]:
        """Return rows in the order of their clip_id.

        Args:
            status: only rows of this status; None for all.
            split: only rows on this side of the split.

        Raises:
            DatasetError: a split is asked for and there is none, or the manifest is not the one
                that `dataset.json` describes (a run was killed between the two).
        """
        if split is not None and self.info.split is None:
            msg = f"{self.folder}: not split yet; run `tpbench split {self.folder}`"
            raise DatasetError(msg)
        clips = read_clips(self.folder, status=status)
        if status in {None, "kept"}:
            self._require_digest(content_digest(clips))
        return [clip for clip in clips if split is None or clip.split == split]

    def clip(self, clip_id: str) -> Clip:
        """Return one row, whatever its status.

        Raises:
            DatasetError: there is no such clip; names the closest one.
        """
        index = self._opened_index()
        if clip_id not in index.clip_ids:
            hint = (
                did_you_mean(clip_id, index.clip_ids)
                if index.clip_ids
                else ("; the manifest is empty")
            )
            # A long list of all ids would bury the message.
            hint = (
                hint if len(hint) < 200 else f"; `tpbench inspect {self.folder} --json` lists all"
            )
            msg = f"{self.folder}: no clip {clip_id!r}{hint}"
            raise DatasetError(msg)
        return index.clip(clip_id)

    def _opened_index(self) -> ManifestIndex:
        """Return the manifest as it was when a row was first asked for."""
        if not self._index:
            index = ManifestIndex(self.folder)
            self._require_digest(index.digest())
            self._index.append(index)
        return self._index[0]

    def _require_digest(self, digest: str) -> None:
        if digest != self.digest:
            msg = (
                f"{self.folder}: manifest.parquet and dataset.json do not belong together; "
                "run `tpbench extract` into it again to finish it"
            )
            raise DatasetError(msg)

    def clip_path(self, clip: Clip) -> Path:
        """Return where the clip's video lies."""
        return clip_path(self.folder, clip.clip_id)

    def keypoints_path(self, clip: Clip) -> Path:
        """Return where the clip's keypoints lie."""
        return keypoints_path(self.folder, clip.clip_id)

    def pose_path(self, clip: Clip) -> Path:
        """Return where the clip's DWPose drawing lies."""
        return pose_path(self.folder, clip.clip_id)

    def load_pose(self, clip: Clip) -> WholeBodyPose:
        """Read the clip's keypoints.

        Raises:
            MediaError: the file is absent or broken.
        """
        from tpbench.wholebody import load_pose

        return load_pose(self.keypoints_path(clip))

    def missing(self) -> list[Path]:
        """Return the files of kept clips that are not there; looks at names only, reads none."""
        paths = (
            path_of(self.folder, clip.clip_id)
            for clip in self.clips()
            for path_of in (clip_path, keypoints_path, pose_path)
        )
        return [path for path in paths if not path.is_file()]

    def verify(self) -> list[str]:
        """Hash all files of the kept clips and return one line per problem; none when all is well.

        A problem is a file that is missing, has other bytes than the manifest says, or lies in
        `clips/`, `keypoints/` or `poses/` without a kept row.
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
        for name in (CLIPS_FOLDER, KEYPOINTS_FOLDER, POSES_FOLDER):
            for path in sorted((self.folder / name).glob("*")):
                if path not in expected:
                    yield f"{path}: belongs to no kept clip"
