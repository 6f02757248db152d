"""Looking through a file before it is used: which pictures it holds, in which order.

An ordinary file tells all by its packets: every picture has a stamp, and their order is the order
of display. What does not (a clock that goes back, pictures without a stamp, fields in packets of
their own, another size in the middle, pictures that are never shown) is decoded once from end to
end, and what the decoder shows is what counts.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tpbench.errors import MediaError
from tpbench.video.bitstream import is_hidden, may_be_in_fields, size_header
from tpbench.video.numbered import numbered_pictures
from tpbench.video.source import open_video, picture_pts, readable_packets
from tpbench.video.stamps import NO_STAMP

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from tpbench.video.orientation import OrientationMessages

_REORDER_PICTURES: Final = 20
"""Pictures decoded before they are shown wait for no more pictures than this: decoders hold 16."""

_REORDER_S: Final = (0.5, 2.0)
"""Bounds of that, where stamps say oddly how long a picture lasts."""

_SUSTAINED: Final = 2
"""Pictures that must stay back behind one that has gone back; fewer are strays."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packets:
    """What the packets of a video say, without decoding any. One entry a packet, in file order."""

    pts: NDArray[np.int64]
    """Ticks, or `NO_STAMP`."""

    is_key: NDArray[np.bool_]

    is_used: NDArray[np.bool_]
    """From the first keyframe on, and shown: an edit list has others only decoded."""

    needs_decoding: bool
    """Whether only decoding tells which pictures are shown, in which order, and how large."""

    recordings: _Recordings
    """Where the clock goes back."""

    incomplete: tuple[int, ...] = ()
    """Those of which the container says that data is missing."""

    @property
    def first_key(self) -> int:
        """Where decoding starts."""
        return _first(self.is_key)

    def leading(self) -> NDArray[np.bool_]:
        """Return which packets hold pictures that lean on what is not in the file, (n,).

        They lie in front of the first keyframe of a recording, or behind it and are shown before.
        """
        numbers = np.arange(len(self.pts))
        leading = self.recordings.headless.copy()
        for begin in sorted({self.first_key, *self.recordings.joints}):
            if self.pts[begin] != NO_STAMP:
                end = int((self.is_key & (numbers > begin)).argmax()) or len(self.pts)
                before = self.pts[begin:end] < self.pts[begin]
                leading[begin:end] = before & (self.pts[begin:end] != NO_STAMP)
        return leading

    def stamps(self) -> NDArray[np.int64]:
        """Return the stamps of all pictures of an ordinary file, (n,) rising."""
        return np.sort(self.pts[self.is_used & (self.pts >= self.pts[self.first_key])])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownPictures:
    """What the decoder shows of a video, in order of display."""

    packets: NDArray[np.int64]
    """(n,) number of the packet that each picture comes from, counted through the file."""

    sizes_px: NDArray[np.int64]
    """(n, 2) width and height as stored."""

    example: VideoFrame
    """One of the size that most of them have."""


def survey_packets(
    path: Path, container: InputContainer, stream: VideoStream, messages: OrientationMessages
) -> Packets:
    """Read all packets, and let `messages` see them.

    Raises:
        MediaError: there is no picture, or none that decoding can start at.
    """
    codec, extradata = stream.codec_context.codec.canonical_name, stream.codec_context.extradata
    pts: list[int] = []
    dts: list[int] = []
    is_key: list[bool] = []
    is_discarded: list[bool] = []
    incomplete: list[int] = []
    closer_look = False
    may_hide = codec == "vp8"
    header: bytes | None = None
    for packet in messages.each(readable_packets(container, stream, log_as=path)):
        stamp = picture_pts(packet)
        pts.append(NO_STAMP if stamp is None else stamp)
        dts.append(NO_STAMP if packet.dts is None else packet.dts)
        is_key.append(packet.is_keyframe)
        is_discarded.append(packet.is_discard)
        if packet.is_corrupt:
            incomplete.append(len(pts) - 1)
        if may_hide:
            closer_look |= is_hidden(codec, memoryview(packet))
        if is_key[-1]:
            data = memoryview(packet)
            if header is None:
                closer_look |= may_be_in_fields(codec, data, extradata)
            found = size_header(codec, data, extradata)
            closer_look |= bool(found and header and found != header)
            closer_look |= header is not None and packet.has_sidedata("new_extradata")
            header = found or header or b""
    keys = np.array(is_key, np.bool_)
    is_used = ~np.array(is_discarded, np.bool_)
    is_used[: _first(keys)] = False
    stamps = np.array(pts, np.int64)
    if not is_used.any():
        raise MediaError(path, "holds no pictures: it was cut off or is damaged")
    if not (stamps[is_used] != NO_STAMP).any():
        reason = "its pictures have no time stamps: write it anew (ffmpeg -i IT -c:v libx264 NEW)"
        raise MediaError(path, reason)
    time_base = stream.time_base or Fraction(1)
    recordings = _recordings(stamps, keys, _first(keys), time_base)
    jumps = _is_out_of_order(stamps[is_used], np.array(dts, np.int64)[is_used], time_base)
    return Packets(
        pts=stamps,
        is_key=keys,
        is_used=is_used,
        needs_decoding=closer_look or jumps or bool(recordings.joints),
        recordings=recordings,
        incomplete=tuple(incomplete),
    )


def decode_all(path: Path, packets: Packets) -> ShownPictures:
    """Decode a file from end to end and note what is shown. Damage is told when reading gets there.

    Raises:
        MediaError: nothing can be decoded.
    """
    import av

    def decoded(stream: VideoStream, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        with contextlib.suppress(av.FFmpegError):
            return stream.codec_context.decode(packet)
        return []

    numbers: list[int] = []
    sizes_px: list[tuple[int, int]] = []
    counts: Counter[tuple[int, int]] = Counter()
    example: VideoFrame | None = None
    leading = packets.leading()
    with open_video(path) as source:
        for number, picture in numbered_pictures(
            source, start=packets.first_key, joints=packets.recordings.joints, decode=decoded
        ):
            if leading[number]:
                continue
            size_px = (picture.width, picture.height)
            numbers.append(number)
            sizes_px.append(size_px)
            counts[size_px] += 1
            if example is None or counts[size_px] > counts[example.width, example.height]:
                example = picture
    if example is None:
        raise MediaError(path, "none of its pictures can be decoded: the file is damaged")
    return ShownPictures(
        packets=np.array(numbers, np.int64),
        sizes_px=np.array(sizes_px, np.int64),
        example=example,
    )


def _first(is_key: NDArray[np.bool_]) -> int:
    """Return the number of the first keyframe, or of packets if there is none."""
    return int(is_key.argmax()) if is_key.any() else len(is_key)


class _Recordings(NamedTuple):
    """Where recordings begin that lie one behind the other in a file."""

    joints: frozenset[int]
    """Keyframes."""

    headless: NDArray[np.bool_]
    """By packet: whether it lies in front of the first keyframe of its recording."""


def _recordings(
    pts: NDArray[np.int64], is_key: NDArray[np.bool_], first_key: int, time_base: Fraction
) -> _Recordings:
    """Find where the clock goes back.

    Within one recording all that is decoded before a keyframe is shown before it, too. Other
    pictures may come a little earlier than those before them; several in a row that come much
    earlier are the middle of another recording, whose first keyframe is not there.
    """
    joints = []
    headless = np.zeros(len(pts), np.bool_)
    latest = before_jump = NO_STAMP
    jumped_at = first_key
    wait = _longest_wait(pts[pts != NO_STAMP], time_base)
    number = first_key
    while number < len(pts):
        stamp = int(pts[number])
        if stamp == NO_STAMP:
            number += 1
            continue
        if latest != NO_STAMP and stamp > latest + wait:
            before_jump, jumped_at = latest, number
        goes_back = stamp < latest - wait
        # What was ahead was a stray, and this goes on from before it.
        returns = goes_back and number - jumped_at <= _SUSTAINED and abs(stamp - before_jump) < wait
        if is_key[number] and stamp <= latest and not returns:
            joints.append(number)
        elif goes_back and not returns and _stays_back(pts[number:], latest - wait):
            key = number + int(is_key[number:].argmax())
            if is_key[key]:
                headless[number:key] = True
                joints.append(key)
                number, stamp = key, int(pts[key])
        if is_key[number] or stamp > latest or goes_back:
            latest = stamp
        number += 1
    return _Recordings(frozenset(joints), headless)


def _stays_back(pts: NDArray[np.int64], limit: float) -> bool:
    following = pts[: _SUSTAINED + 1]
    known = following[following != NO_STAMP]
    return len(known) > 1 and bool((known < limit).all())


def _longest_wait(pts: NDArray[np.int64], time_base: Fraction) -> float:
    """Return how many ticks a picture can be shown after one that is decoded later."""
    intervals = np.diff(np.sort(pts)).astype(np.float64)
    intervals = intervals[intervals > 0]
    usual_s = float(np.median(intervals)) * float(time_base) if len(intervals) else 0.0
    return float(np.clip(_REORDER_PICTURES * usual_s, *_REORDER_S)) / float(time_base)


def _is_out_of_order(pts: NDArray[np.int64], dts: NDArray[np.int64], time_base: Fraction) -> bool:
    """Whether stamps are missing, occur twice, go back, or are far from the order of decoding."""
    if (pts == NO_STAMP).any() or len(np.unique(pts)) < len(pts):
        return True
    wait = _longest_wait(pts, time_base)
    given = dts[dts != NO_STAMP]
    if (np.diff(given) < 0).any() or (np.maximum.accumulate(pts) - pts > wait).any():
        return True
    return bool((np.abs(pts - dts)[dts != NO_STAMP] > wait).any())
