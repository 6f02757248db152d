"""`dataset.json`: what a dataset is, how it was made and what came of it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from tpbench.errors import DatasetError
from tpbench.files import write_text_aside
from tpbench.foreign import ForeignFileError, read_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tpbench.dataset.clip import Clip

INFO_NAME: Final = "dataset.json"
SCHEMA_VERSION: Final = 1

Direction = Literal["at_least", "at_most", "none"]
"""Which side of its threshold a kept clip lies on; "none" where there is no threshold."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measurement(_Record):
    """What a manifest column `m_<name>` means."""

    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    title: str
    """A few words for the head of a plot."""

    unit: str = ""
    """Such as "px", "deg", "s"; "share" for values in [0, 1]; empty where there is none."""

    direction: Direction = "none"
    code: str = ""
    """The reject code of the filter that judges it."""

    meaning: str = ""
    """One sentence: what a large or small value says of a clip."""

    def passes(self, value: float, threshold: float | None) -> bool:
        """Return whether `value` is on the good side of `threshold`; the limit itself is."""
        if threshold is None or self.direction == "none":
            return True
        return value >= threshold if self.direction == "at_least" else value <= threshold


class RunStats(_Record):
    """What extraction took, over all runs that made the dataset."""

    workers: int = Field(ge=1)
    wall_s: float = Field(ge=0)
    core_s: float = Field(ge=0)
    """Processor seconds of all workers together."""

    source_frames: int = Field(ge=0)
    """Frames of all sources read, kept or not."""

    source_s: float = Field(ge=0)
    """Playing time of the same."""

    stage_s: dict[str, float] = Field(default_factory=dict)
    """Seconds by stage, in the order of the pipeline."""

    @property
    def frames_per_s(self) -> float | None:
        """Source frames per second of wall time."""
        return self.source_frames / self.wall_s if self.wall_s else None

    @property
    def video_hours_per_core_hour(self) -> float | None:
        """Hours of source video that one core gets through in an hour."""
        return self.source_s / self.core_s if self.core_s else None


class SplitInfo(_Record):
    """How the dataset is split, and what each side holds."""

    test_share: float = Field(gt=0, lt=1)
    seed: int
    train_clips: int = 0
    test_clips: int = 0
    train_identities: int = 0
    test_identities: int = 0


class Counts(_Record):
    """Numbers that a reader asks for first."""

    sources: int
    """Source videos with at least one row."""

    candidates: int
    """Rows of the manifest."""

    kept: int
    rejected: int
    failed: int
    quarantined: int
    kept_frames: int
    kept_s: float
    """Playing time of the kept clips in seconds."""

    identities: int
    """Among the kept clips."""

    reject_codes: dict[str, int]
    """Code -> clips that bear it, most frequent first; a clip may bear several."""

    @property
    def kept_hours(self) -> float:
        """Playing time of the kept clips in hours."""
        return self.kept_s / 3600


class DatasetInfo(_Record):
    """The content of `dataset.json`."""

    schema_version: int = SCHEMA_VERSION
    name: str
    version: str
    tool_version: str
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    """sha256 over ids and file hashes of the kept clips; see `content_digest`."""

    counts: Counts
    split: SplitInfo | None = None
    models: dict[str, str] = Field(default_factory=dict)
    """Role ("skeleton", "face", "hand") -> sha256 of the model files."""

    measurements: tuple[Measurement, ...] = ()
    config: dict[str, JsonValue] = Field(default_factory=dict)
    """The resolved configuration of the extraction."""

    run: RunStats | None = None
    sources_pending: int = Field(default=0, ge=0)
    """Sources that were given to `tpbench extract` and are still to be done."""


def count(clips: Iterable[Clip]) -> Counts:
    """Count rows, reject codes, frames and seconds in one pass."""
    statuses: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    sources: set[str] = set()
    identities: set[str | None] = set()
    kept_frames, kept_s = 0, 0.0
    for clip in clips:
        statuses[clip.status] += 1
        sources.add(clip.source_id)
        codes.update(clip.reject_codes)
        if clip.status == "kept":
            identities.add(clip.identity)
            kept_frames += clip.n_frames or 0
            kept_s += clip.duration_s or 0.0
    return Counts(
        sources=len(sources),
        candidates=statuses.total(),
        kept=statuses["kept"],
        rejected=statuses["rejected"],
        failed=statuses["failed"],
        quarantined=statuses["quarantined"],
        kept_frames=kept_frames,
        kept_s=round(kept_s, 6),
        identities=len(identities),
        reject_codes=dict(sorted(codes.items(), key=lambda item: (-item[1], item[0]))),
    )


def content_digest(clips: Iterable[Clip]) -> str:
    """Digest the content of a dataset: sha256 over ids and file hashes of the kept clips.

    Canonical JSON of the sorted `[clip_id, clip_sha256, keypoints_sha256, pose_sha256]`. Where the
    folder lies, when it was made, what was rejected and how it is split change nothing.
    """
    return digest_of_files(
        [clip.clip_id, clip.clip_sha256, clip.keypoints_sha256, clip.pose_sha256]
        for clip in clips
        if clip.status == "kept"
    )


def digest_of_files(kept: Iterable[list[str | None]]) -> str:
    """Digest what `content_digest` does, from `[clip_id, three sha256]` of each kept clip."""
    text = json.dumps(sorted(kept), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_info(folder: Path, info: DatasetInfo) -> Path:
    """Write `folder/dataset.json`, aside and renamed."""
    path = folder / INFO_NAME
    write_text_aside(path, info.model_dump_json(indent=2) + "\n")
    return path


def read_info(folder: Path) -> DatasetInfo:
    """Read `folder/dataset.json`.

    Raises:
        DatasetError: it is absent, no JSON, of another schema version, or lacks something.
    """
    path = folder / INFO_NAME
    try:
        raw = read_json(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = f"{folder}: no dataset here ({INFO_NAME} is missing); make one with `tpbench extract`"
        raise DatasetError(msg) from error
    except (OSError, ForeignFileError) as error:
        msg = f"{path}: not readable as JSON ({error})"
        raise DatasetError(msg) from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        msg = f"{path}: schema version {version}, this tpbench reads {SCHEMA_VERSION}"
        raise DatasetError(msg)
    try:
        return DatasetInfo.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"{path}: {where}: {first['msg']}"
        raise DatasetError(msg) from error
