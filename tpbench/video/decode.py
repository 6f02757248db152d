"""Decoding pictures in order of display, from the start or from a keyframe before any frame."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from tpbench.errors import MediaError
from tpbench.video.source import keeps_no_stamps, open_video, picture_pts, readable_packets

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from tpbench.video.info import VideoInfo
    from tpbench.video.source import Source


class Picture(NamedTuple):
    """A decoded picture and the frame number from which on it is shown."""

    slot: int
    """Frame number on the timeline."""

    pts: int | None
    """Its stamp in ticks; None where the format keeps none."""

    picture: VideoFrame
    """As stored: not turned, colours as decoded."""


def pictures_from(path: Path, info: VideoInfo, start: int, threads: int) -> Iterator[Picture]:
    """Decode, in order of display, from a keyframe shown at or before frame `start`.

    Containers seek by different clocks (MP4 by decoding time, MPEG-TS by guess), and a decoder may
    hold pictures back after a seek; so a landing is taken only when its first picture is early
    enough, otherwise tried again from further back, in the end from the start.
    """
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
    with open_video(path, threads=threads) as source:
        landing = _packets_from_key(source, info, seek_pts, latest_key)
        if landing is None:
            return
        key_pts, packets = landing
        by_order = keeps_no_stamps(source.container)
        pending_dts: deque[int | None] = deque()
        for packet in itertools.chain(packets, [None]):
            if packet is not None and by_order:
                pending_dts.append(packet.dts)
            for picture in _decode_packet(path, info, source.stream, packet, key_pts):
                pts = picture.pts
                if by_order:
                    pts = pending_dts.popleft() if pending_dts else None
                if pts is None or pts < key_pts:
                    continue
                if picture.is_corrupt:
                    raise _damage(path, info, pts, "data missing")
                yield Picture(info.timeline.slot(pts), None if by_order else pts, picture)


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


def _decode_packet(
    path: Path,
    info: VideoInfo,
    stream: VideoStream,
    packet: Packet[VideoStream] | None,
    key_pts: int,
) -> list[VideoFrame]:
    """Decode one packet, or flush the decoder."""
    import av

    try:
        return stream.codec_context.decode(packet)
    except av.FFmpegError as error:
        pts = None if packet is None else picture_pts(packet)
        if pts is not None and pts < key_pts:
            return []
        raise _damage(path, info, pts, error.strerror or "broken data") from error


def _damage(path: Path, info: VideoInfo, pts: int | None, reason: str) -> MediaError:
    time_s = None if pts is None else float(info.timeline.slot(pts) / info.fps)
    where = "at its end" if time_s is None else f"near {time_s:.2f} s"
    return MediaError(path, f"damaged: a picture {where} can't be decoded ({reason})")
