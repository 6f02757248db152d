"""Feature vectors on disk, and what is kept of real clips: their features and skeletons."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.suite import DetectorSuite
from tpbench.errors import MediaError
from tpbench.files import open_regular
from tpbench.metrics.curves import WINDOW_FRAMES
from tpbench.metrics.scoring.tools import ClipSetting, FrameChunk, PoseChunk, SkeletonFinder
from tpbench.weights.store import cache_dir
from tpbench.wholebody import WholeBodyPose, load_pose, save_pose

_PIECE_BYTES: Final = 1 << 20


class FeatureWriter:
    """Writes vectors whose number is known beforehand, aside; `commit` gives them their name.

    Args:
        path: where the .npy shall be; an older one is replaced.
        n: how many vectors will come.
        dim: their length.
    """

    def __init__(self, path: Path, *, n: int, dim: int) -> None:
        self.path = path
        self._shape = (n, dim)
        self._n_written = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        self._file: BinaryIO | None = self._temporary.open("wb")
        self._digest = hashlib.sha256()
        header = io.BytesIO()
        fields = {"descr": "<f4", "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(header, fields)
        self._write(self._file, header.getvalue())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add vectors, (k, dim), k may be 0.

        Raises:
            OSError: the disk is full.
        """
        if self._file is None or rows.ndim != 2 or rows.shape[1] != self._shape[1]:
            raise ValueError(
                f"{self.path.name}: want (k, {self._shape[1]}) before the end, got {rows.shape}"
            )
        self._write(self._file, np.ascontiguousarray(rows, dtype="<f4").tobytes())
        self._n_written += len(rows)

    def commit(self) -> None:
        """End the file and give it its name.

        Raises:
            ValueError: fewer or more vectors came than were announced.
            OSError: the disk is full.
        """
        if self._file is None or self._n_written != self._shape[0]:
            raise ValueError(
                f"{self.path.name}: {self._n_written} vectors came, not {self._shape[0]}"
            )
        self._file.write(self._digest.digest())
        self._file.close()
        self._file = None
        self._temporary.replace(self.path)

    def discard(self) -> None:
        """Forget what was not committed. Harmless afterwards, and when repeated."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        self._temporary.unlink(missing_ok=True)

    def _write(self, file: BinaryIO, data: bytes) -> None:
        self._digest.update(data)
        file.write(data)


def n_windows(n_frames: int, *, stride: int) -> int:
    """Return how many windows of 16 frames a clip gives; frames that fill none are left out."""
    return max(0, (n_frames - WINDOW_FRAMES) // stride + 1)


def read_features(path: Path, *, n: int, dim: int) -> NDArray[np.float32] | None:
    """Return the (n, dim) float32 vectors of a file, read as they are used.

    None where the file is absent, damaged, or holds another number of vectors: make it again then.
    """
    try:
        if not _is_whole(path):
            return None
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (n, dim) and found.dtype == np.float32 else None


def _is_whole(path: Path) -> bool:
    """Whether a file ends with the sha256 of what precedes it."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        left = os.fstat(file.fileno()).st_size - digest.digest_size
        while left > 0 and (piece := file.read(min(left, _PIECE_BYTES))):
            digest.update(piece)
            left -= len(piece)
        return left == 0 and file.read() == digest.digest()


SKELETONS: Final = "skeletons"
"""The folder of skeletons; the others are named after the meter whose features they hold."""
_CONTENT_DIGITS: Final = 32

_ENTRY: Final = re.compile(r"(?:(?P<content>[0-9a-f]{32})-)?[0-9a-f]{64}\.np[yz]")
"""Without `content`: made by a version that did not put it into the name."""
_HALF_WRITTEN: Final = re.compile(
    r"\.(?:[0-9a-f]{32}-)?[0-9a-f]{64}\.np[yz]\.[0-9a-f]{8,32}\.tmp(?:\.np[yz])?"
)
_ABANDONED_S: Final = 24 * 3600
"""A half-written file that nobody touched for so long is nobody's any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """One file of the cache."""

    path: Path
    kind: str
    """`skeletons`, or the name of a meter of features."""
    content: str | None
    """First 32 hex digits of the real clip's sha256; None in files of older versions."""
    size_bytes: int
    used_s: float
    """When it was last read or written, seconds since the epoch."""


def real_cache_dir() -> Path:
    """Return the folder of the cache, `features` in the cache folder. It need not exist."""
    return cache_dir() / "features"


def content_key(real_sha256: str, key: str) -> str:
    """Return the name of an entry: whose content it describes, then `key` for all else."""
    return f"{real_sha256[:_CONTENT_DIGITS]}-{key}"


def mark_used(path: Path) -> None:
    """Note that an entry was read: what was not used for longest goes first.

    The time of access is set by hand, since many file systems don't keep it.
    """
    with contextlib.suppress(OSError):  # a cache that others share may be read-only
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def entries(folder: Path) -> list[CacheEntry]:
    """Return all entries, the one unused for longest first; links and strangers' files are none.

    Args:
        folder: of the cache; it need not exist.
    """
    found = [entry for path in _files(folder) if (entry := _entry(path)) is not None]
    return sorted(found, key=lambda entry: (entry.used_s, entry.path))


def trim(
    folder: Path, *, max_bytes: int | None = None, max_age_s: float | None = None
) -> list[CacheEntry]:
    """Remove what was not used for longest, until the rest fits.

    Args:
        folder: of the cache.
        max_bytes: what the rest may take together; no limit if not given.
        max_age_s: how long ago the rest may have been used; no limit if not given.

    Returns:
        What was removed.
    """
    left = entries(folder)
    total_bytes = sum(entry.size_bytes for entry in left)
    now_s = time.time()
    removed = []
    for entry in left:
        too_old = max_age_s is not None and now_s - entry.used_s > max_age_s
        too_much = max_bytes is not None and total_bytes > max_bytes
        if too_old or too_much:
            entry.path.unlink(missing_ok=True)
            total_bytes -= entry.size_bytes
            removed.append(entry)
    _sweep(folder)
    return removed


def clear(
    folder: Path, *, kinds: Collection[str] = (), contents: Collection[str] = ()
) -> list[CacheEntry]:
    """Remove entries.

    Args:
        folder: of the cache.
        kinds: only of these kinds; of all if empty.
        contents: only those of real clips with these sha256; of all if empty. Files of older
            versions don't say whose they are, so they go too.

    Returns:
        What was removed.
    """
    wanted = {sha256[:_CONTENT_DIGITS] for sha256 in contents}
    removed = [
        entry
        for entry in entries(folder)
        if (not kinds or entry.kind in kinds)
        and (not wanted or entry.content is None or entry.content in wanted)
    ]
    for entry in removed:
        entry.path.unlink(missing_ok=True)
    _sweep(folder)
    return removed


def _files(folder: Path) -> Iterator[Path]:
    """Yield the regular files at the depth of entries; no link is followed."""
    for kind in _subfolders(folder):
        for digits in _subfolders(kind):
            for path in sorted(digits.iterdir()):
                if path.is_file() and not path.is_symlink():
                    yield path


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def _entry(path: Path) -> CacheEntry | None:
    match = _ENTRY.fullmatch(path.name)
    if match is None:
        return None
    try:
        found = path.stat()
    except FileNotFoundError:  # another process took it away
        return None
    return CacheEntry(
        path=path,
        kind=path.parent.parent.name,
        content=match["content"],
        size_bytes=found.st_size,
        used_s=max(found.st_atime, found.st_mtime),
    )


def _sweep(folder: Path) -> None:
    """Remove half-written files that were abandoned."""
    for path in _files(folder):
        abandoned = time.time() - path.stat().st_mtime > _ABANDONED_S
        if _HALF_WRITTEN.fullmatch(path.name) and abandoned:
            path.unlink(missing_ok=True)


Maker = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]
"""Takes the next frames of a clip and returns the vectors (k, dim) they complete."""


class FeatureMeter:
    """Makes features of both clips; those of the real one only where they are not kept already.

    Args:
        setting: of the clip; says where the features go.
        n: vectors that a clip of this length gives.
        dim: their length.
        make_maker: of one clip; called once for each side.
    """

    def __init__(
        self, setting: ClipSetting, *, n: int, dim: int, make_maker: Callable[[], Maker]
    ) -> None:
        self._generated = FeatureWriter(setting.generated_features, n=n, dim=dim)
        setting.cleanup.callback(self._generated.discard)
        self._make_generated = make_maker()
        self._real: FeatureWriter | None = None
        if read_features(setting.real_features, n=n, dim=dim) is None:
            self._real = FeatureWriter(setting.real_features, n=n, dim=dim)
            setting.cleanup.callback(self._real.discard)
        else:
            mark_used(setting.real_features)
        self._make_real = make_maker()

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        self._generated.append(self._make_generated(chunk.generated))
        if self._real is not None:
            self._real.append(self._make_real(chunk.real))

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """Give the files their names; there are no columns."""
        self._generated.commit()
        if self._real is not None:
            self._real.commit()
        return {}


class RealSkeletons:
    """Skeletons of a real clip: found once, then read again by whoever scores against it.

    Args:
        path: where they are kept; content decides the name, so what is there is right if it is
            whole.
        finder: finds them where they are not there.
        n_frames: of the clip.
        size_px: width and height of the clip.
    """

    def __init__(
        self, path: Path, finder: SkeletonFinder, *, n_frames: int, size_px: tuple[int, int]
    ) -> None:
        self._path, self._finder, self._size_px = path, finder, size_px
        self._kept = _read_skeletons(path, n_frames)
        self._found: list[PoseChunk] = []
        self._at = 0

    def next(self, images: Sequence[NDArray[np.uint8]]) -> PoseChunk:
        """Return the skeletons of the next frames."""
        if self._kept is None:
            self._found.append(self._finder.find(images))
            return self._found[-1]
        part = slice(self._at, self._at + len(images))
        self._at = part.stop
        return PoseChunk(keypoints=self._kept.keypoints[part], scores=self._kept.scores[part])

    def keep(self, suite: DetectorSuite) -> None:
        """Write down what was found, once the clip has ended."""
        if self._kept is None and self._found:
            pose = WholeBodyPose(
                keypoints=np.concatenate([chunk.keypoints for chunk in self._found]),
                scores=np.concatenate([chunk.scores for chunk in self._found]),
                width_px=self._size_px[0],
                height_px=self._size_px[1],
                source=suite.source,
                model_digest=suite.skeleton_digest,
            )
            save_pose(self._path, pose)


def _read_skeletons(path: Path, n_frames: int) -> WholeBodyPose | None:
    try:
        pose = load_pose(path)
    except MediaError:
        return None
    if len(pose) != n_frames:
        return None
    mark_used(path)
    return pose
