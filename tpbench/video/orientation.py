"""How a stored picture has to be turned and mirrored to stand as its viewer sees it.

Containers say it by a display matrix (phones, selfie cameras); H.264 and HEVC streams may say it
themselves, by the "display orientation" message (type 47 of the supplemental enhancement
information), which holds for all pictures shown later, until another one comes or a new coded
video sequence begins (ITU-T H.264 annex D.2.27, H.265 annex D.3.17). libav hands that message over
with its own picture only, so `OrientationMessages` looks for it in the packets.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

import numpy as np
from av.buffer import Buffer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

_QUARTER_TOLERANCE_DEG: Final = 1.0
"""ffmpeg, too, takes an angle this close to a quarter turn for that quarter turn."""
_DISPLAY_ORIENTATION: Final = 47


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """One of the eight ways to lay a picture down: mirrored or not, then turned."""

    quarter_turns: int = 0
    """0 to 3: how often the picture is turned counter-clockwise, after it was mirrored."""
    mirrored: bool = False
    """Whether left and right are swapped first."""

    @property
    def swaps_sides(self) -> bool:
        """Whether width and height change places."""
        return self.quarter_turns % 2 == 1

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the picture as displayed, (H, W, ...) as stored; a view where nothing changes."""
        if self.mirrored:
            image = image[:, ::-1]
        return np.rot90(image, self.quarter_turns) if self.quarter_turns else image


UPRIGHT: Final = Orientation()
"""As stored."""


def orientation_of_matrix(matrix: bytes) -> Orientation | None:
    """Return what a display matrix asks for, to the quarter turn.

    Args:
        matrix: libav's 36 bytes, nine native 32-bit integers a b u c d v x y w, which take the
            stored point (p, q) to (a p + c q + x, b p + d q + y), y downwards.

    Returns:
        The orientation; shifts and scale don't matter, and a matrix that takes all points to a line
        says nothing (upright). None if it turns by an angle between quarters, or slants.
    """
    a, b, _, c, d = struct.unpack("=5i", matrix[:20])
    if a * d - b * c == 0:
        return UPRIGHT
    mirrored = a * d - b * c < 0
    # Mirroring turns the first column round; what is left is a turn that both columns agree on.
    first = math.degrees(math.atan2(b, -a) if mirrored else math.atan2(-b, a))
    second = math.degrees(math.atan2(c, d))
    turns = round(first / 90)
    for angle in (first, second):
        off = (angle - 90 * turns + 180) % 360 - 180
        if abs(off) > _QUARTER_TOLERANCE_DEG:
            return None
    return Orientation(quarter_turns=turns % 4, mirrored=mirrored)


def orientation_of_picture(picture: VideoFrame) -> Orientation | None:
    """Return what the display matrix of a decoded picture asks for (None: no quarter turn)."""
    matrix = cast("Buffer | None", picture.side_data.get("DISPLAYMATRIX"))
    return UPRIGHT if matrix is None else orientation_of_matrix(bytes(matrix))


class Told(NamedTuple):
    """What a stream says of its orientation at one picture."""

    orientation: Orientation | None
    """For this picture and those shown after it; None: the stream says nothing from here on."""


class OrientationMessages:
    """Looks through the packets of a stream, in order, for display orientation messages."""

    def __init__(self, stream: VideoStream) -> None:
        codec = stream.codec_context.codec.canonical_name
        self._may_come = codec in ("h264", "hevc")
        self._hevc = codec == "hevc"
        self._length_bytes = _length_bytes(stream.codec_context.extradata, hevc=self._hevc)
        self._told = False
        self.found: list[tuple[int, Orientation | None]] = []
        """Number of the packet, counted through the file, and what is said there."""

    def each(self, packets: Iterable[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        """Give the packets on, and note in `found` what they say."""
        for number, packet in enumerate(packets):
            told = self.push(packet) if self._may_come else None
            if told is not None:
                self.found.append((number, told.orientation))
            yield packet

    def push(self, packet: Packet[VideoStream]) -> Told | None:
        """Look at the next packet; None if nothing changes there."""
        found: Told | None = None
        starts_anew = False
        data = memoryview(packet)
        for start, end in self._units(data):
            unit_type = (data[start] >> 1) & 63 if self._hevc else data[start] & 31
            if unit_type == (39 if self._hevc else 6):
                message = _message(bytes(data[start + (2 if self._hevc else 1) : end]))
                found = message or found
            elif (self._hevc and 16 <= unit_type <= 20) or (not self._hevc and unit_type == 5):
                starts_anew = True
        if found is None and starts_anew and self._told:
            found = Told(None)
        if found is not None:
            self._told = found.orientation is not None
        return found

    def _units(self, data: memoryview) -> Iterator[tuple[int, int]]:
        """Give start and end of each NAL unit in a packet."""
        if self._length_bytes:
            at, prefix = 0, self._length_bytes
            while at + prefix < len(data):
                start = at + prefix
                at = start + int.from_bytes(data[at:start], "big")
                yield start, min(at, len(data))
            return
        marks = [match.span() for match in re.finditer(rb"\x00\x00\x01", data)]
        ends = [start for start, _ in marks[1:]]
        for (_, start), end in zip(marks, [*ends, len(data)], strict=True):
            if start < end:
                yield start, end


def _length_bytes(extradata: bytes | None, *, hevc: bool) -> int:
    """Return how many bytes give the length of a NAL unit; 0 where start codes part them."""
    at = 21 if hevc else 4
    if not extradata or len(extradata) <= at or extradata[0] != 1:
        return 0
    return (extradata[at] & 3) + 1


def _message(unit: bytes) -> Told | None:
    """Read the display orientation out of the messages of one unit; None without one."""
    if _DISPLAY_ORIENTATION not in unit:
        return None
    unit = unit.replace(b"\x00\x00\x03", b"\x00\x00")
    at = 0
    while at + 2 < len(unit):
        kind, at = _number(unit, at)
        size, at = _number(unit, at)
        if kind == _DISPLAY_ORIENTATION and at < len(unit):
            # A message that only cancels is shorter.
            return _told(int.from_bytes(unit[at : at + 3].ljust(3, b"\x00"), "big"))
        at += size
    return None


def _number(unit: bytes, at: int) -> tuple[int, int]:
    """Read a number written as bytes of 255 and a rest; return it and where it ends."""
    value = 0
    while at < len(unit) and unit[at] == 255:
        value, at = value + 255, at + 1
    return (value + unit[at], at + 1) if at < len(unit) else (value, at)


def _told(bits: int) -> Told:
    """Read cancel flag, mirror left-right, mirror top-bottom, 16 bits of turn; mirrors go first."""
    if bits >> 23:
        return Told(None)
    left_right, top_bottom = bool(bits >> 22 & 1), bool(bits >> 21 & 1)
    turns = round((bits >> 5 & 0xFFFF) / 16384)
    return Told(
        Orientation(
            quarter_turns=(turns + (2 if top_bottom else 0)) % 4,
            mirrored=left_right != top_bottom,
        )
    )
