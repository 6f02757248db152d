"""Anchors: generators without weights, as reference points for the values of a metric.

`frozen` shows no motion, `oracle` is perfect, `gt-reencode` has the loss of a codec only, `gt-lag5`
has the right motion but late. Where a metric ranks a model relative to these tells something about
the metric too.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Generic, Literal

from pydantic import Field

from tpbench.baselines.base import (
    AnimationTask,
    ClipByClip,
    Images,
    JsonValue,
    Options,
    OptionsT,
    OptionValue,
    parse_options,
)
from tpbench.errors import GeneratorError, MediaError
from tpbench.video import Encoding, VideoInfo, VideoWriter, probe, read_frames


class ReencodeOptions(Options):
    """How the driving video is encoded."""

    crf: int = Field(default=23, ge=0, le=51)
    """x264's constant rate factor; 23 is its default, lower is better."""
    preset: Literal[
        "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower",
        "veryslow", "placebo",
    ] = "medium"  # fmt: skip
    """x264's preset."""


class LagOptions(Options):
    """The delay of the driving video."""

    lag_frames: int = Field(default=5, ge=0)
    """Delay in frames."""


class _Anchor(ClipByClip, Generic[OptionsT]):
    """Base class of the anchors: parses and describes the options."""

    _name: str
    _kind: type[OptionsT]

    def __init__(
        self, options: Mapping[str, OptionValue], *, weights_dir: Path | None, device: str
    ) -> None:
        self._options = parse_options(self._name, self._kind, options)

    def describe(self) -> dict[str, JsonValue]:
        """Return the options."""
        return self._options.model_dump(mode="json")


class Frozen(_Anchor[Options]):
    """Shows the reference in every frame: no motion, and no jitter either."""

    _name, _kind = "frozen", Options

    def images(self, task: AnimationTask) -> Images:
        """Yield the reference, once for each frame."""
        for _ in range(task.n_frames):
            yield task.reference


class Oracle(_Anchor[Options]):
    """Shows the driving video itself, pixel by pixel: the best possible value of any metric."""

    _name, _kind = "oracle", Options

    def images(self, task: AnimationTask) -> Images:
        """Yield the frames of the driving video."""
        video, info = _driving_video(task)
        for frame in read_frames(video, info=info):
            yield frame.image


class GtReencode(_Anchor[ReencodeOptions]):
    """Shows the driving video after x264 in 4:2:0: the loss of a codec alone in every metric.

    The input frames are RGB, as those of a method are, so the halved colour resolution is included.
    A single thread encodes, so that the bytes depend only on the frames and the options.
    """

    _name, _kind = "gt-reencode", ReencodeOptions

    def images(self, task: AnimationTask) -> Images:
        """Yield the frames of the driving video after encoding and decoding.

        Raises:
            GeneratorError: the temporary folder has no room for the encoded video.
        """
        video, info = _driving_video(task)
        if info.width_px % 2 or info.height_px % 2:
            raise MediaError(video, f"has {_size(info)}, and 4:2:0 colour wants even sides")
        try:
            folder = tempfile.TemporaryDirectory(prefix="tpbench-reencode-")
        except OSError as error:
            raise _no_room(error) from error
        with folder as name:
            encoded = Path(name) / "video.mp4"
            self._encode(video, info, encoded)
            for frame in read_frames(encoded):
                yield frame.image

    def _encode(self, video: Path, info: VideoInfo, to: Path) -> None:
        encoding = Encoding(
            name="gt-reencode",
            codec="libx264",
            pixel_format="yuv420p",
            container="mp4",
            options={"crf": str(self._options.crf), "preset": self._options.preset},
        )
        try:
            with VideoWriter(
                to,
                width_px=info.width_px,
                height_px=info.height_px,
                fps=info.fps,
                encoding=encoding,
            ) as writer:
                for frame in read_frames(video, info=info):
                    writer.write(frame.image)
        except OSError as error:
            raise _no_room(error) from error


class GtLag(_Anchor[LagOptions]):
    """Shows the driving video some frames late; until then, its first frame.

    Frame t is frame max(0, t - lag) of the driving video. Every frame is real, so metrics of single
    frames find no fault; metrics that compare motion over time must find one.
    """

    _name, _kind = "gt-lag5", LagOptions

    def images(self, task: AnimationTask) -> Images:
        """Yield the frames of the driving video with the delay."""
        video, info = _driving_video(task)
        lag = min(self._options.lag_frames, info.frame_count - 1)
        frames = read_frames(video, info=info, end_frame=info.frame_count - lag)
        first = next(frames)
        yield from itertools.repeat(first.image, lag + 1)
        for frame in frames:
            yield frame.image


def _driving_video(task: AnimationTask) -> tuple[Path, VideoInfo]:
    """Return the driving video and its properties.

    Raises:
        MediaError: there is none, it can't be read, or it does not match the task.
    """
    if task.driving_video is None:
        raise MediaError(task.clip_id, "has no driving video, whose frames an anchor needs")
    info = probe(task.driving_video)
    found = (info.frame_count, info.width_px, info.height_px)
    if found != (task.n_frames, task.width_px, task.height_px):
        wanted = f"{task.n_frames} frames of {task.width_px}x{task.height_px} px"
        reason = f"has {info.frame_count} frames of {_size(info)}, the task wants {wanted}"
        raise MediaError(task.driving_video, reason)
    return task.driving_video, info


def _no_room(error: OSError) -> GeneratorError:
    return GeneratorError(
        f"gt-reencode: no room for a temporary video ({error.strerror}); set TMPDIR to a folder "
        "that has some"
    )


def _size(info: VideoInfo) -> str:
    return f"{info.width_px}x{info.height_px} px"
