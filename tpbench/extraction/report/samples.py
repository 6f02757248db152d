"""Pictures in the page: frames of kept clips with their skeletons, and of rejected stretches."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.dataset import Clip, Dataset
from tpbench.errors import MediaError
from tpbench.extraction.thumbnails import evenly, read_thumbnails
from tpbench.foreign import ForeignFileError, require_own

logger = logging.getLogger(__name__)

MAX_SAMPLES: Final = 48
"""Most frames of the contact sheet."""
_MAX_SAMPLES_PER_CLIP: Final = 4
_SIDE_PX: Final = 256
_POSTER_PX: Final = 256
_JPEG_QUALITY: Final = 78


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One frame of one clip, ready to be put into a page."""

    clip: Clip
    frame_index: int
    """Of the clip."""
    picture: str
    """`data:` URI of a JPEG."""
    skeleton: str
    """`data:` URI of a PNG that is transparent where nothing is drawn."""


def sample_frames(dataset: Dataset, chosen: Sequence[Clip]) -> Iterator[Sample]:
    """Yield frames of clips for a contact sheet: several of each clip where there are few clips.

    A clip whose files can't be read, link elsewhere or do not match the manifest is left out with a
    logged warning: `Dataset.verify` fails for it, but the report can still show the rest.
    """
    each = min(_MAX_SAMPLES_PER_CLIP, MAX_SAMPLES // max(len(chosen), 1))
    for clip in chosen:
        frames = clip.n_frames or 0
        indices = sorted({int((place + 0.5) / each * frames) for place in range(each)})
        yield from _samples_of(dataset, clip, indices, side_px=_SIDE_PX)


def choose(identities: Sequence[str | None], limit: int) -> list[int]:
    """Pick up to `limit` clips, evenly over the identities; second clips only to fill up.

    Args:
        identities: of each clip.
        limit: most clips.

    Returns:
        indices, ascending.
    """
    rounds: dict[int, list[int]] = {}
    seen: dict[str | None, int] = {}
    for at, identity in enumerate(identities):
        turn = seen.get(identity, 0)
        seen[identity] = turn + 1
        rounds.setdefault(turn, []).append(at)
    chosen: list[int] = []
    for turn in sorted(rounds):
        offered, room = rounds[turn], limit - len(chosen)
        chosen += evenly(offered, room)
        if len(chosen) == limit:
            break
    return sorted(chosen)


def _samples_of(
    dataset: Dataset, clip: Clip, indices: Sequence[int], *, side_px: int
) -> Iterator[Sample]:
    try:
        yield from _read_samples(dataset, clip, indices, side_px)
    except (MediaError, ForeignFileError, OSError, IndexError) as error:
        logger.warning("no sample frame of %s: %s", clip.clip_id, error)


def _read_samples(
    dataset: Dataset, clip: Clip, indices: Sequence[int], side_px: int
) -> Iterator[Sample]:
    from tpbench.dwpose_drawing import draw_pose
    from tpbench.video import frames_at

    # The page is shared: it may only contain what the manifest describes.
    require_own(dataset.folder, dataset.keypoints_path(clip), clip.keypoints_sha256)
    require_own(dataset.folder, dataset.clip_path(clip), clip.clip_sha256)
    pose = dataset.load_pose(clip)
    for frame in frames_at(dataset.clip_path(clip), indices):
        height, width = frame.image.shape[:2]
        moment = slice(frame.index, frame.index + 1)
        drawing = draw_pose(pose.keypoints[moment], pose.scores[moment], height, width)
        yield Sample(
            clip=clip,
            frame_index=frame.index,
            picture=_jpeg_uri(_shrink(frame.image, side_px)),
            skeleton=_layer_uri(drawing, side_px),
        )


def _shrink(image: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, side_px / max(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _jpeg_uri(image: NDArray[np.uint8]) -> str:
    import cv2

    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), quality)[1]
    return _data_uri("jpeg", encoded.tobytes())


def _layer_uri(drawing: NDArray[np.uint8], side_px: int) -> str:
    """Encode a drawing on black as a layer: black becomes transparent, colours are kept."""
    import cv2

    covered = np.where(drawing.max(axis=-1, keepdims=True) > 0, 255, 0).astype(np.uint8)
    coverage = _shrink(np.repeat(covered, 3, axis=-1), side_px)[..., :1]
    # Shrinking mixed the edges with black: divide by the drawn share of each pixel.
    colour = _shrink(drawing, side_px).astype(np.float32) * 255 / np.maximum(coverage, 1)
    layer = np.concatenate([colour[..., ::-1].clip(0, 255), coverage], axis=-1)
    quality = [cv2.IMWRITE_PNG_COMPRESSION, 9]
    encoded = cv2.imencode(".png", layer.round().astype(np.uint8), quality)[1]
    return _data_uri("png", encoded.tobytes())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """A kept clip and its pose video, as addresses relative to the page."""

    clip: Clip
    video: str | None
    """None if the file is missing."""
    pose: str | None
    first: Sample | None
    """Shown until a video is played; None if the files can't be read."""


def player_of(dataset: Dataset, clip: Clip) -> Player:
    """Return the addresses of a clip's videos, and its first frame to show before they play."""

    def address(path: Path) -> str | None:
        return path.relative_to(dataset.folder).as_posix() if path.is_file() else None

    return Player(
        clip=clip,
        video=address(dataset.clip_path(clip)),
        pose=address(dataset.pose_path(clip)),
        first=next(_samples_of(dataset, clip, [0], side_px=_POSTER_PX), None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A rejected stretch, with the frame that decided if it is known."""

    clip: Clip
    frame: int | None
    """Of the source."""
    picture: str | None
    """`data:` URI of a JPEG."""

    @property
    def time_s(self) -> float | None:
        """When the frame is shown, in seconds from the start of the source."""
        if self.frame is None or self.clip.fps is None:
            return None
        return self.frame / self.clip.fps


def rejections(folder: Path, clips: Iterable[Clip]) -> Iterator[Rejection]:
    """Add thumbnails to rejected clips, which are in the order of their ids."""
    for source_id, group in groupby(clips, key=lambda clip: clip.source_id):
        found = read_thumbnails(folder, source_id)
        for clip in group:
            seen = found.get(clip.clip_id)
            yield Rejection(
                clip=clip,
                frame=None if seen is None else seen.frame,
                picture=None if seen is None else _data_uri("jpeg", seen.jpeg),
            )
