"""What packets say before decoding: marks in H.264 and HEVC, and files that only count pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final, cast

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tpbench.video.source import Source, readable_packets


def numbered_pictures(
    source: Source,
    *,
    start: int,
    joints: frozenset[int],
    decode: Callable[[VideoStream, Packet[VideoStream] | None], list[VideoFrame]],
) -> Generator[tuple[int, VideoFrame]]:
    """Decode from a keyframe to the end of the file, in order of display.

    Pictures shown before the keyframe, and before those at joints, are left out: they lean on what
    was not decoded.

    Args:
        source: the file, just opened.
        start: number of the packet to start at, a keyframe.
        joints: keyframes at which another recording begins.
        decode: decodes a packet, or flushes the decoder; decides what becomes of damage.

    Yields:
        The number of the packet that a picture comes from, and the picture.
    """
    stream = source.stream
    leading = _Leading(start)
    number = start
    for number, packet in enumerate(readable_packets(source.container, stream)):
        if number < start:
            continue
        if number in joints and number > start:
            yield from leading.without(decode(stream, None), number)
            stream.codec_context.flush_buffers()
            leading = _Leading(number)
        goes_on = packet.is_discard and any(joint <= number for joint in joints)
        sent = _kept(packet) if goes_on else packet
        sent.pts = number
        yield from leading.without(decode(stream, sent), number)
    yield from leading.without(decode(stream, None), number)


def _kept(packet: Packet[VideoStream]) -> Packet[VideoStream]:
    """Return a packet that is shown: libav discards what follows where a clock has gone back.

    It takes that for what an edit list leaves out, which is only in front of a recording.
    """
    kept = av.Packet(bytes(packet))
    kept.time_base = packet.time_base
    kept.is_keyframe = packet.is_keyframe
    return cast("Packet[VideoStream]", kept)


class _Leading:
    """Leaves out what is shown before the picture of a keyframe."""

    def __init__(self, key: int) -> None:
        self._key: int | None = key

    def without(
        self, pictures: Iterable[VideoFrame], number: int
    ) -> Iterator[tuple[int, VideoFrame]]:
        for picture in pictures:
            # Few decoders hand no stamp on; these don't reorder.
            shown = number if picture.pts is None else picture.pts
            if self._key is not None and shown != self._key and not picture.key_frame:
                continue
            self._key = None
            yield shown, picture


_SEARCHED_BYTES: Final = 8192
"""Headers lie in front of the picture."""
_H264_SPS: Final = 7
_HEVC_SPS: Final = 33
_START_CODE: Final = re.compile(rb"\x00\x00\x01")
_HIGH_PROFILES: Final = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
"""Profiles of H.264 whose headers say more of colours."""


def size_header(codec: str, packet: memoryview, extradata: bytes | None) -> bytes:
    """Return the bytes of a keyframe's headers that hold the size; empty where there are none.

    Args:
        codec: libav's name.
        packet: its data.
        extradata: what the container says in front, which tells how H.264 and HEVC are wrapped.
    """
    head = packet[:_SEARCHED_BYTES].tobytes()
    if codec == "h264":
        return b"".join(_nal_units(head, _length_size(extradata, at=4), _is_h264_sps))
    if codec == "hevc":
        return b"".join(_nal_units(head, _length_size(extradata, at=21), _is_hevc_sps))
    find = _FINDERS.get(codec)
    return find(head) if find else b""


def may_be_in_fields(codec: str, packet: memoryview, extradata: bytes | None) -> bool:
    """Whether pictures may be coded field by field, so that two packets make one picture.

    Args:
        codec: libav's name.
        packet: the first keyframe.
        extradata: what the container says in front.
    """
    if codec != "h264":
        return False
    units = list(_nal_units(packet[:_SEARCHED_BYTES].tobytes(), _length_size(extradata, at=4)))
    units += _units_in_front(extradata or b"")
    sets = [unit for unit in units if _is_h264_sps(unit)]
    try:
        return any(not _h264_frames_only(unit) for unit in sets)
    except (IndexError, ValueError):
        return True  # unreadable here; what follows from it is only a closer look


def is_hidden(codec: str, packet: memoryview) -> bool:
    """Whether a packet holds a picture that is only leaned on and never shown."""
    return codec == "vp8" and len(packet) > 0 and not (packet[0] >> 4) & 1


def is_header(codec: str, packet: memoryview) -> bool:
    """Whether a packet holds headers and no picture: decoders take them in, and then complain."""
    return codec == "theora" and len(packet) > 0 and bool(packet[0] & 0x80)


def _length_size(extradata: bytes | None, *, at: int) -> int:
    """Return bytes of the length in front of every unit; 0 for start codes (byte streams)."""
    if not extradata or len(extradata) <= at or extradata[0] != 1:
        return 0
    return (extradata[at] & 3) + 1


def _is_h264_sps(unit: bytes) -> bool:
    return len(unit) > 4 and unit[0] & 31 == _H264_SPS


def _is_hevc_sps(unit: bytes) -> bool:
    return len(unit) > 4 and unit[0] >> 1 & 63 == _HEVC_SPS


def _nal_units(
    head: bytes, length_size: int, wanted: Callable[[bytes], bool] = bool
) -> Iterator[bytes]:
    units = _by_length(head, length_size) if length_size else _by_start_code(head)
    return filter(wanted, units)


def _by_length(head: bytes, length_size: int) -> Iterator[bytes]:
    at = 0
    while at + length_size < len(head):
        length = int.from_bytes(head[at : at + length_size], "big")
        yield head[at + length_size : at + length_size + length]
        at += length_size + length


def _by_start_code(head: bytes) -> Iterator[bytes]:
    starts = [match.end() for match in _START_CODE.finditer(head)]
    for start, end in zip(starts, [*(start - 3 for start in starts[1:]), len(head)], strict=True):
        # A start code of four bytes leaves a zero behind the unit before it.
        yield head[start:end].rstrip(b"\x00")


def _units_in_front(extradata: bytes) -> list[bytes]:
    """Return the sequence parameter sets of H.264 that the container holds."""
    if extradata[:1] != b"\x01":
        return list(_by_start_code(extradata))
    units, at = [], 6
    for _ in range(extradata[5] & 31 if len(extradata) > 5 else 0):
        length = int.from_bytes(extradata[at : at + 2], "big")
        units.append(extradata[at + 2 : at + 2 + length])
        at += 2 + length
    return units


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
        """Read an unsigned number of so many bits."""
        digits = self._bits[self._at : self._at + count]
        self._at += count
        return int(digits, 2)

    def golomb(self) -> int:
        """Read an unsigned Exp-Golomb number."""
        zeros = self._bits.index("1", self._at) - self._at
        self._at += zeros
        return self.read(zeros + 1) - 1


def _mpeg2(head: bytes) -> bytes:
    at = head.find(b"\x00\x00\x01\xb3")
    return head[at + 4 : at + 7] if at >= 0 else b""


def _mpeg4(head: bytes) -> bytes:
    found = re.search(rb"\x00\x00\x01[\x20-\x2f](.*?)(?=\x00\x00\x01)", head, re.DOTALL)
    return found.group(1) if found else b""


def _vp8(head: bytes) -> bytes:
    return head[6:10]


def _vp9(head: bytes) -> bytes:
    return head[1:8] + bytes([head[8] & 0xF0]) if len(head) > 8 else b""


def _av1(head: bytes) -> bytes:
    at = 2 if head[:2] == b"\x12\x00" else 0
    return head[at : at + 2 + head[at + 1]] if head[at : at + 1] == b"\x0a" else b""


def _mjpeg(head: bytes) -> bytes:
    found = re.search(rb"\xff[\xc0-\xc2]\x00.\x08(....)", head, re.DOTALL)
    return found.group(1) if found else b""


def _prores(head: bytes) -> bytes:
    return head[16:20]


_FINDERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "mpeg1video": _mpeg2,
    "mpeg2video": _mpeg2,
    "mpeg4": _mpeg4,
    "vp8": _vp8,
    "vp9": _vp9,
    "av1": _av1,
    "mjpeg": _mjpeg,
    "prores": _prores,
}
