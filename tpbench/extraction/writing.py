"""Writing of a clip: its square crop, video, pose drawing and keypoints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.dataset.folder import CLIP_VIDEO, KEYPOINTS, POSE_VIDEO
from tpbench.dwpose_drawing import PoseDrawer
from tpbench.errors import MediaError
from tpbench.extraction.measures import finite_percentile
from tpbench.extraction.shots import Span
from tpbench.files import sha256_of
from tpbench.video import (
    CLIP,
    POSE,
    AudioSource,
    BackgroundCalls,
    Frame,
    VideoInfo,
    VideoWriter,
    read_frames,
)
from tpbench.video.display import Window
from tpbench.video.source import open_video, readable_packets
from tpbench.wholebody import (
    FACE,
    LEFT_HAND,
    LEFT_HIP,
    LEFT_SHOULDER,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    VISIBLE_SCORE,
    WholeBodyPose,
    save_pose,
)

_OUTLIER_PERCENT: Final = 2.0
"""Percentage of frames in which a point may lie outside the body box, at either end."""
_WHOLE_SHARE: Final = 0.92
"""A square this close to the shorter side is enlarged to it, to avoid a marginal crop."""
_HEAD_ABOVE_BROWS: Final = 0.75
"""Hair and forehead above the highest face point, as a share of the height of the face points."""
_WAIST_BELOW_SHOULDERS: Final = 1.6
"""How far an upper body reaches below the shoulders, in shoulder widths, even without hands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CropBox:
    """A square in the source, in px, edges between pixels: x from `x0_px` to `x0_px + side_px`."""

    x0_px: int
    y0_px: int
    side_px: int

    def seen_from_outside(self, window: Window | None) -> CropBox:
        """Return the square in coordinates of the whole image, of which `window` is a part."""
        if window is None:
            return self
        return CropBox(
            x0_px=self.x0_px + window.x0_px,
            y0_px=self.y0_px + window.y0_px,
            side_px=self.side_px,
        )

    def normalised(self, width_px: int, height_px: int) -> tuple[float, float, float, float]:
        """Return x0, y0, x1, y1 as shares of the source's width and height, 0..1."""
        return (
            self.x0_px / width_px,
            self.y0_px / height_px,
            (self.x0_px + self.side_px) / width_px,
            (self.y0_px + self.side_px) / height_px,
        )


def upper_body_crop(pose: WholeBodyPose, *, margin_share: float) -> CropBox:
    """Return one square for all frames: from above the hair to the waist, hands included.

    The body box spans head, shoulders, elbows, wrists and hands over the 2nd to 98th percentile of
    frames, and at least 1.6 shoulder widths below the shoulders. The square is its longer side plus
    the margin, centred on it, moved into the image, and never larger than the image: nothing is
    padded. If the body is taller than the square, the crop keeps the head and cuts the waist.

    Args:
        pose: the person over the whole clip, in source px.
        margin_share: space around the body box, as a share of its size.
    """
    low, high = _body_box(pose)
    side = float((high - low).max() * (1 + margin_share))
    largest = min(pose.width_px, pose.height_px)
    side_px = largest if side >= _WHOLE_SHARE * largest else min(largest, max(2, round(side)))
    corner = (low + high - side_px) / 2
    corner[1] = min(corner[1], low[1])
    corner = np.round(corner).astype(int)
    limit = np.array([pose.width_px, pose.height_px]) - side_px
    x0_px, y0_px = np.clip(corner, 0, limit)
    return CropBox(x0_px=int(x0_px), y0_px=int(y0_px), side_px=side_px)


def _body_box(pose: WholeBodyPose) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points = pose.keypoints.astype(np.float64)
    points[pose.scores <= VISIBLE_SCORE] = np.nan
    size = np.array([pose.width_px, pose.height_px], dtype=np.float64)
    points = np.clip(points, 0, size)  # points outside the image can't be kept anyway
    body = np.concatenate(
        [points[:, :LEFT_HIP], points[:, FACE], points[:, LEFT_HAND], points[:, RIGHT_HAND]], axis=1
    )
    lows, highs = _frame_boxes(body)
    low = np.array([finite_percentile(lows[:, axis], _OUTLIER_PERCENT) for axis in range(2)])
    high = np.array(
        [finite_percentile(highs[:, axis], 100 - _OUTLIER_PERCENT) for axis in range(2)]
    )
    face_lows, face_highs = _frame_boxes(np.concatenate([points[:, FACE], points[:, :5]], axis=1))
    face_height = finite_percentile((face_highs - face_lows)[:, 1], 50)
    top = finite_percentile(face_lows[:, 1], _OUTLIER_PERCENT) - _HEAD_ABOVE_BROWS * face_height
    shoulders = points[:, [LEFT_SHOULDER, RIGHT_SHOULDER]]
    width = finite_percentile(np.abs(shoulders[:, 0, 0] - shoulders[:, 1, 0]), 75)
    waist = finite_percentile(shoulders[..., 1].mean(axis=1), 50) + _WAIST_BELOW_SHOULDERS * width
    low[1] = np.clip(np.fmin(low[1], top), 0, size[1])
    high[1] = np.clip(np.fmax(high[1], waist), 0, size[1])
    low = np.where(np.isfinite(low), low, 0.0)
    high = np.where(np.isfinite(high), high, size)
    return low, high


def _frame_boxes(
    points: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and highest visible coordinates per frame; NaN where none is visible."""
    lows = np.where(np.isnan(points), np.inf, points).min(axis=1)
    highs = np.where(np.isnan(points), -np.inf, points).max(axis=1)
    lows[~np.isfinite(lows)] = np.nan
    highs[~np.isfinite(highs)] = np.nan
    return lows, highs


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenClip:
    """The three files of a clip."""

    size_px: int
    """Side of the square."""
    clip_sha256: str
    keypoints_sha256: str
    pose_sha256: str


def write_clip(  # noqa: PLR0913 - what a clip is made of
    folder: Path,
    clip_id: str,
    *,
    source: Path,
    info: VideoInfo,
    span: Span,
    crop: CropBox,
    pose: WholeBodyPose,
    size_px: int,
) -> WrittenClip:
    """Write clip, keypoints and pose video of one span below `folder`.

    The three have the same number of frames; this is checked on the finished files.

    Args:
        folder: where `clips/`, `keypoints/` and `poses/` are created if missing; must exist.
        clip_id: names the files.
        source: the video.
        info: its probe.
        span: frames of the clip.
        crop: square of the clip.
        pose: the person over the span, in source px.
        size_px: side of the square clip.
    """
    moved = pose.to_crop(
        x0_px=crop.x0_px,
        y0_px=crop.y0_px,
        scale=size_px / crop.side_px,
        width_px=size_px,
        height_px=size_px,
    )
    frames = read_frames(source, info=info, start_frame=span.start_frame, end_frame=span.end_frame)
    video, poses = write_videos(
        folder,
        clip_id,
        source=source,
        frames=frames,
        crop=crop,
        pose=moved,
        fps=info.fps,
        audio=_sound(source, info, span) if info.has_audio else None,
    )
    keypoints = KEYPOINTS.make_place(folder, clip_id)
    save_pose(keypoints, moved)
    return WrittenClip(
        size_px=size_px,
        clip_sha256=sha256_of(video),
        keypoints_sha256=sha256_of(keypoints),
        pose_sha256=sha256_of(poses),
    )


def write_videos(  # noqa: PLR0913 - what the two videos are made of
    folder: Path,
    clip_id: str,
    *,
    source: Path,
    frames: Iterable[Frame],
    crop: CropBox,
    pose: WholeBodyPose,
    fps: Fraction,
    audio: AudioSource | None,
) -> tuple[Path, Path]:
    """Write clip and pose video below `folder`, as `write_clip` does; return their paths.

    Args:
        folder: see `write_clip`.
        clip_id: names the files.
        source: the video, for errors.
        frames: of the whole picture, one per frame of the clip.
        crop: square of the clip.
        pose: the person over the clip, in px of the clip; its width is that of the clip.
        fps: frames a second.
        audio: sound to add.
    """
    video, poses = (kind.make_place(folder, clip_id) for kind in (CLIP_VIDEO, POSE_VIDEO))
    size_px = pose.width_px
    writer = partial(VideoWriter, width_px=size_px, height_px=size_px, fps=fps)
    given_px = (crop.side_px, crop.side_px)
    _write_both(
        frames,
        crop,
        writer(video, encoding=CLIP, audio=audio, frame_size_px=given_px),
        writer(poses, encoding=POSE),
        PoseDrawer(pose.keypoints, pose.scores, size_px, size_px),
    )
    counts = (_picture_count(video), _picture_count(poses))
    if counts != (len(pose),) * 2:
        raise MediaError(source, f"gave {counts} frames for a clip of {len(pose)}")
    return video, poses


def _write_both(
    frames: Iterable[Frame],
    crop: CropBox,
    clip: VideoWriter,
    poses: VideoWriter,
    drawer: PoseDrawer,
) -> None:
    """Write both videos while frames are read: each has a thread of its own."""

    def draw(at: int) -> None:
        poses.write(drawer.draw(at))

    with (
        clip,
        poses,
        BackgroundCalls(clip.write) as clip_calls,
        BackgroundCalls(draw) as pose_calls,
    ):
        for at, frame in enumerate(frames):
            clip_calls.put(_cropped(frame.image, crop))
            pose_calls.put(at)


def _picture_count(path: Path) -> int:
    """Return how many whole pictures a finished file holds; a quarter of the cost of a probe."""
    with open_video(path) as (container, stream):
        return sum(not packet.is_discard for packet in readable_packets(container, stream))


def _sound(source: Path, info: VideoInfo, span: Span) -> AudioSource:
    fps = float(info.fps)
    return AudioSource(
        path=source, start_s=span.start_frame / fps, end_s=span.end_frame / fps, info=info
    )


def _cropped(image: NDArray[np.uint8], crop: CropBox) -> NDArray[np.uint8]:
    return image[crop.y0_px : crop.y0_px + crop.side_px, crop.x0_px : crop.x0_px + crop.side_px]
