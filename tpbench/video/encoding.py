"""How videos are encoded: a table of what the project writes."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One way of encoding a video."""

    name: str
    """Short name for logs."""

    codec: str
    """libav's name of the encoder."""

    pixel_format: str
    """libav's name of the stored pixel format."""

    container: str
    """libav's name of the file format."""

    options: Mapping[str, str]
    """Options of the encoder."""

    @property
    def lossless(self) -> bool:
        """Whether every pixel reads back as it was written."""
        return self.pixel_format == "rgb24"

    @property
    def needs_even_size(self) -> bool:
        """Whether width and height must be even: colour is kept for blocks of 2x2 px."""
        return self.pixel_format == "yuv420p"


def _x264(name: str, crf: int) -> Encoding:
    """H.264 that everything plays; a keyframe every 48 frames keeps random access cheap."""
    return Encoding(
        name=name,
        codec="libx264",
        pixel_format="yuv420p",
        container="mp4",
        options=MappingProxyType({"crf": str(crf), "preset": "medium", "g": "48"}),
    )


CLIP = _x264("clip", 12)
"""Clips of a dataset: near the limit of what 8-bit 4:2:0 can hold."""

POSE = _x264("pose", 12)
"""Pose drawings: thin coloured lines that models are trained on."""

PREVIEW = _x264("preview", 23)
"""For people to look at."""

LOSSLESS_X264 = Encoding(
    name="lossless-x264",
    codec="libx264rgb",
    pixel_format="rgb24",
    container="matroska",
    options=MappingProxyType({"crf": "0", "preset": "ultrafast"}),
)
"""Exact RGB, about three times as fast to write and to read as FFV1."""
