"""Making the three files of a kept clip in one pass over its frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2

from tpbench.dataset import clip_path, keypoints_path, pose_path
from tpbench.dwpose_drawing import draw_pose
from tpbench.errors import MediaError
from tpbench.files import sha256_of
from tpbench.video import CLIP, POSE, AudioSource, VideoWriter, probe, read_frames
from tpbench.wholebody import save_pose

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from tpbench.extraction.crop import CropBox
    from tpbench.extraction.spans import Span
    from tpbench.video import VideoInfo
    from tpbench.wholebody import WholeBodyPose


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

    The three have the same number of frames; this is asserted on the finished files.

    Args:
        folder: where `clips/`, `keypoints/` and `poses/` are or are made; it is there.
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
    video, poses = clip_path(folder, clip_id), pose_path(folder, clip_id)
    keypoints = keypoints_path(folder, clip_id)
    for path in (video, poses, keypoints):
        path.parent.mkdir(exist_ok=True)
    audio = None
    if info.has_audio:
        fps = float(info.fps)
        audio = AudioSource(
            path=source,
            start_s=span.start_frame / fps,
            end_s=span.end_frame / fps,
            info=info,
        )
    frames = read_frames(source, info=info, start_frame=span.start_frame, end_frame=span.end_frame)
    with (
        VideoWriter(
            video,
            width_px=size_px,
            height_px=size_px,
            fps=info.fps,
            encoding=CLIP,
            audio=audio,
        ) as clip_writer,
        VideoWriter(
            poses, width_px=size_px, height_px=size_px, fps=info.fps, encoding=POSE
        ) as pose_writer,
    ):
        for at, frame in enumerate(frames):
            clip_writer.write(_cropped(frame.image, crop, size_px))
            pose_writer.write(
                draw_pose(moved.keypoints[at : at + 1], moved.scores[at : at + 1], size_px, size_px)
            )
    save_pose(keypoints, moved)
    counts = (probe(video).frame_count, probe(poses).frame_count, len(moved))
    if counts != (span.n_frames,) * 3:
        raise MediaError(source, f"gave {counts} frames for a clip of {span.n_frames}")
    return WrittenClip(
        size_px=size_px,
        clip_sha256=sha256_of(video),
        keypoints_sha256=sha256_of(keypoints),
        pose_sha256=sha256_of(poses),
    )


def _cropped(image: NDArray[np.uint8], crop: CropBox, size_px: int) -> NDArray[np.uint8]:
    square = image[crop.y0_px : crop.y0_px + crop.side_px, crop.x0_px : crop.x0_px + crop.side_px]
    if crop.side_px == size_px:
        return square
    interpolation = cv2.INTER_AREA if crop.side_px > size_px else cv2.INTER_CUBIC
    resized: NDArray[np.uint8] = cv2.resize(square, (size_px, size_px), interpolation=interpolation)
    return resized
