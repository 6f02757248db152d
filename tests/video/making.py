"""Videos of odd kinds: written picture by picture, copied packet by packet, changed box by box."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import av
from av.video.stream import VideoStream
from numpy.typing import NDArray


def write_video(
    path: Path,
    pictures: Iterable[NDArray[Any] | av.VideoFrame],
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    given: str = "rgb24",
    options: Mapping[str, str] | None = None,
    set_up: Callable[[VideoStream], object] = bool,
) -> Path:
    """Write 25 pictures a second, each an array in the format `given` or a frame as it is."""
    frames = [
        picture
        if isinstance(picture, av.VideoFrame)
        else av.VideoFrame.from_ndarray(picture, format=given)
        for picture in pictures
    ]
    with av.open(str(path), "w") as output:
        stream = cast("VideoStream", output.add_stream(codec, rate=25))
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = pixel_format
        stream.codec_context.options = dict(options or {})
        set_up(stream)
        for frame in frames:
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def copy_packets(
    source: Path,
    target: Path,
    change: Callable[[int, Any], Any] = lambda _, packet: packet,
    options: Mapping[str, str] | None = None,
) -> Path:
    """Copy a file; `change` gives for each packet, with its number, another one, or None."""
    with (
        av.open(str(source)) as container,
        av.open(str(target), "w", options=dict(options or {})) as output,
    ):
        streams = [output.add_stream_from_template(stream) for stream in container.streams]
        for number, packet in enumerate(container.demux()):
            changed = change(number, packet) if packet.size else None
            if changed is not None:
                changed.stream = streams[packet.stream.index]
                output.mux(changed)
    return target


def ebml(kind: int, payload: bytes) -> bytes:
    """Return an element of Matroska with a size of 8 bytes."""
    name = kind.to_bytes((kind.bit_length() + 7) // 8, "big")
    return name + (len(payload) | 1 << 56).to_bytes(8, "big") + payload


_HEADS = {b"moov": 8, b"trak": 8, b"mdia": 8, b"minf": 8, b"stbl": 8, b"stsd": 16}
"""Boxes above a sample description, and how long their heads are."""


def replaced(data: bytes, at: int, new: bytes, *, cut: int = 0) -> bytes:
    """Put `new` for `cut` bytes at `at`, inside an index at the file's end; boxes above grow."""
    out = bytearray(data[:at] + new + data[at + cut :])
    more = len(new) - cut

    def grow(start: int, end: int) -> None:
        place = start
        while place + 8 <= end:
            size, kind = struct.unpack(">I4s", out[place : place + 8])
            if place < at <= place + size and kind != b"mdat":
                out[place : place + 4] = struct.pack(">I", size + more)
                if kind in _HEADS:
                    grow(place + _HEADS[kind], place + size + more)
                return
            place += size

    grow(0, len(out))
    return bytes(out)


def with_clean_aperture(data: bytes, width: int, height: int, right: int, down: int) -> bytes:
    """Crop an H.264 MP4 to this size, `right` and `down` half px from the picture's middle."""
    box = struct.pack(">I4s8i", 40, b"clap", width, 1, height, 1, right, 2, down, 2)
    at = data.index(b"avc1", data.index(b"stsd")) - 4
    at += struct.unpack(">I", data[at : at + 4])[0]
    return replaced(data, at, box)


def with_channels(data: bytes, labels: list[int]) -> bytes:
    """Name each channel in a QuickTime file's `chan` box (1 left, 2 right, 3 centre, ...)."""
    at = data.index(b"chan") - 4
    size = struct.unpack(">I", data[at : at + 4])[0]
    box = struct.pack(">I4sIIII", 24 + 20 * len(labels), b"chan", 0, 0, 0, len(labels))
    box += b"".join(struct.pack(">II3f", label, 0, 0, 0, 0) for label in labels)
    return replaced(data, at, box, cut=size)
