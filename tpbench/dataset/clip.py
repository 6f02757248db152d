"""One row of the manifest: a candidate clip, kept or not, with everything known about it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from tpbench.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping

Status = Literal["kept", "rejected", "failed", "quarantined"]
"""What became of a candidate: in the dataset, refused by a filter, not readable, or given up on
because it kept killing its worker."""

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
        msg = (
            f"clip id {clip_id!r} can't be a file name: want 1 to 200 of the characters "
            "A-Z a-z 0-9 _ -"
        )
        raise DatasetError(msg)
    return clip_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One candidate clip. What is not known, or was never reached, is None.

    A source that could not be read has one row of its own, with status "failed" and its `error`.
    """

    clip_id: str
    status: Status
    source_id: str
    source_path: str
    """As the user named it."""

    reject_codes: tuple[str, ...] = ()
    """Codes of the filters that refused the clip (`face.too_small`), in the order they judged."""

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
    """Presentation stamp of the first picture, in `time_base` seconds."""

    time_base: str | None = None
    """Such as "1/11776"."""

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
    """Who is seen: the source_id until something better is known. Splits go by it."""

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
    """Measured values by name: columns `m_<name>`. Absent or not finite: it was not made."""

    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Limits the values were held against: columns `t_<name>`."""

    def __post_init__(self) -> None:
        check_clip_id(self.clip_id)
        if self.status not in get_args(Status):
            msg = f"clip {self.clip_id}: want a status of {get_args(Status)}, got {self.status!r}"
            raise DatasetError(msg)
        for name in (*self.measurements, *self.thresholds):
            if not MEASUREMENT_PATTERN.fullmatch(name):
                msg = f"clip {self.clip_id}: {name!r} can't name a measurement (want a-z 0-9 _)"
                raise DatasetError(msg)
        if problem := self._status_problem():
            msg = f"clip {self.clip_id}: a {self.status} clip {problem}"
            raise DatasetError(msg)

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
        """Length in seconds, from the frames where they are known."""
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
            DatasetError: a key is unknown, a needed one is missing, or a value makes no sense.
        """
        try:
            return cls(**{**row, "reject_codes": tuple(row.get("reject_codes") or ())})
        except TypeError as error:
            msg = f"row of clip {row.get('clip_id')!r} has other fields than this version: {error}"
            raise DatasetError(msg) from error


PLAIN_COLUMNS: Final = tuple(
    item.name
    for item in fields(Clip)
    if item.name not in {"reject_codes", "measurements", "thresholds"}
)
"""Fields of `Clip` that are one text or number each."""

_KEPT_NEEDS: Final = (
    "n_frames",
    "fps_num",
    "fps_den",
    "identity",
    "clip_sha256",
    "keypoints_sha256",
    "pose_sha256",
)


def finite_values(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values that were really measured: NaN and infinity say "could not be".

    >>> finite_values({"yaw_deg": 3, "jitter_px": float("nan")})
    {'yaw_deg': 3.0}
    """
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}
