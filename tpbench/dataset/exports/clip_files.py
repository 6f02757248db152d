"""The files of kept clips, as exports take them over: opened inside the dataset, and checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final

from tpbench.dataset.folder import CLIP_VIDEO, KEYPOINTS, POSE_VIDEO, ClipFile, Dataset
from tpbench.dataset.info import Clip
from tpbench.errors import DatasetError
from tpbench.files import atomic_write, sha256_of
from tpbench.foreign import ForeignFileError, copy_checked, opened_inside, require_own
from tpbench.wholebody import WholeBodyPose, load_pose

_HASH_OF: Final = {
    CLIP_VIDEO: "clip_sha256",
    KEYPOINTS: "keypoints_sha256",
    POSE_VIDEO: "pose_sha256",
}


class CheckedReader:
    """An open file of a clip, for `tarfile`: what is read from it is hashed on the way."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def read(self, n_bytes: int = -1) -> bytes:
        """Return the next bytes."""
        piece = self._file.read(n_bytes)
        self._digest.update(piece)
        return piece

    @property
    def sha256(self) -> str:
        """Of the bytes that were read."""
        return self._digest.hexdigest()


def bytes_of(dataset: Dataset, clips: Sequence[Clip], kinds: Sequence[ClipFile]) -> int:
    """Return the bytes of these files of these clips together.

    Raises:
        DatasetError: one is missing.
    """
    total = 0
    for clip in clips:
        for kind in kinds:
            path = kind.path(dataset.folder, clip.clip_id)
            try:
                total += path.stat().st_size
            except OSError as error:
                raise _unfit(path, error.strerror or str(error)) from error
    return total


def below(dataset: Dataset, clip: Clip, kind: ClipFile) -> str:
    """Return the path of a clip's file relative to the dataset: `clips/ab/<clip_id>.mp4`."""
    return kind.path(dataset.folder, clip.clip_id).relative_to(dataset.folder).as_posix()


@contextmanager
def opened(dataset: Dataset, clip: Clip, kind: ClipFile) -> Iterator[tuple[CheckedReader, int]]:
    """Open a file of a clip; gives it with its size, and compares what was read at the end.

    Raises:
        DatasetError: it is missing, leads out of its folder, or is not the one that the manifest
            describes.
    """
    path = kind.path(dataset.folder, clip.clip_id)
    with _opened(path, kind, dataset) as file:
        reader = CheckedReader(file)
        yield reader, os.fstat(file.fileno()).st_size
        if reader.sha256 != getattr(clip, _HASH_OF[kind]):
            raise _unfit(path, "not the file that the manifest describes (sha256 differs)")


def copy(dataset: Dataset, clip: Clip, kind: ClipFile, target: Path) -> Path:
    """Copy a file of a clip, and return the copy; whoever needs it to last has to sync it.

    A copy that an interrupted run left is not made again if it has the right content.

    Raises:
        DatasetError: as `opened`.
    """
    path = kind.path(dataset.folder, clip.clip_id)
    wanted = getattr(clip, _HASH_OF[kind])
    if target.is_file() and not target.is_symlink() and sha256_of(target) == wanted:
        return target
    with _opened(path, kind, dataset) as file, atomic_write(target) as temporary:
        if not copy_checked(file, temporary, wanted):
            raise _unfit(path, "not the file that the manifest describes (sha256 differs)")
    return target


def checked_pose(dataset: Dataset, clip: Clip) -> WholeBodyPose:
    """Read the keypoints of a clip.

    Raises:
        DatasetError: as `opened`.
        MediaError: they can't be read.
    """
    path = dataset.keypoints_path(clip)
    try:
        require_own(KEYPOINTS.home(dataset.folder), path, clip.keypoints_sha256)
    except (OSError, ForeignFileError) as error:
        raise _unfit(path, getattr(error, "strerror", None) or str(error)) from error
    return load_pose(path)


@contextmanager
def _opened(path: Path, kind: ClipFile, dataset: Dataset) -> Iterator[BufferedReader]:
    with ExitStack() as stack:
        try:
            file = stack.enter_context(opened_inside(kind.home(dataset.folder), path))
        except (OSError, ForeignFileError) as error:
            raise _unfit(path, getattr(error, "strerror", None) or str(error)) from error
        yield file


def _unfit(path: Path, reason: str) -> DatasetError:
    return DatasetError(f"{path}: {reason}; `tpbench inspect --verify` lists all such files")
