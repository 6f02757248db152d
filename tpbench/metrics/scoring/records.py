"""What was measured of one pair of clips, on disk: per-frame columns and what they depend on.

A record names, for each meter, the key of all that its values depend on: contents of both clips,
policies, weights, versions. A value is used again only under an equal key, so nothing stale is
taken for finished, and nothing finished is measured twice.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tpbench.files import sha256_of, written_aside
from tpbench.metrics.scoring.features import SKELETONS, mark_used, n_windows, read_features
from tpbench.metrics.scoring.meters import METERS
from tpbench.wholebody import read_npz

_META = "meta"

_MAX_BYTES = 1 << 30
"""Of all columns of one clip; each takes 8 bytes a frame."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipRecord:
    """What was measured of one pair of clips."""

    clip_id: str
    real_sha256: str
    generated_sha256: str
    n_frames: int
    """Frames scored."""
    first_frame: int
    """Number of the first of them in the clip."""
    width_px: int
    height_px: int
    fps: Fraction | None
    """Of the real clip; None where neither clip has a rate."""
    codec: str
    """Of the generated clip: a lossy one has a floor of its own."""
    notes: tuple[str, ...]
    """What policies did."""
    keys: Mapping[str, str]
    """By meter: the key its values were measured under."""
    features: Mapping[str, str]
    """By meter of features: sha256 of the file with the generated clip's."""
    real_features: Mapping[str, str]
    """By meter of features: the key under which the real clip's are kept."""
    columns: Mapping[str, NDArray[np.float64]] = field(repr=False)
    """(n_frames,) each."""


class RecordFolder:
    """The records of one scoring, and the features of its generated clips.

    Args:
        folder: where they lie; made when something is written.
        cache: where features of real clips lie, for all scorings.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self._folder, self._cache = folder, cache

    def record_path(self, clip_id: str) -> Path:
        """Return where the record of a clip lies."""
        return self._folder / f"{_slug(clip_id)}.npz"

    def generated_features(self, clip_id: str, meter: str) -> Path:
        """Return where a generated clip's features lie."""
        return self._folder / f"{_slug(clip_id)}.{meter}.npy"

    def real_features(self, meter: str, key: str) -> Path:
        """Return where a real clip's features lie; `key` names all that they depend on."""
        return self._cache / meter / key[:2] / f"{key}.npy"

    def real_skeletons(self, key: str) -> Path:
        """Return where a real clip's skeletons lie."""
        return self._cache / SKELETONS / key[:2] / f"{key}.npz"

    def write(self, record: ClipRecord) -> None:
        """Write a record, aside and renamed; equal records give equal bytes."""
        meta = {
            "clip_id": record.clip_id,
            "real_sha256": record.real_sha256,
            "generated_sha256": record.generated_sha256,
            "n_frames": record.n_frames,
            "first_frame": record.first_frame,
            "width_px": record.width_px,
            "height_px": record.height_px,
            "fps": None if record.fps is None else str(record.fps),
            "codec": record.codec,
            "notes": list(record.notes),
            "keys": dict(record.keys),
            "features": dict(record.features),
            "real_features": dict(record.real_features),
        }
        arrays = {f"column/{name}": record.columns[name] for name in sorted(record.columns)}
        text = np.array(json.dumps(meta, sort_keys=True))
        path = self.record_path(record.clip_id)
        with written_aside(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **{_META: text, **arrays})

    def read(self, clip_id: str) -> ClipRecord | None:
        """Return the record of a clip; None where there is none, or it is not whole."""
        path = self.record_path(clip_id)
        try:
            data = read_npz(path, max_bytes=_MAX_BYTES)
            meta: dict[str, Any] = json.loads(str(data.pop(_META)))
            columns = {name.removeprefix("column/"): values for name, values in data.items()}
            if any(values.ndim != 1 or values.dtype != np.float64 for values in columns.values()):
                return None
            fps = meta.pop("fps")
            record = ClipRecord(
                **{**meta, "notes": tuple(meta["notes"])},
                fps=None if fps is None else Fraction(fps),
                columns=columns,
            )
        except Exception:  # noqa: BLE001 - zipfile, zlib, numpy raise a dozen kinds over bad bytes
            return None
        return record if record.clip_id == clip_id else None

    def discard(self, clip_ids: Iterable[str]) -> None:
        """Take away what was measured of clips; other files stay."""
        for clip_id in clip_ids:
            self.record_path(clip_id).unlink(missing_ok=True)
            for meter in METERS:
                self.generated_features(clip_id, meter).unlink(missing_ok=True)

    def finished(self, record: ClipRecord | None, keys: Mapping[str, str]) -> frozenset[str]:
        """Return the meters whose values are there, whole, and measured under the keys of now."""
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

    def _has_features(self, record: ClipRecord, name: str) -> bool:
        generated = self.generated_features(record.clip_id, name)
        real = self.real_features(name, record.real_features.get(name, ""))
        size = {"n": feature_count(name, record.n_frames), "dim": METERS[name].feature_dim}
        if any(read_features(path, **size) is None for path in (generated, real)):
            return False
        mark_used(real)
        return sha256_of(generated) == record.features.get(name)


def feature_count(meter: str, n_frames: int) -> int:
    """Return how many vectors a meter of features makes of so many frames."""
    stride = METERS[meter].feature_stride
    return n_windows(n_frames, stride=stride) if stride else n_frames


def key_of(material: Mapping[str, object]) -> str:
    """Return a sha256 over named values that JSON can hold."""
    return hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()


def _slug(clip_id: str) -> str:
    """Return a file name for a clip id, which may be a path or hold anything.

    >>> _slug("sub/a b")
    'sub_a_b-9fe0fc47'
    """
    readable = re.sub(r"[^A-Za-z0-9_-]", "_", clip_id)[-80:]
    return f"{readable}-{hashlib.sha256(clip_id.encode()).hexdigest()[:8]}"
