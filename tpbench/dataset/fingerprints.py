"""Fingerprints of clips, stored beside the dataset, and clips that nearly are the same.

A fingerprint holds hashes of a clip's heads (`head_hash`), about eight a second. No weights are
involved: heads are where the keypoints of the dataset say. `near_duplicates` compares all clips
(`alignment`).

`fingerprints.parquet` holds what was computed, so that it is computed once. It is private: exports
and packs leave it out, and it may be deleted. A row is used only for the bytes that it names, of
clip and keypoints, and only if this version wrote it; anything else is computed again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tpbench.dataset.alignment import HASHES_PER_S, HashedClip, Pair, find_pairs
from tpbench.dataset.folder import Dataset
from tpbench.dataset.head_hash import HASH_BYTES, Hashes, head_hash, head_squares
from tpbench.dataset.info import Clip
from tpbench.errors import DatasetError, MediaError, number_of
from tpbench.files import atomic_write, require_regular, sha256_of
from tpbench.video import decode_frames, probe
from tpbench.work import ProgressCounter, ProgressListener, usable_cores
from tpbench.work.threads import in_threads

logger = logging.getLogger(__name__)

FINGERPRINTS_NAME: Final = "fingerprints.parquet"
FINGERPRINTS_VERSION: Final = 1
"""Raised whenever another hash, or a hash of another frame, would be computed."""
_VERSION_KEY: Final = b"tpbench.fingerprints_version"
_SAVE_EVERY: Final = 1000
"""Clips after which new fingerprints are stored, in case the process is killed."""

Across = Literal["identities", "splits"]
"""Between what pairs are searched."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fingerprint:
    """The hashes of the heads in one clip, and the bytes that they were computed from."""

    clip_sha256: str
    keypoints_sha256: str
    n_frames: int
    """Frames of the clip, all of which could be decoded."""
    frames: NDArray[np.int32]
    """(n,) numbers of the frames that have a hash, rising. A frame without a face has none."""
    hashes: Hashes
    """(n, 2) uint64."""


def take_fingerprint(dataset: Dataset, clip: Clip) -> Fingerprint:
    """Decode a clip from its beginning to its end, and hash its heads about eight times a second.

    Raises:
        MediaError: clip or keypoints are missing, broken, not the files that the manifest
            describes, or of another length or rate than it states.
    """
    video, keypoints = dataset.clip_path(clip), dataset.keypoints_path(clip)
    for path, sha256 in ((video, clip.clip_sha256), (keypoints, clip.keypoints_sha256)):
        try:
            found = sha256_of(path)
        except OSError as error:
            raise MediaError(path, f"can't be read ({error.strerror})") from error
        if found != sha256:
            raise MediaError(path, "not the file that the manifest describes (sha256 differs)")
    pose = dataset.load_pose(clip)
    info = probe(video)
    fps = Fraction(clip.fps_num or 0, clip.fps_den or 1)
    if (info.frame_count, info.fps) != (clip.n_frames, fps):
        raise MediaError(
            video,
            f"has {number_of(info.frame_count, 'frame')} at {info.fps} a second, and the manifest "
            f"states {clip.n_frames} at {fps}",
        )
    if len(pose) != info.frame_count:
        raise MediaError(
            keypoints, f"is of {number_of(len(pose), 'frame')}, its clip has {info.frame_count}"
        )
    frames, hashes = [], []
    step = max(1, round(info.fps / HASHES_PER_S))
    squares = head_squares(pose, float(info.fps))
    for frame in decode_frames(video, info=info):
        square = squares[frame.index]
        if frame.index % step or np.isnan(square).any():
            continue
        made = head_hash(frame.to_rgb(), square)
        if made is not None:
            frames.append(frame.index)
            hashes.append(made)
    return Fingerprint(
        clip_sha256=clip.clip_sha256 or "",
        keypoints_sha256=clip.keypoints_sha256 or "",
        n_frames=info.frame_count,
        frames=np.array(frames, dtype=np.int32),
        hashes=np.array(hashes, dtype=np.uint64).reshape(-1, 2),
    )


def read_fingerprints(folder: Path) -> dict[tuple[str, str], Fingerprint]:
    """Return the stored fingerprints by the sha256 of clip and keypoints.

    Empty if there are none, or another version wrote them; broken rows are left out.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / FINGERPRINTS_NAME
    try:
        require_regular(path)
        table = pq.read_table(path)
    except FileNotFoundError:
        return {}
    except (pa.ArrowException, OSError) as error:
        logger.warning("%s: not readable (%s); computed again", path, str(error).splitlines()[0])
        return {}
    version = (table.schema.metadata or {}).get(_VERSION_KEY)
    if version != str(FINGERPRINTS_VERSION).encode() or not table.schema.equals(_schema()):
        logger.info("%s: of another version; computed again", path)
        return {}
    rows = (row for batch in table.to_batches(max_chunksize=1024) for row in batch.to_pylist())
    read = (_from_row(row) for row in rows)
    return {(one.clip_sha256, one.keypoints_sha256): one for one in read if one is not None}


def write_fingerprints(folder: Path, fingerprints: Iterable[Fingerprint]) -> Path:
    """Write `folder/fingerprints.parquet` atomically, sorted by the sha256 of the clips."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / FINGERPRINTS_NAME
    ordered = iter(sorted(fingerprints, key=lambda one: (one.clip_sha256, one.keypoints_sha256)))
    with (
        atomic_write(path) as temporary,
        pq.ParquetWriter(temporary, _schema(), compression="zstd") as writer,
    ):
        while piece := list(islice(ordered, 1024)):
            writer.write_table(pa.Table.from_pylist(list(map(_to_row, piece)), schema=_schema()))
    return path


def _schema() -> Any:  # noqa: ANN401 - pyarrow has no types
    import pyarrow as pa

    columns = [
        pa.field("clip_sha256", pa.string()),
        pa.field("keypoints_sha256", pa.string()),
        pa.field("n_frames", pa.int32()),
        pa.field("frames", pa.list_(pa.field("element", pa.int32()))),
        pa.field("hashes", pa.binary()),
    ]
    return pa.schema(columns, metadata={_VERSION_KEY: str(FINGERPRINTS_VERSION).encode()})


def _to_row(one: Fingerprint) -> dict[str, Any]:
    return {
        "clip_sha256": one.clip_sha256,
        "keypoints_sha256": one.keypoints_sha256,
        "n_frames": one.n_frames,
        "frames": one.frames.tolist(),
        "hashes": one.hashes.astype(">u8").tobytes(),
    }


def _from_row(row: Mapping[str, Any]) -> Fingerprint | None:
    """Return a stored fingerprint; None if the row can't be one."""
    if None in row.values() or None in row["frames"]:
        return None
    frames = np.array(row["frames"], dtype=np.int32)
    if len(row["hashes"]) != HASH_BYTES * len(frames):
        return None
    if len(frames) and not (frames[0] >= 0 and frames[-1] < row["n_frames"]):
        return None
    if (np.diff(frames) <= 0).any():
        return None
    hashes = np.frombuffer(row["hashes"], dtype=">u8").astype(np.uint64).reshape(-1, 2)
    return Fingerprint(
        clip_sha256=row["clip_sha256"],
        keypoints_sha256=row["keypoints_sha256"],
        n_frames=row["n_frames"],
        frames=frames,
        hashes=hashes,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fingerprinted:
    """The fingerprints of a dataset's clips."""

    by_clip: Mapping[str, Fingerprint]
    """Clip id -> its fingerprint."""
    errors: Mapping[str, MediaError]
    """Clip id -> why it has none."""


def fingerprint_clips(
    dataset: Dataset,
    clips: Sequence[Clip],
    *,
    workers: int | None = None,
    listener: ProgressListener | None = None,
) -> Fingerprinted:
    """Return the fingerprints of kept clips; those not stored yet are computed and stored.

    A folder that can't be written gets none stored. What was computed is also stored if the process
    is interrupted.

    Args:
        dataset: theirs.
        clips: kept ones; fingerprints of others are forgotten.
        workers: threads; one per core if not given.
        listener: is told whenever a clip is done.
    """
    stored = read_fingerprints(dataset.folder)
    wanted = {_key(clip) for clip in clips}
    table = {key: one for key, one in stored.items() if key in wanted}
    by_clip: dict[str, Fingerprint] = {}
    errors: dict[str, MediaError] = {}

    def take(clip: Clip) -> Fingerprint | MediaError:
        known = table.get(_key(clip))
        if known is not None and known.n_frames == clip.n_frames:
            return known
        try:
            return take_fingerprint(dataset, clip)
        except MediaError as error:
            return error

    counter = ProgressCounter("pictures", total=len(clips), listener=listener)
    is_stale = len(table) != len(stored)
    n_new = 0
    try:
        for clip, made in in_threads(take, clips, workers=workers or usable_cores()):
            if isinstance(made, MediaError):
                errors[clip.clip_id] = made
            else:
                by_clip[clip.clip_id] = made
                n_new += table.get(_key(clip)) is not made
                table[_key(clip)] = made
            counter.finish(clip.clip_id, frames=clip.n_frames, counts={})
            if n_new >= _SAVE_EVERY:
                _store(dataset.folder, table.values())
                n_new = 0
    finally:
        if n_new or is_stale:
            _store(dataset.folder, table.values())
    return Fingerprinted(by_clip=by_clip, errors=errors)


def _key(clip: Clip) -> tuple[str, str]:
    return clip.clip_sha256 or "", clip.keypoints_sha256 or ""


def _store(folder: Path, fingerprints: Iterable[Fingerprint]) -> None:
    try:
        write_fingerprints(folder, fingerprints)
    except OSError as error:
        logger.warning(
            "%s: fingerprints can't be stored (%s); the next check computes them again",
            folder / FINGERPRINTS_NAME,
            error.strerror,
        )


def hashed(
    clips: Iterable[Clip], fingerprints: Mapping[str, Fingerprint], *, across: Across
) -> list[HashedClip]:
    """Return clips as `find_pairs` compares them; those without a fingerprint are left out."""
    return [
        HashedClip(
            clip_id=clip.clip_id,
            group=(clip.identity if across == "identities" else clip.split) or "",
            times_s=one.frames * (clip.fps_den or 1) / (clip.fps_num or 1),
            hashes=one.hashes,
        )
        for clip in clips
        if (one := fingerprints.get(clip.clip_id)) is not None
    ]


def near_duplicates(
    dataset: Dataset, *, workers: int | None = None, listener: ProgressListener | None = None
) -> list[Pair]:
    """Return the pairs of clips of different identities that show the same pictures for a while.

    Clips of one identity are not compared: they are on the same side of every split. Mirroring,
    another encoding, size, crop, rate or start don't hide a copy; another speed does.

    Args:
        dataset: finished; its fingerprints are stored in its folder.
        workers: threads; one per core if not given.
        listener: is told of every clip, in the steps "pictures" and "pairs".

    Raises:
        DatasetError: clips or keypoints are missing or can't be read.
    """
    clips = dataset.clips()
    taken = fingerprint_clips(dataset, clips, workers=workers, listener=listener)
    if taken.errors:
        first = next(iter(taken.errors.values()))
        raise DatasetError(
            f"{dataset.folder}: {number_of(len(taken.errors), 'clip')} can't be compared with "
            f"others, the first because of {first}; `tpbench check {dataset.folder}` lists all"
        )
    prints = hashed(clips, taken.by_clip, across="identities")
    return sorted(find_pairs(prints, workers=workers or usable_cores(), listener=listener))
