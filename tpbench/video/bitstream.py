"""Properties read from packets before decoding: sizes, field coding, display orientation.

H.264 and HEVC streams may declare how their pictures are rotated in the "display orientation"
message (type 47 of the supplemental enhancement information). It holds for all pictures shown
later, until another one comes or a new coded video sequence begins (ITU-T H.264 annex D.2.27, H.265
annex D.3.17). libav passes the message on with its own picture only, so `OrientationMessages`
searches the packets for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from av.packet import Packet
from av.video.stream import VideoStream

from tpbench.video.display import Orientation

_SEARCHED_BYTES: Final = 8192
"""Headers precede the picture."""
_START_CODE: Final = re.compile(rb"\x00\x00\x01")
_LENGTH_SIZE_AT: Final = {"h264": 4, "hevc": 21}
"""Offset in the extradata of the byte with the length size of NAL units, by codec."""
_HIGH_PROFILES: Final = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
"""Profiles of H.264 whose headers have additional fields for colours."""
_SIZES: Final[dict[str, re.Pattern[bytes]]] = {
    codec: re.compile(pattern, re.DOTALL)
    for codec, pattern in {
        "mpeg1video": rb"\x00\x00\x01\xb3(.{0,3})",
        "mpeg2video": rb"\x00\x00\x01\xb3(.{0,3})",
        "mpeg4": rb"\x00\x00\x01[\x20-\x2f](.*?)(?=\x00\x00\x01)",
        "vp8": rb"\A.{6}(.{0,4})",
        "mjpeg": rb"\xff[\xc0-\xc2]\x00.\x08(....)",
        "prores": rb"\A.{16}(.{0,4})",
    }.items()
}
"""Where a keyframe's headers hold the size, by codec."""


def size_header(codec: str, packet: memoryview, extradata: bytes | None) -> bytes:
    """Return the bytes of a keyframe's headers that hold the size; empty where there are none.

    Args:
        codec: libav's name.
        packet: its data.
        extradata: the container's codec headers, which define how H.264 and HEVC are wrapped.
    """
    head = packet[:_SEARCHED_BYTES].tobytes()
    if codec in _LENGTH_SIZE_AT:
        units = _nal_units(memoryview(head), _length_size(codec, extradata))
        # A start code of four bytes leaves a zero at the end of the previous unit.
        return b"".join(bytes(unit).rstrip(b"\0") for unit in units if _is_sps(codec, unit))
    if codec == "vp9":
        return head[1:8] + bytes([head[8] & 0xF0]) if len(head) > 8 else b""
    if codec == "av1":
        at = 2 if head[:2] == b"\x12\x00" else 0
        return head[at : at + 2 + head[at + 1]] if head[at : at + 1] == b"\x0a" else b""
    found = _SIZES[codec].search(head) if codec in _SIZES else None
    return found[1] if found else b""


def may_be_in_fields(codec: str, packet: memoryview, extradata: bytes | None) -> bool:
    """Whether pictures may be coded field by field, so that two packets make one picture.

    Args:
        codec: libav's name.
        packet: the first keyframe.
        extradata: the container's codec headers.
    """
    if codec != "h264":
        return False
    units = list(_nal_units(packet[:_SEARCHED_BYTES], _length_size(codec, extradata)))
    front = memoryview(extradata or b"")
    if not front or front[0] != 1:
        units += _nal_units(front, 0)
    elif len(front) > 5:
        units += islice(_nal_units(front[6:], 2), front[5] & 31)
    try:
        return any(not _h264_frames_only(bytes(unit)) for unit in units if _is_sps(codec, unit))
    except (IndexError, ValueError):
        return True  # unreadable here; True only means that the file is decoded


def is_hidden(codec: str, packet: memoryview) -> bool:
    """Whether a packet holds a picture that is only a reference for others and never shown."""
    return codec == "vp8" and len(packet) > 0 and not (packet[0] >> 4) & 1


def is_header(codec: str, packet: memoryview) -> bool:
    """Whether a packet holds headers and no picture: decoders use them, but log an error."""
    return codec == "theora" and len(packet) > 0 and bool(packet[0] & 0x80)


def _length_size(codec: str, extradata: bytes | None) -> int:
    """Return the bytes of each unit's length prefix; 0 for start codes (byte streams)."""
    at = _LENGTH_SIZE_AT.get(codec, 0)
    if not extradata or len(extradata) <= at or extradata[0] != 1:
        return 0
    return (extradata[at] & 3) + 1


def _nal_units(data: memoryview, length_size: int) -> Iterator[memoryview]:
    """Yield the NAL units in a packet, without prefixes or start codes; none is empty."""
    if length_size:
        at = 0
        while at + length_size < len(data):
            start = at + length_size
            at = start + int.from_bytes(data[at:start], "big")
            if start < at:
                yield data[start:at]
        return
    marks = [match.span() for match in _START_CODE.finditer(data)]
    ends = [start for start, _ in marks[1:]]
    for (_, start), end in zip(marks, [*ends, len(data)], strict=True):
        if start < end:
            yield data[start:end]


def _is_sps(codec: str, unit: memoryview) -> bool:
    """Whether a unit is a sequence parameter set."""
    kind, wanted = (unit[0] & 31, 7) if codec == "h264" else (unit[0] >> 1 & 63, 33)
    return len(unit) > 4 and kind == wanted


def _h264_frames_only(unit: bytes) -> bool:
    """Return frame_mbs_only_flag of a sequence parameter set (ISO/IEC 14496-10, 7.3.2.1.1)."""
    bits = _Bits(re.sub(b"\x00\x00\x03", b"\x00\x00", unit[1:]))
    profile = bits.read(8)
    bits.read(16)
    bits.golomb()
    if profile in _HIGH_PROFILES:
        _skip_colours(bits)
    bits.golomb()  # log2_max_frame_num_minus4
    order_type = bits.golomb()
    if order_type == 0:
        bits.golomb()
    elif order_type == 1:
        bits.read(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()  # max_num_ref_frames
    bits.read(1)
    bits.golomb()  # width
    bits.golomb()  # height
    return bits.read(1) == 1


def _skip_colours(bits: _Bits) -> None:
    chroma = bits.golomb()
    if chroma == 3:
        bits.read(1)
    bits.golomb()
    bits.golomb()
    bits.read(1)
    if bits.read(1):
        for number in range(8 if chroma != 3 else 12):
            if bits.read(1):
                _skip_scaling_list(bits, 16 if number < 6 else 64)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.golomb()
            delta = (code + 1) // 2 if code % 2 else -(code // 2)
            following = (last + delta) % 256
        last = following or last


class _Bits:
    """Reads numbers from a string of bits."""

    def __init__(self, data: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in data[:256])
        self._at = 0

    def read(self, count: int) -> int:
        """Read an unsigned number of `count` bits."""
        digits = self._bits[self._at : self._at + count]
        self._at += count
        return int(digits, 2)

    def golomb(self) -> int:
        """Read an unsigned Exp-Golomb number."""
        zeros = self._bits.index("1", self._at) - self._at
        self._at += zeros
        return self.read(zeros + 1) - 1


class OrientationMessages:
    """Searches the packets of a stream, in order, for display orientation messages."""

    def __init__(self, stream: VideoStream) -> None:
        codec = stream.codec_context.codec.canonical_name
        self._is_searched = codec in _LENGTH_SIZE_AT
        self._hevc = codec == "hevc"
        self._length_size = _length_size(codec, stream.codec_context.extradata)
        self._in_effect = False
        self.found: list[tuple[int, Orientation | None]] = []
        """Number of the packet, counted through the file, and the orientation of its picture and
        those shown after it; None where the stream declares none from there on."""

    def each(self, packets: Iterable[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        """Yield the packets unchanged, and record their messages in `found`."""
        for number, packet in enumerate(packets):
            if self._is_searched:
                self.found += [(number, change) for change in self.push(memoryview(packet))]
            yield packet

    def push(self, data: memoryview) -> list[Orientation | None]:
        """Return the change that the next packet makes: none, or the orientation from there on."""
        changes: list[Orientation | None] = []
        is_new_sequence = False
        for unit in _nal_units(data, self._length_size):
            kind = (unit[0] >> 1) & 63 if self._hevc else unit[0] & 31
            if kind == (39 if self._hevc else 6):
                changes = _messages(bytes(unit[2 if self._hevc else 1 :])) or changes
            elif 16 <= kind <= 20 if self._hevc else kind == 5:
                is_new_sequence = True
        if not changes and is_new_sequence and self._in_effect:
            changes = [None]
        if changes:
            self._in_effect = changes[0] is not None
        return changes


def _messages(unit: bytes) -> list[Orientation | None]:
    """Read the first display orientation among the messages of one unit, if there is one."""
    if 47 not in unit:
        return []
    unit = unit.replace(b"\x00\x00\x03", b"\x00\x00")
    at = 0
    while at + 2 < len(unit):
        kind, at = _number(unit, at)
        size, at = _number(unit, at)
        if kind == 47 and at < len(unit):
            # A message that only cancels is shorter.
            return [_orientation(int.from_bytes(unit[at : at + 3].ljust(3, b"\x00"), "big"))]
        at += size
    return []


def _number(unit: bytes, at: int) -> tuple[int, int]:
    """Read a number coded as bytes of 255 and a remainder; return it and the offset after it."""
    value = 0
    while at < len(unit) and unit[at] == 255:
        value, at = value + 255, at + 1
    return (value + unit[at], at + 1) if at < len(unit) else (value, at)


def _orientation(bits: int) -> Orientation | None:
    """Read cancel flag, mirror left-right, mirror top-bottom, 16 bits of rotation applied last."""
    if bits >> 23:
        return None
    left_right, top_bottom = bool(bits >> 22 & 1), bool(bits >> 21 & 1)
    turns = round((bits >> 5 & 0xFFFF) / 16384)
    return Orientation(
        quarter_turns=(turns + (2 if top_bottom else 0)) % 4, mirrored=left_right != top_bottom
    )
