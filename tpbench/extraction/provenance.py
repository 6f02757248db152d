"""Where a source video comes from: the metadata file that yt-dlp leaves beside it."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tpbench.foreign import ForeignFileError, read_json
from tpbench.privacy import public_text

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

METADATA_ENDING: Final = ".info.json"
"""Of the file that yt-dlp writes beside a video."""

_PART: Final = re.compile(r"(?P<stem>.+)\.f(?P<format>[^.\s]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What is known of a source; None where it is not."""

    url: str | None = None
    licence: str | None = None
    uploader: str | None = None
    retrieved_at: str | None = None
    """ISO 8601, UTC."""


def read_provenance(video: Path) -> Provenance:
    """Read `<stem>.info.json` beside a video, as `yt-dlp --write-info-json` writes it.

    Where yt-dlp had no ffmpeg, picture and sound lie in files of their own, such as
    `<stem>.f137.mp4`; the metadata file belongs to both.

    A missing file is no news; one that can't be read is logged and ignored: it is not worth a
    video.
    """
    path = _metadata_path(video.parent, video.stem)
    if not path.exists() and (stem := part_of(video)):
        path = _metadata_path(video.parent, stem)
    try:
        data = read_json(path, strict=False)
    except FileNotFoundError:
        return Provenance()
    except (OSError, ForeignFileError) as error:
        _log.warning("%s: metadata is left out, so url and licence stay blank: %s", path, error)
        return Provenance()
    if not isinstance(data, dict):
        return Provenance()
    return Provenance(
        url=_text(data, "webpage_url"),
        licence=_text(data, "license"),
        uploader=_text(data, "uploader"),
        retrieved_at=_time(data.get("epoch")),
    )


def part_of(file: Path) -> str | None:
    """Return the stem of the video of which a file is one part, as yt-dlp leaves them unmerged.

    Such a part has the id of its format in its name: `<stem>.f137.mp4`, `<stem>.f251-drc.webm`. An
    id that begins with a letter counts only if the video's metadata lies beside, since any name may
    have such an ending.

    Returns:
        None for a file that is no such part.
    """
    match = _PART.fullmatch(file.stem)
    if match is None:
        return None
    stem = match["stem"]
    is_id = match["format"][0].isdigit() or _metadata_path(file.parent, stem).exists()
    return stem if is_id else None


def _metadata_path(folder: Path, stem: str) -> Path:
    return folder / f"{stem}{METADATA_ENDING}"


def _text(data: dict[str, Any], key: str) -> str | None:
    value = data.get(key)
    if not isinstance(value, str) or not value:
        return None
    value = public_text(value) if key == "webpage_url" else value
    return value.encode("utf-8", "replace").decode()  # half an emoji is no text for Parquet


def _time(epoch_s: object) -> str | None:
    if not isinstance(epoch_s, int) or isinstance(epoch_s, bool):
        return None
    try:
        return datetime.fromtimestamp(epoch_s, tz=UTC).isoformat()
    except (OverflowError, OSError, ValueError):
        return None
