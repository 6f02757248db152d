"""Changing MP4 and QuickTime files in place, box by box."""

from __future__ import annotations

import struct

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
