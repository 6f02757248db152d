"""Transparent pictures are refused: nothing says over what they are to be seen.

Below transparent places lie colours that nobody was meant to see. A format that could be
transparent but is opaque all over is fine. Ordinary files cost nothing: only pictures of a format
with transparency are looked at, each as it is decoded. VP8 and VP9 keep their transparency beside
the picture, in a stream of its own, which no decoder here joins to it; where a Matroska or WebM
file says that it has one, it is decoded when the file is first looked at.
"""

from __future__ import annotations

import contextlib
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.errors import TransparentError
from tpbench.video.source import open_video, readable_packets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from av.codec import CodecContext
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from tpbench.video.decode import Picture

_OPAQUE_SHARE: Final = 0.99
"""Of the largest value: lossy codecs miss it by a level, and 1 % can't be seen."""

_BESIDE: Final = "matroska_block_additional"
_BESIDE_ID: Final = (1).to_bytes(8, "big")
"""Number of the block that holds transparency."""


def require_opaque(path: Path, pictures: Iterable[Picture], *, codec: str) -> Iterator[Picture]:
    """Give the pictures on.

    Raises:
        TransparentError: one of them is transparent in places.
    """
    for picture in pictures:
        if _may_be_transparent(picture.picture.format.name) and _is_transparent(
            picture.picture, zero_is_unused=codec == "rawvideo"
        ):
            raise transparent(path)
        yield picture


def require_opaque_beside(path: Path) -> None:
    """Look at the transparency that a VP8 or VP9 file keeps beside its pictures, if it has any.

    Raises:
        TransparentError: one of its pictures is transparent in places.
        MediaError: the file can't be read.
    """
    import av

    with open_video(path) as (container, stream):
        if not keeps_transparency_beside(stream):
            return
        name = stream.codec_context.codec.canonical_name
        decoder = av.CodecContext.create(name, "r")
        for packet in readable_packets(container, stream):
            with contextlib.suppress(av.FFmpegError):
                for alpha in _beside(decoder, packet):
                    if _lowest(alpha) < _OPAQUE_SHARE:
                        raise transparent(path)


def keeps_transparency_beside(stream: VideoStream) -> bool:
    """Return whether the file says that its VP8 or VP9 pictures have transparency beside them."""
    marks = {key.lower(): value for key, value in stream.metadata.items()}
    return marks.get("alpha_mode") == "1" and stream.codec_context.codec.canonical_name in (
        "vp8",
        "vp9",
    )


def transparent(path: Path) -> TransparentError:
    """Return the error of a transparent video."""
    return TransparentError(path, "is transparent in places: lay it over its background first")


def _beside(decoder: CodecContext, packet: Packet[VideoStream]) -> list[VideoFrame]:
    """Decode the picture of transparency that came with a packet."""
    import av

    if not packet.has_sidedata(_BESIDE):
        return []
    block = bytes(packet.get_sidedata(_BESIDE))
    if not block.startswith(_BESIDE_ID):
        return []
    decoded: list[VideoFrame] = decoder.decode(av.Packet(block[8:]))  # type: ignore[attr-defined]
    return decoded


@cache
def _may_be_transparent(pixel_format: str) -> bool:
    import av

    # A palette's colours may be transparent; libav lists no component for that.
    components = av.VideoFormat(pixel_format, 16, 16).components
    return pixel_format == "pal8" or any(component.is_alpha for component in components)


def _is_transparent(picture: VideoFrame, *, zero_is_unused: bool) -> bool:
    if len(picture.planes) == 4:
        values, largest = _plane(picture, 3)
    else:
        rgba = picture.to_ndarray(format="rgba", threads=1)
        values, largest = np.asarray(rgba[..., 3], dtype=np.uint8), 255
    if zero_is_unused and not values.any():
        return False  # uncompressed AVI: the fourth byte is often just padding
    return bool(values.min() < _OPAQUE_SHARE * largest)


def _lowest(alpha: VideoFrame) -> float:
    """Return the smallest value of a picture of transparency, as a share of the largest possible.

    It is coded as brightness, of the full range whatever is declared.
    """
    values, largest = _plane(alpha, 0)
    return float(values.min()) / largest


def _plane(picture: VideoFrame, number: int) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], int]:
    """Return a plane of full size as (H, W) numbers, and the largest number there can be."""
    bits = picture.format.components[number].bits
    data = memoryview(picture.planes[number])
    values = np.frombuffer(data, np.uint8) if bits <= 8 else np.frombuffer(data, np.uint16)
    return values.reshape(picture.height, -1)[:, : picture.width], 2**bits - 1
