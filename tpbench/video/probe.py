"""Probing a video: which pictures its packets hold, in which order, and how they are shown."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tpbench.errors import MediaError
from tpbench.video.bitstream import (
    OrientationMessages,
    is_hidden,
    may_be_in_fields,
    size_header,
)
from tpbench.video.decode import numbered_pictures, require_opaque_beside
from tpbench.video.display import (
    HDR_CURVES,
    UNSHOWN_CURVES,
    Display,
    Orientation,
    container_crop,
    displayed_size,
    orientation_of_picture,
    pixel_aspect,
)
from tpbench.video.source import (
    Laid,
    PictureIndex,
    VideoInfo,
    keeps_no_stamps,
    open_video,
    picture_pts,
    readable_packets,
)
from tpbench.video.timeline import NO_STAMP, Layout, lay_out

_REORDER_PICTURES: Final = 20
"""Most pictures that a picture decoded early waits for before it is shown: decoders hold 16."""
_REORDER_S: Final = (0.5, 2.0)
"""Bounds of that wait, in case stamps give implausible durations of pictures."""
_SUSTAINED: Final = 2
"""Pictures that must stay back after one whose stamp went back; fewer are strays."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packets:
    """Data of a video's packets, without decoding. One entry per packet, in file order."""

    pts: NDArray[np.int64]
    """Ticks, or `NO_STAMP`."""
    is_key: NDArray[np.bool_]
    is_used: NDArray[np.bool_]
    """From the first keyframe on, and shown: an edit list marks others as decoded only."""
    needs_decoding: bool
    """Whether only decoding reveals which pictures are shown, in which order, and how large."""
    recordings: _Recordings
    """Where the clock goes back."""
    incomplete: tuple[int, ...] = ()
    """Packets of which data is missing, according to the container."""

    @property
    def first_key(self) -> int:
        """Where decoding starts."""
        return _first(self.is_key)

    def leading(self) -> NDArray[np.bool_]:
        """Return which packets hold pictures that depend on data not in the file, (n,).

        They precede the first keyframe of a recording, or follow it but are shown before it.
        """
        numbers = np.arange(len(self.pts))
        leading = self.recordings.headless.copy()
        for begin in sorted({self.first_key, *self.recordings.joints}):
            if self.pts[begin] != NO_STAMP:
                end = int((self.is_key & (numbers > begin)).argmax()) or len(self.pts)
                before = self.pts[begin:end] < self.pts[begin]
                leading[begin:end] = before & (self.pts[begin:end] != NO_STAMP)
        return leading

    def in_order(self) -> NDArray[np.int64]:
        """Return the numbers of an ordinary file's shown packets, (n,), ordered by stamp."""
        used = np.flatnonzero(self.is_used & (self.pts >= self.pts[self.first_key]))
        return used[np.argsort(self.pts[used], kind="stable")]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownPictures:
    """The pictures of a video that the decoder shows, in order of display."""

    packets: NDArray[np.int64]
    """(n,) number of the packet that each picture comes from, counted through the file."""
    sizes_px: NDArray[np.int64]
    """(n, 2) width and height as stored."""
    example: VideoFrame
    """A picture of the most frequent size."""


def survey_packets(
    path: Path, container: InputContainer, stream: VideoStream, messages: OrientationMessages
) -> Packets:
    """Read all packets, and pass them through `messages`.

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
        reason = "its pictures have no time stamps: re-encode it (ffmpeg -i IN -c:v libx264 OUT)"
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
    """Decode a whole file and record what is shown. Damage is reported when frames are read.

    Raises:
        MediaError: nothing can be decoded.
    """

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
    """Return the number of the first keyframe, or the count of packets if there is none."""
    return int(is_key.argmax()) if is_key.any() else len(is_key)


class _Recordings(NamedTuple):
    """Where the recordings that are concatenated in a file begin."""

    joints: frozenset[int]
    """Keyframes at which a recording begins."""
    headless: NDArray[np.bool_]
    """By packet: whether it precedes the first keyframe of its recording."""


def _recordings(
    pts: NDArray[np.int64], is_key: NDArray[np.bool_], first_key: int, time_base: Fraction
) -> _Recordings:
    """Find where the clock goes back.

    Within one recording, pictures that are decoded before a keyframe are also shown before it.
    Other pictures may have slightly earlier stamps than those before them; several in a row with
    much earlier stamps are the middle of another recording, whose first keyframe is missing.
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
        # The picture ahead was a stray, and this one continues from before it.
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
    """Return by how many ticks a picture can be shown after one that is decoded later."""
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


_PROGRESSIVE: Final = 1
"""libav's field orders: 0 unknown, 1 progressive, all above interlaced."""
_SEAM_FRAMES = 4
"""The last pictures of a recording in display order, one of which is its last in the file."""


def probe(path: Path | str, *, numbered: bool = False) -> VideoInfo:
    """Read every packet's stamps and decode the first picture.

    A file that was cut off counts as the video up to there, with a warning.

    Args:
        path: the video.
        numbered: locate pictures by packet number (`index`) where the format allows it, instead
            of by seeking: decoding then begins at the last possible keyframe.

    Raises:
        MediaError: the file is not a usable video; the message gives the reason.
    """
    path = Path(path)
    stream_info = _survey(path)
    packets = stream_info.packets
    shown = decode_all(path, packets) if packets.needs_decoding else None
    with open_video(path) as (container, stream):
        first = shown.example if shown else _first_picture(path, container, stream)
        display = _display(path, container, stream, first)
    require_opaque_beside(path)
    order = packets.in_order() if shown is None else shown.packets
    layout = lay_out(packets.pts[order], stream_info.time_base, stream_info.declared_fps)
    laid = Laid(layout.stamps, layout.slots)
    is_indexed = (numbered and stream_info.has_stamps) or shown is not None
    slots = _slots_of_packets(packets, shown, layout)
    told = [(int(slots[number]), turn) for number, turn in stream_info.messages]
    display = display.with_told(told)
    width_px, height_px = display.shown_px
    resized = [] if shown is None else _size_changes(shown, layout)
    notes = list(layout.notes)
    if resized:
        times, first_s = len(resized), float(resized[0] / layout.fps)
        notes.append(f"its pictures change size {times} times, first after {first_s:.2f} s")
    seams = tuple(sorted({*(part.first_frame for part in layout.parts[1:]), *resized}))
    return VideoInfo(
        width_px=width_px,
        height_px=height_px,
        fps=layout.fps,
        frame_count=layout.n_frames,
        duration_s=float(layout.n_frames / layout.fps),
        codec=stream_info.codec,
        pixel_format=first.format.name,
        display=display,
        variable_rate=not layout.is_even,
        time_base=stream_info.time_base,
        start_pts=int(layout.stamps[0]),
        interlaced=stream_info.interlaced,
        has_audio=stream_info.has_audio,
        picture_count=len(order),
        seams=seams,
        parts=layout.parts,
        notes=tuple(notes),
        shown_as=_shown_as(display, first, interlaced=stream_info.interlaced),
        incomplete=_not_at_seams(
            seams, {int(slots[number]) for number in packets.incomplete if slots[number] >= 0}
        ),
        laid=laid if is_indexed or not layout.is_grid else None,
        index=_index(packets, order, laid) if is_indexed else None,
    )


class _StreamInfo(NamedTuple):
    """Data of a video stream that is read without decoding."""

    codec: str
    time_base: Fraction
    declared_fps: list[Fraction]
    has_audio: bool
    interlaced: bool
    has_stamps: bool
    """False where the format keeps none, so that they can't identify packets."""
    messages: list[tuple[int, Orientation | None]]
    """Orientation messages: the number of the packet and the orientation from there on."""
    packets: Packets


def _survey(path: Path) -> _StreamInfo:
    with open_video(path) as (container, stream):
        if stream.time_base is None:
            raise MediaError(path, "its video has no time base: the file is damaged")
        messages = OrientationMessages(stream)
        return _StreamInfo(
            codec=stream.codec_context.codec.canonical_name,
            time_base=stream.time_base,
            declared_fps=[rate for rate in (stream.average_rate, stream.base_rate) if rate],
            has_audio=bool(container.streams.audio),
            interlaced=stream.codec_context.field_order > _PROGRESSIVE,
            has_stamps=not keeps_no_stamps(container),
            packets=survey_packets(path, container, stream, messages),
            messages=messages.found,
        )


def _not_at_seams(seams: tuple[int, ...], frames: set[int]) -> tuple[int, ...]:
    """Return the frames that do not lie right before a seam, rising."""
    return tuple(
        frame
        for frame in sorted(frames)
        if not any(0 <= seam - frame <= _SEAM_FRAMES for seam in seams)
    )


def _index(packets: Packets, shown: NDArray[np.int64], laid: Laid) -> PictureIndex:
    """Return which packets hold which pictures; `shown` has these packets in order of display."""
    places = np.full(len(packets.pts), -1, np.int32)
    places[shown] = np.arange(len(shown))
    keys = np.flatnonzero(packets.is_key & (places >= 0))
    # If a packet holds two pictures, these can only be identified by counting from the start.
    if len(np.unique(shown)) < len(shown):
        keys = keys[:0]
    return PictureIndex(
        laid=laid,
        places=places,
        first_key=packets.first_key,
        keys=keys,
        joints=packets.recordings.joints,
        leading=packets.leading(),
    )


def _slots_of_packets(
    packets: Packets, shown: ShownPictures | None, layout: Layout
) -> NDArray[np.int64]:
    """Return the frame number from which on the picture of each packet is shown, (n,).

    A packet that is not shown gets the number of the picture before it, or -1 before the first.
    """
    if shown is None:
        order = np.searchsorted(layout.stamps, packets.pts, side="right") - 1
        return np.where(order < 0, -1, layout.slots[order])
    slots = np.full(len(packets.pts), -1, np.int64)
    slots[shown.packets] = layout.slots
    return np.maximum.accumulate(slots)


def _size_changes(shown: ShownPictures, layout: Layout) -> list[int]:
    """Return the frames at which the stored size of pictures changes."""
    changes = (np.diff(shown.sizes_px, axis=0) != 0).any(axis=1)
    return sorted({int(frame) for frame in layout.slots[1:][changes]})


def _shown_as(display: Display, first: VideoFrame, *, interlaced: bool) -> tuple[str, ...]:
    notes = []
    if (curve := HDR_CURVES.get(display.curve_of(first))) is not None:
        notes.append(f"HDR: {curve}, shown as SDR")
    if interlaced or first.interlaced_frame:
        notes.append("interlaced: pictures with combs are deinterlaced")
    return tuple(notes)


def _display(
    path: Path, container: InputContainer, stream: VideoStream, first: VideoFrame
) -> Display:
    """Return how the pictures are shown, except for orientations declared in the stream."""
    context = stream.codec_context
    orientation = orientation_of_picture(first)
    if orientation is None:
        reason = "asks to be turned by an odd angle or slanted for display: store it upright first"
        raise MediaError(path, reason)
    cropped = container_crop(container, stream)
    aspect = pixel_aspect(stream, cropped)
    display = Display(
        size_px=displayed_size(first, cropped, aspect, orientation),
        stored_px=(first.width, first.height),
        pixel_aspect=aspect,
        orientation=orientation,
        cropped=cropped,
        transfer=context.color_trc,
        primaries=context.color_primaries,
    )
    curve = display.curve_of(first)
    if curve in UNSHOWN_CURVES:
        reason = f"its transfer curve ({UNSHOWN_CURVES[curve]}) can't be shown: convert it to SDR"
        raise MediaError(path, reason)
    try:
        display.rgb(first, 0, None)
    except (av.FFmpegError, ValueError) as error:
        matrix = f"{first.format.name}, matrix {first.colorspace}"
        raise MediaError(path, f"its colours ({matrix}) can't be turned into RGB") from error
    return display


def _first_picture(path: Path, container: InputContainer, stream: VideoStream) -> VideoFrame:
    """Decode up to the first picture."""
    packets = itertools.dropwhile(
        lambda packet: not packet.is_keyframe, readable_packets(container, stream)
    )
    for packet in itertools.chain(packets, [None]):
        # Later damage is reported with its place when frames are read.
        with contextlib.suppress(av.FFmpegError):
            for picture in stream.codec_context.decode(packet):
                return picture
    raise MediaError(path, "none of its pictures can be decoded: the file is damaged")
