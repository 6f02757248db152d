"""Video in and out: probe, stream frames, pick frames, write, in memory independent of length.

Everything counts frames on one constant-rate timeline per video (`tpbench.video.timeline`), so that
a frame number means the same picture to a detector, a crop, a manifest row and another reader.
"""

from __future__ import annotations

from tpbench.video.audio import AudioSource
from tpbench.video.display import Window
from tpbench.video.footage import (
    Footage,
    PassedOver,
    content_sha256,
    first_number_in,
    is_frame_folder,
    open_footage,
    passed_over,
    pictures_in,
)
from tpbench.video.pictures import PICTURE_SUFFIXES, read_picture
from tpbench.video.probe import probe
from tpbench.video.read import DecodedFrame, Frame, decode_frames, frames_at, read_frames
from tpbench.video.source import VIDEO_SUFFIXES, VideoInfo
from tpbench.video.write import (
    CLIP,
    LOSSLESS_X264,
    POSE,
    PREVIEW,
    BackgroundCalls,
    Encoding,
    VideoWriter,
)

__all__ = [
    "CLIP", "LOSSLESS_X264", "PICTURE_SUFFIXES", "POSE", "PREVIEW", "VIDEO_SUFFIXES",
    "AudioSource", "BackgroundCalls", "DecodedFrame", "Encoding", "Footage", "Frame",
    "PassedOver", "VideoInfo",
    "VideoWriter", "Window", "content_sha256", "decode_frames", "first_number_in", "frames_at",
    "is_frame_folder", "open_footage", "passed_over", "pictures_in", "probe", "read_frames",
    "read_picture",
]  # fmt: skip
