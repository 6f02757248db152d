"""Sample frames of kept clips, each with its skeleton as a transparent layer of its own."""

from __future__ import annotations

import base64
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.errors import MediaError
from tpbench.foreign import ForeignFileError, require_own

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tpbench.dataset import Clip, Dataset

_log = logging.getLogger(__name__)

MAX_SAMPLES: Final = 12
_MAX_PER_CLIP: Final = 3
_SIDE_PX: Final = 384
_JPEG_QUALITY: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One frame of one clip, ready to be put into a page."""

    clip: Clip
    frame_index: int
    """Of the clip."""

    picture: str
    """`data:` URI of a JPEG."""

    skeleton: str
    """`data:` URI of a PNG that is clear where nothing is drawn."""


def sample_frames(dataset: Dataset, clips: Sequence[Clip]) -> Iterator[Sample]:
    """Yield about `MAX_SAMPLES` frames: other people before other clips before other frames.

    A clip whose files can't be read, lead elsewhere or are not the manifest's is left out with a
    logged warning: `Dataset.verify` is the place to fail for it, and a report of the rest is still
    worth having.
    """
    chosen = choose_clips(clips, MAX_SAMPLES)
    each = min(_MAX_PER_CLIP, MAX_SAMPLES // max(len(chosen), 1))
    for clip in chosen:
        frames = clip.n_frames or 0
        indices = sorted({int((place + 0.5) / each * frames) for place in range(each)})
        try:
            yield from _samples_of(dataset, clip, indices)
        except (MediaError, ForeignFileError, OSError, IndexError) as error:
            _log.warning("no sample frame of %s: %s", clip.clip_id, error)


def choose_clips(clips: Sequence[Clip], limit: int) -> list[Clip]:
    """Pick up to `limit` clips, evenly over the identities; a second of one only to fill up."""
    rounds: dict[int, list[Clip]] = {}
    seen: dict[str | None, int] = {}
    for clip in clips:
        turn = seen.get(clip.identity, 0)
        seen[clip.identity] = turn + 1
        rounds.setdefault(turn, []).append(clip)
    chosen: list[Clip] = []
    for turn in sorted(rounds):
        offered, room = rounds[turn], limit - len(chosen)
        if len(offered) > room:
            offered = [offered[index * len(offered) // room] for index in range(room)]
        chosen += offered
        if len(chosen) == limit:
            break
    return sorted(chosen, key=lambda clip: clip.clip_id)


def _samples_of(dataset: Dataset, clip: Clip, indices: Sequence[int]) -> Iterator[Sample]:
    from tpbench.dwpose_drawing import draw_pose
    from tpbench.video import frames_at

    # The page goes to others: nothing may stand in it but what the manifest describes.
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
            picture=_jpeg_uri(_shrink(frame.image)),
            skeleton=_layer_uri(drawing),
        )


def _shrink(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, _SIDE_PX / max(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _jpeg_uri(image: NDArray[np.uint8]) -> str:
    import cv2

    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), quality)[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def _layer_uri(drawing: NDArray[np.uint8]) -> str:
    """Encode a drawing on black as a layer: what was black is clear, colours stay as drawn."""
    import cv2

    covered = np.where(drawing.max(axis=-1, keepdims=True) > 0, 255, 0).astype(np.uint8)
    coverage = _shrink(np.repeat(covered, 3, axis=-1))[..., :1]
    # Shrinking mixed the edges with black: divide by how much of the pixel was drawn on.
    colour = _shrink(drawing).astype(np.float32) * 255 / np.maximum(coverage, 1)
    layer = np.concatenate([colour[..., ::-1].clip(0, 255), coverage], axis=-1)
    quality = [cv2.IMWRITE_PNG_COMPRESSION, 9]
    encoded = cv2.imencode(".png", layer.round().astype(np.uint8), quality)[1]
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()
