"""Small pictures of rejected stretches: the frame that decided, kept for the report.

They are read from the source once its clips are judged, as no picture is held until then, and kept
in a file per source, so that a report can be written when the source is gone:

    DATASET/.thumbnails/ab/<source_id>.json    clip id -> frame, and a JPEG of at most 160 px
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from tpbench.errors import MediaError
from tpbench.files import atomic_write_text
from tpbench.foreign import ForeignFileError, opened_inside, parse_json
from tpbench.spread import existing_path, make_place, remove, remove_old
from tpbench.video import VideoInfo, read_frames

logger = logging.getLogger(__name__)

THUMBNAILS: Final = ".thumbnails"
"""Below the dataset. Private, as it shows people of rejected videos; it can be deleted."""
MAX_PER_SOURCE: Final = 24
"""A long video may have hundreds of rejected stretches, and each costs a seek and 4 KB."""
_SIDE_PX: Final = 160
_JPEG_QUALITY: Final = 75
_JPEG_MAGIC: Final = b"\xff\xd8\xff"
_MAX_JPEG_BYTES: Final = 64 << 10
_MAX_FILE_BYTES: Final = 4 << 20
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """The frame of a source that decided about a rejected stretch."""

    frame: int
    """On the constant-rate timeline of the source."""
    jpeg: bytes


def thumbnails_path(folder: Path, source_id: str) -> Path:
    """Return the file with the thumbnails of a source."""
    return existing_path(folder / THUMBNAILS, f"{source_id}.json")


def write_thumbnails(
    folder: Path, source_id: str, path: Path, info: VideoInfo, frames: Mapping[str, int]
) -> None:
    """Read thumbnails from a source and write them; a frame that can't be read is left out.

    Args:
        folder: of the dataset.
        source_id: of the source.
        path: of the source.
        info: its probe.
        frames: clip id -> deciding frame. Of more than `MAX_PER_SOURCE`, some are taken, evenly.
    """
    home, name = folder / THUMBNAILS, f"{source_id}.json"
    made: dict[str, dict[str, object]] = {}
    for clip_id, frame in evenly(sorted(frames.items(), key=lambda item: item[1]), MAX_PER_SOURCE):
        try:
            (seen,) = read_frames(
                path, info=info, start_frame=frame, end_frame=frame + 1, max_side_px=_SIDE_PX
            )
        except MediaError as error:
            logger.info("no thumbnail of %s: %s", clip_id, error)
            continue
        jpeg = base64.b64encode(_encoded(seen.image)).decode()
        made[clip_id] = {"frame": frame, "jpeg": jpeg}
    if made:
        # Not its parents: a dataset that was removed during the run is not created again.
        target = make_place(home, name)
        atomic_write_text(target, json.dumps({"thumbnails": made}, indent=1) + "\n")
        remove_old(home, name)
    else:
        remove(home, name)


def read_thumbnails(folder: Path, source_id: str) -> dict[str, Thumbnail]:
    """Return the thumbnails of a source by clip id; empty where there are none.

    A file that is damaged or leads out of the dataset is left out with a logged warning.
    """
    try:
        path = thumbnails_path(folder, source_id)
        with opened_inside(folder, path) as file:
            content = parse_json(file.read(_MAX_FILE_BYTES))["thumbnails"]
        return {
            clip_id: Thumbnail(frame=int(item["frame"]), jpeg=_jpeg(item["jpeg"]))
            for clip_id, item in content.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ForeignFileError, ValueError, TypeError, KeyError, AttributeError) as error:
        logger.warning("no thumbnails of %s: %s", source_id, error)
        return {}


def evenly(items: Sequence[Item], limit: int) -> list[Item]:
    """Return all items, or `limit` of them spread evenly over their order."""
    if len(items) <= limit:
        return list(items)
    return [items[(2 * index + 1) * len(items) // (2 * limit)] for index in range(limit)]


def _jpeg(text: str) -> bytes:
    jpeg = base64.b64decode(text, validate=True)
    if not jpeg.startswith(_JPEG_MAGIC) or len(jpeg) > _MAX_JPEG_BYTES:
        raise binascii.Error("not a small JPEG")
    return jpeg


def _encoded(image: NDArray[np.uint8]) -> bytes:
    import cv2

    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), quality)[1]
    return bytes(encoded.tobytes())
