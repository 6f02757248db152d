"""The values of a dataset: one row per clip, and dataset.json."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from tpbench.canonical import first_problem
from tpbench.errors import DatasetError, NewerVersionError
from tpbench.files import atomic_write_text, missing_folder
from tpbench.foreign import ForeignFileError, read_json

M = TypeVar("M", bound=BaseModel)

Status = Literal["kept", "rejected", "failed", "quarantined"]
"""Outcome of a candidate: in the dataset, rejected by a filter, not readable, or given up because
it repeatedly killed its worker."""
SplitName = Literal["train", "test"]

CLIP_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")
"""Clip ids become file names and archive keys: no dot (it would end a key), no slash, no space."""
MEASUREMENT_PATTERN: Final = re.compile(r"[a-z][a-z0-9_]*")


def check_clip_id(clip_id: str) -> str:
    """Return `clip_id` if it can be a file name that stays in its folder.

    Raises:
        DatasetError: it holds anything but ASCII letters, digits, `_` and `-`, or is too long.
    """
    if not CLIP_ID_PATTERN.fullmatch(clip_id):
        raise DatasetError(
            f"clip id {clip_id!r} can't be a file name: want 1 to 200 of the characters "
            "A-Z a-z 0-9 _ -"
        )
    return clip_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One candidate clip. Values that are unknown, or were not computed, are None.

    An unreadable source has one row, with status "failed" and its `error`.
    """

    clip_id: str
    status: Status
    reject_codes: tuple[str, ...] = ()
    """Codes of the filters that rejected the clip (`face.too_small`), in the filters' order."""
    source_id: str
    source_path: str
    """As given by the user."""
    source_sha256: str | None = None
    url: str | None = None
    licence: str | None = None
    uploader: str | None = None
    retrieved_at: str | None = None
    """ISO 8601."""
    start_frame: int | None = None
    """On the constant-rate timeline of the source."""
    end_frame: int | None = None
    """Exclusive."""
    start_s: float | None = None
    end_s: float | None = None
    start_pts: int | None = None
    """Presentation timestamp of the first frame, in units of `time_base`."""
    time_base: str | None = None
    """In seconds, such as "1/11776"."""
    fps_num: int | None = None
    fps_den: int | None = None
    n_frames: int | None = None
    """Frames of the clip = of the pose video = of the keypoints."""
    source_width_px: int | None = None
    source_height_px: int | None = None
    crop_x0: float | None = None
    """Crop corners as shares of the source's width and height; may leave [0, 1] where padded."""
    crop_y0: float | None = None
    crop_x1: float | None = None
    crop_y1: float | None = None
    out_size_px: int | None = None
    """Side of the square clip."""
    shot_id: int | None = None
    track_id: int | None = None
    identity: str | None = None
    """The person: the source_id unless something better is known. Splits are made by it."""
    split: SplitName | None = None
    pose_source: str | None = None
    skeleton_digest: str | None = None
    face_digest: str | None = None
    hand_digest: str | None = None
    tool_version: str | None = None
    clip_sha256: str | None = None
    keypoints_sha256: str | None = None
    pose_sha256: str | None = None
    error: str | None = None
    """One line: why the source failed or was given up."""
    measurements: Mapping[str, float] = field(default_factory=dict)
    """Measured values by name: columns `m_<name>`. Missing or not finite: not measured."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Limits that the values were compared with: columns `t_<name>`."""

    def __post_init__(self) -> None:
        check_clip_id(self.clip_id)
        if self.status not in get_args(Status):
            raise DatasetError(
                f"clip {self.clip_id}: want a status of {get_args(Status)}, got {self.status!r}"
            )
        if self.split not in (None, *get_args(SplitName)):
            raise DatasetError(
                f"clip {self.clip_id}: want the split train, test or none, got {self.split!r}"
            )
        for name in _FINITE:
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise DatasetError(f"clip {self.clip_id}: its {name} is {value}: want a number")
        for name in (*self.measurements, *self.thresholds):
            if not MEASUREMENT_PATTERN.fullmatch(name):
                raise DatasetError(
                    f"clip {self.clip_id}: {name!r} can't name a measurement (want a-z 0-9 _)"
                )
        if problem := self._status_problem():
            raise DatasetError(f"clip {self.clip_id}: a {self.status} clip {problem}")

    def _status_problem(self) -> str | None:
        if self.status == "kept":
            lacking = [name for name in _KEPT_NEEDS if not getattr(self, name)]
            if lacking:
                return f"needs {', '.join(lacking)}"
            return "can't have reject codes" if self.reject_codes else None
        if self.split is not None:
            return "can't be in a split"
        if self.status == "rejected":
            return None if self.reject_codes else "needs a reject code"
        return None if self.error else "needs an error"

    @property
    def fps(self) -> float | None:
        """Frames per second, for display; the exact rate is `fps_num / fps_den`."""
        return self.fps_num / self.fps_den if self.fps_num and self.fps_den else None

    @property
    def duration_s(self) -> float | None:
        """Length in seconds, from the number of frames if known, else from the times."""
        if self.n_frames is not None and self.fps_num and self.fps_den:
            return self.n_frames * self.fps_den / self.fps_num
        if self.start_s is not None and self.end_s is not None:
            return self.end_s - self.start_s
        return None

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain JSON values; `from_json` gives an equal row back."""
        row: dict[str, Any] = {name: getattr(self, name) for name in PLAIN_COLUMNS}
        row["reject_codes"] = list(self.reject_codes)
        row["measurements"] = finite_values(self.measurements)
        row["thresholds"] = finite_values(self.thresholds)
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Clip:
        """Rebuild a row from `to_json`.

        Raises:
            DatasetError: a key is unknown, a required one is missing, or a value is invalid.
        """
        try:
            return cls(**{**row, "reject_codes": tuple(row.get("reject_codes") or ())})
        except TypeError as error:
            raise DatasetError(
                f"row of clip {row.get('clip_id')!r} has other fields than this version: {error}"
            ) from error


PLAIN_COLUMNS: Final = tuple(
    item.name
    for item in fields(Clip)
    if item.name not in {"reject_codes", "measurements", "thresholds"}
)
"""Fields of `Clip` that hold a single string or number."""
FILE_HASHES: Final = ("clip_sha256", "keypoints_sha256", "pose_sha256")
"""Columns with the sha256 of the three files of a kept clip."""
_FINITE: Final = ("start_s", "end_s", "crop_x0", "crop_y0", "crop_x1", "crop_y1")
_KEPT_NEEDS: Final = ("n_frames", "fps_num", "fps_den", "identity", *FILE_HASHES)


def finite_values(values: Mapping[str, float]) -> dict[str, float]:
    """Return the finite values: NaN and infinity mean that nothing could be measured.

    >>> finite_values({"yaw_deg": 3, "jitter_px": float("nan")})
    {'yaw_deg': 3.0}
    """
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


INFO_NAME: Final = "dataset.json"
SCHEMA_VERSION: Final = 1

Direction = Literal["at_least", "at_most", "none"]
"""The side of its threshold on which a value passes; "none" if there is no threshold."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measurement(_Record):
    """Description of a manifest column `m_<name>`."""

    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    title: str
    """A few words for the title of a plot."""
    unit: str = ""
    """Such as "px", "deg", "s"; "share" for values in [0, 1]; empty if there is none."""
    direction: Direction = "none"
    code: str = ""
    """Reject code of the filter that compares it with a threshold."""
    meaning: str = ""
    """One sentence: what a large or small value means for a clip."""

    def passes(self, value: float, threshold: float | None) -> bool:
        """Return whether `value` passes `threshold`; a value equal to the threshold passes."""
        if threshold is None or self.direction == "none":
            return True
        return value >= threshold if self.direction == "at_least" else value <= threshold


class RunStats(_Record):
    """Times and counts of one extraction, or summed over all runs into the dataset."""

    workers: int = Field(ge=1)
    """Of the latest run."""
    gpus: int = Field(default=0, ge=0)
    """GPUs that the skeleton models ran on; 0: they ran on the processor. Of the latest run."""
    wall_s: float = Field(ge=0)
    core_s: float = Field(ge=0)
    """Processor seconds, summed over all workers."""
    source_frames: int = Field(ge=0)
    """Frames of all sources read, kept or not."""
    source_s: float = Field(ge=0)
    """Duration of these frames."""
    stage_s: dict[str, float] = Field(default_factory=dict)
    """Seconds by stage, in the order of the pipeline."""
    runs: tuple[RunStats, ...] = ()
    """In a sum over runs: each of the latest 100 runs that processed anything, in order."""

    @property
    def frames_per_s(self) -> float | None:
        """Source frames per second of wall time."""
        return self.source_frames / self.wall_s if self.wall_s else None

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of source video per second of wall time."""
        return self.source_s / self.wall_s if self.wall_s else None

    @property
    def video_hours_per_core_hour(self) -> float | None:
        """Hours of source video that one core processes in an hour."""
        return self.source_s / self.core_s if self.core_s else None

    @property
    def video_hours_per_gpu_hour(self) -> float | None:
        """Hours of source video per hour of one GPU, idle or not; None without a GPU."""
        return self.source_s / (self.wall_s * self.gpus) if self.wall_s * self.gpus else None

    @property
    def stage_shares(self) -> dict[str, float]:
        """Share of each stage in the workers' time, 0..1; empty if no time was taken."""
        total = sum(self.stage_s.values())
        return {stage: s / total for stage, s in self.stage_s.items()} if total else {}

    def rates(self) -> dict[str, Any]:
        """Return all figures that follow from times and counts, by name."""
        return {
            "frames_per_s": self.frames_per_s,
            "real_time_factor": self.real_time_factor,
            "video_hours_per_core_hour": self.video_hours_per_core_hour,
            "video_hours_per_gpu_hour": self.video_hours_per_gpu_hour,
            "stage_shares": self.stage_shares,
        }


class SplitVersion(_Record):
    """A test side as it was when it got a name; its list is `splits/<name>.csv`."""

    clips: int
    identities: int
    digest: str
    """Of ids and file hashes of these clips, see `content_digest`."""


class SplitInfo(_Record):
    """Settings of the split, and the size of each side."""

    test_share: float = Field(gt=0, lt=1)
    """Wanted share of identities in the test split; of a split from lists, the one that it has."""
    seed: int
    method: Literal["hash", "stratified", "lists"] = "hash"
    """How sides are found: by the hash of each identity (datasets of before), so that the test side
    resembles the whole, or from lists of the user."""
    uploaders: Literal["none", "few", "all"] = "none"
    """Whose sources are one identity; see `tpbench.dataset.identities`."""
    versions: dict[str, SplitVersion] = Field(default_factory=dict)
    """Name -> test side that was frozen under it."""
    placed: dict[str, SplitName] = Field(default_factory=dict)
    """Of "hash": identity -> its side, where the hash would leave that side without clips."""
    train_clips: int = 0
    test_clips: int = 0
    train_identities: int = 0
    test_identities: int = 0
    largest_difference: float | None = None
    """Between a class of clips in the test split and in the whole, as shares; see `strata`."""


class Counts(_Record):
    """Counts of sources, clips, frames, identities and reject codes."""

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
    """Duration of the kept clips in seconds."""
    identities: int
    """Among the kept clips."""
    reject_codes: dict[str, int]
    """Code -> number of clips with it, most frequent first; a clip may have several."""

    @property
    def kept_hours(self) -> float:
        """Duration of the kept clips in hours."""
        return self.kept_s / 3600

    @property
    def kept_length(self) -> str:
        """Duration of the kept clips as text, such as "4.1 min"."""
        return length_text(self.kept_s)


class DatasetInfo(_Record):
    """The content of `dataset.json`."""

    schema_version: int = SCHEMA_VERSION
    name: str
    version: str
    tool_version: str
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    """sha256 over ids and file hashes of the kept clips; see `content_digest`."""
    finished_on: str | None = Field(default=None, pattern=r"^\d{4}-\d{2}-\d{2}$")
    """ISO date (UTC) on which this content was first complete; None in datasets of before."""
    counts: Counts
    split: SplitInfo | None = None
    models: dict[str, str] = Field(default_factory=dict)
    """Role ("skeleton", "face", "hand") -> sha256 of the model files."""
    measurements: tuple[Measurement, ...] = ()
    config: dict[str, JsonValue] = Field(default_factory=dict)
    """The resolved configuration of the extraction."""
    run: RunStats | None = None
    sources_pending: int = Field(default=0, ge=0)
    """Sources given to `tpbench extract` that are still to be processed."""

    @property
    def is_imported(self) -> bool:
        """Whether its clips were taken from an existing set as they are, by `tpbench import`."""
        return self.config.get("imported") is True

    @property
    def made_by(self) -> str:
        """The command that made it, and that extends and mends it."""
        return "tpbench import" if self.is_imported else "tpbench extract"


def length_text(seconds: float) -> str:
    """Return a length of video in the unit that suits it: seconds, minutes or hours.

    >>> length_text(9.6), length_text(246), length_text(8460)
    ('9.6 s', '4.1 min', '2.35 h')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3597 else f"{seconds / 3600:,.2f} h"


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

    Hashes canonical JSON of the sorted `[clip_id, clip_sha256, keypoints_sha256, pose_sha256]`. The
    location of the folder, its date, rejected clips and the split do not affect it.
    """
    return digest_of_files(
        [clip.clip_id, clip.clip_sha256, clip.keypoints_sha256, clip.pose_sha256]
        for clip in clips
        if clip.status == "kept"
    )


def digest_of_files(kept: Iterable[list[str | None]]) -> str:
    """Compute `content_digest` from `[clip_id, three sha256]` of each kept clip."""
    text = json.dumps(sorted(kept), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_sorted(pieces: Iterable[Iterable[tuple[str | None, ...]]]) -> str:
    """Compute `digest_of_files` of rows that are sorted already, a piece at a time."""
    digest = hashlib.sha256(b"[")
    comma = b""
    for piece in pieces:
        if text := json.dumps(list(piece), separators=(",", ":"))[1:-1]:
            digest.update(comma + text.encode())
            comma = b","
    digest.update(b"]")
    return digest.hexdigest()


def write_info(folder: Path, info: DatasetInfo) -> Path:
    """Write `folder/dataset.json` atomically."""
    path = folder / INFO_NAME
    atomic_write_text(path, info.model_dump_json(indent=2) + "\n")
    return path


def read_info(folder: Path) -> DatasetInfo:
    """Read `folder/dataset.json`.

    Raises:
        DatasetError: it is missing, no JSON, of another schema version, or invalid.
    """
    path = folder / INFO_NAME
    found = read_versioned(path, DatasetInfo, version=SCHEMA_VERSION)
    if found is None:
        said = f"no dataset here ({INFO_NAME} is missing); make one with `tpbench extract`"
        if not folder.is_dir():
            said = f"no dataset here: {missing_folder(folder)}; `tpbench extract` makes one"
        elif (folder / "run.json").exists():
            said = "no dataset here: this is a run; name the dataset that it was made from"
        raise DatasetError(f"{folder}: {said}")
    return found


def read_versioned(path: Path, model: type[M], *, version: int) -> M | None:
    """Read a JSON file of a dataset that states its `schema_version`; None if it is missing.

    Raises:
        DatasetError: it is no JSON, of another version, or invalid.
        NewerVersionError: of a later version.
    """
    try:
        raw = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ForeignFileError) as error:
        raise DatasetError(f"{path}: not readable as JSON ({error})") from error
    stated = raw.get("schema_version") if isinstance(raw, dict) else None
    if isinstance(stated, int) and stated > version:
        raise NewerVersionError(
            f"{path}: made by a newer tpbench (schema version {stated}, this one reads {version}); "
            "update tpbench: pip install -U tpbench"
        )
    if stated != version:
        raise DatasetError(f"{path}: schema version {stated}, this tpbench reads {version}")
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise DatasetError(f"{path}: {first_problem(error)}") from error
