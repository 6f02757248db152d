"""Decoding pictures in order of display, from the start or from a keyframe before any frame."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tpbench.errors import DamageError
from tpbench.video.bitstream import is_header
from tpbench.video.decoder_log import TOO_LARGE, damage_in, listen
from tpbench.video.numbered import numbered_pictures
from tpbench.video.source import keeps_no_stamps, open_video, picture_pts, readable_packets

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from tpbench.video.info import PictureIndex, VideoInfo
    from tpbench.video.source import Source
    from tpbench.video.timeline import Laid


class Picture(NamedTuple):
    """A decoded picture and the frame number from which on it is shown."""

    slot: int
    """Frame number on the timeline."""

    pts: int | None
    """Its stamp in ticks; None where the format keeps none."""

    picture: VideoFrame
    """As stored: not turned, colours as decoded."""

    place: int | None = None
    """Its place among all pictures, where that is known."""


def pictures_from(path: Path, info: VideoInfo, start: int, threads: int) -> Iterator[Picture]:
    """Decode, in order of display, from a keyframe shown at or before frame `start`.

    Containers seek by different clocks (MP4 by decoding time, MPEG-TS by guess), and a decoder may
    hold pictures back after a seek; so a landing is taken only when its first picture is early
    enough, otherwise tried again from further back, in the end from the start.
    """
    if info.index is not None and info.laid is not None:
        yield from _numbered_from(_Numbered(path, info, info.laid, info.index), start, threads)
        return
    wanted_pts = info.timeline.first_pts(start)
    back_pts = 0
    while start > 0 and wanted_pts - back_pts > info.start_pts:
        pictures = _decode(path, info, threads, seek_pts=wanted_pts - back_pts, latest_key=start)
        first = next(pictures, None)
        if first is not None and first.slot <= start:
            yield first
            yield from pictures
            return
        pictures.close()
        back_pts = max(2 * back_pts, round(1 / info.time_base))
    yield from _decode(path, info, threads)


class _Numbered(NamedTuple):
    """A video whose pictures are found by the numbers of their packets."""

    path: Path
    info: VideoInfo
    laid: Laid
    order: PictureIndex

    def time_s(self, packet: int) -> float | None:
        """Return when the picture of a packet is shown; None if it shows none."""
        place = int(self.order.places[packet])
        return None if place < 0 else float(int(self.laid.slots[place]) / self.info.fps)

    def is_before(self, packet: int, key: int) -> bool:
        """Whether a packet's picture is not looked at when decoding starts at a keyframe."""
        place = int(self.order.places[packet])
        return bool(self.order.leading[packet]) or 0 <= place < self.order.places[key]


def _numbered_from(video: _Numbered, start: int, threads: int) -> Iterator[Picture]:
    """Decode by numbers of packets, from a keyframe shown at or before frame `start`.

    Packets are counted from the start of the file, for no container can seek where the clock has
    gone back; that is cheap beside decoding.
    """
    wanted = int(np.searchsorted(video.laid.slots, start, side="right")) - 1
    early = [int(key) for key in video.order.keys if video.order.places[key] <= wanted]
    back = 1
    while len(early) > back:
        pictures = _numbered(video, early[-back], threads)
        first = next(pictures, None)
        if first is not None and first.slot <= start:
            yield first
            yield from pictures
            return
        pictures.close()
        back *= 2
    yield from _numbered(video, video.order.first_key, threads)


def _numbered(video: _Numbered, key: int, threads: int) -> Generator[Picture]:
    """Decode from one keyframe on."""
    latest_s: float | None = None

    def decoded(stream: VideoStream, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        nonlocal latest_s
        if packet is not None and packet.pts is not None:
            latest_s = video.time_s(packet.pts) or latest_s
        try:
            return _decode_packet(stream, packet, threads)
        except _DecodingError as error:
            if packet is not None and packet.pts is not None and video.is_before(packet.pts, key):
                return []
            raise _damage(video.path, latest_s, str(error)) from error

    listen()
    counted = itertools.count()
    with open_video(video.path, threads=threads) as source:
        for number, picture in numbered_pictures(
            source, start=key, joints=video.order.joints, decode=decoded
        ):
            place = int(video.order.places[number]) if len(video.order.keys) else next(counted)
            if not 0 <= place < len(video.laid.slots):
                continue
            slot = int(video.laid.slots[place])
            if picture.is_corrupt:
                raise _damage(video.path, float(slot / video.info.fps), "data missing")
            yield Picture(slot, int(video.laid.stamps[place]), picture, place)


def _decode(
    path: Path,
    info: VideoInfo,
    threads: int,
    *,
    seek_pts: int | None = None,
    latest_key: int | None = None,
) -> Generator[Picture]:
    """Decode from a keyframe on, which `_packets_from_key` finds; give nothing if it finds none.

    Pictures displayed before that keyframe are left out: they lean on what was not decoded.
    """
    listen()
    with open_video(path, threads=threads) as source:
        landing = _packets_from_key(source, info, seek_pts, latest_key)
        if landing is None:
            return
        key_pts, packets = landing
        timeline = info.timeline
        by_order = keeps_no_stamps(source.container)
        pending_dts: deque[int | None] = deque()
        for packet in itertools.chain(packets, [None]):
            if packet is not None and by_order:
                pending_dts.append(packet.dts)
            for picture in _decode_stamped(path, info, source.stream, packet, key_pts, threads):
                pts = picture.pts
                if by_order:
                    pts = pending_dts.popleft() if pending_dts else None
                if pts is None or pts < key_pts:
                    continue
                if picture.is_corrupt:
                    raise _damage(path, _time_s(info, pts), "data missing")
                yield Picture(timeline.slot(pts), None if by_order else pts, picture)


def _packets_from_key(
    source: Source, info: VideoInfo, seek_pts: int | None, latest_key: int | None
) -> tuple[int, Iterator[Packet[VideoStream]]] | None:
    """Find a keyframe to start at.

    Args:
        source: the open video.
        info: what `probe` said of it.
        seek_pts: where to seek, in ticks; without it the first keyframe is taken.
        latest_key: frame number after which the keyframe must not be shown.

    Returns:
        The keyframe's stamp and the packets from it on; None without such a keyframe or seek.
    """
    import av

    if seek_pts is not None:
        if keeps_no_stamps(source.container):
            return None
        try:
            source.container.seek(seek_pts, stream=source.stream)
        except av.FFmpegError:
            return None
    packets = itertools.dropwhile(
        lambda packet: not packet.is_keyframe, readable_packets(source.container, source.stream)
    )
    key = next(packets, None)
    key_pts = None if key is None else picture_pts(key)
    if key is None or key_pts is None:
        return None
    if latest_key is not None and info.timeline.slot(key_pts) > latest_key:
        return None
    return key_pts, itertools.chain([key], packets)


def _decode_stamped(
    path: Path,
    info: VideoInfo,
    stream: VideoStream,
    packet: Packet[VideoStream] | None,
    key_pts: int,
    threads: int,
) -> list[VideoFrame]:
    """Decode one packet, or flush the decoder; damage before the keyframe does not count."""
    try:
        return _decode_packet(stream, packet, threads)
    except _DecodingError as error:
        pts = None if packet is None else picture_pts(packet)
        if pts is not None and pts < key_pts:
            return []
        raise _damage(path, _time_s(info, pts), str(error)) from error


class _DecodingError(Exception):
    """Says what is wrong with a packet."""


def _decode_packet(
    stream: VideoStream, packet: Packet[VideoStream] | None, threads: int
) -> list[VideoFrame]:
    """Decode one packet, or flush the decoder.

    Lines that the decoder logs are its own if it works in this thread. If it has threads of its
    own, those of other decoders that work at the same time can't be told apart.

    Raises:
        _DecodingError: the decoder fails, or says that something is wrong with the picture.
    """
    import av.logging

    pictures: list[VideoFrame] = []
    failure: av.FFmpegError | None = None
    with av.logging.Capture(local=threads == 1) as lines:
        try:
            pictures = stream.codec_context.decode(packet)
        except av.FFmpegError as error:
            failure = error
    if failure is None and not lines:
        return pictures
    codec = stream.codec_context.codec.canonical_name
    if packet is not None and packet.size and is_header(codec, memoryview(packet)):
        return pictures
    if any(TOO_LARGE in line for _, _, line in lines):
        reason = "its pictures grow beyond 8192x8192 px in area"
        raise _DecodingError(reason)
    if failure is not None:
        raise _DecodingError(failure.strerror or "broken data") from failure
    if (damage := damage_in(lines)) is not None:
        raise _DecodingError(damage)
    return pictures


def _time_s(info: VideoInfo, pts: int | None) -> float | None:
    return None if pts is None else float(info.timeline.slot(pts) / info.fps)


def _damage(path: Path, time_s: float | None, reason: str) -> DamageError:
    where = "at its end" if time_s is None else f"near {time_s:.2f} s"
    return DamageError(path, f"damaged: a picture {where} can't be decoded ({reason})")
