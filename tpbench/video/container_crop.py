"""What a container cuts off the pictures of its stream: Matroska's PixelCrop, MP4's clean aperture.

libav reads both, and hands them to whoever decodes; PyAV keeps them to itself, except in the
description of a file that libav logs for people, from where they are taken here. (What H.264 and
its kind crop on their own account, the decoder has done already.)
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from tpbench.video.display import Edges

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_STREAM: Final = re.compile(r"^  Stream #0:(\d+)[\[(: ]")
_CROP: Final = re.compile(r"^      Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)\s*$")

NO_EDGES: Final = Edges(0, 0, 0, 0)


def container_crop(container: InputContainer, stream: VideoStream) -> Edges:
    """Return what the container cuts off; nothing where a crop leaves no picture."""
    number = None
    for line in _description(container).splitlines():
        if (found := _STREAM.match(line)) is not None:
            number = int(found.group(1))
        elif number == stream.index and (found := _CROP.match(line)) is not None:
            left, right, top, bottom = (int(text) for text in found.groups())
            context = stream.codec_context
            if left + right < context.width and top + bottom < context.height:
                return Edges(left, top, right, bottom)
    return NO_EDGES


def pixel_aspect(stream: VideoStream, cropped: Edges) -> Fraction:
    """Return width over height of a pixel.

    Where a Matroska file crops and names no display size, libav holds the cropped picture against
    the uncropped size, which would squeeze it back into the bars; by the format's own rule its
    pixels are square.
    """
    declared = stream.sample_aspect_ratio or Fraction(1)
    if cropped == NO_EDGES:
        return declared
    width_px, height_px = stream.codec_context.width, stream.codec_context.height
    left_px = width_px - cropped.left_px - cropped.right_px
    left_high_px = height_px - cropped.top_px - cropped.bottom_px
    unset = Fraction(left_high_px * width_px, left_px * height_px)
    return Fraction(1) if declared == unset else declared


def _description(container: InputContainer) -> str:
    """Return what libav tells people of a file; it says so only while its log is on."""
    import av.logging

    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        # PyAV's annotations leave this one out.
        return str(container.dumps_format())  # type: ignore[attr-defined]
    finally:
        av.logging.set_level(level)
