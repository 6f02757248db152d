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
    """Decode from a keyframe on.

    Pictures displayed before that keyframe are left out: they lean on what was not decoded.

    Args:
        path: the video.
        info: what `probe` said of it.
        threads: decoder threads.
        seek_pts: where to seek first, in ticks; without it from the start.
        latest_key: give nothing if the keyframe is shown after this frame, or if the seek fails.
    """
    import av

    with open_video(path, threads=threads) as (container, stream):
        if seek_pts is not None:
            if keeps_no_stamps(container):
                return
            try:
                container.seek(seek_pts, stream=stream)
            except av.FFmpegError:
                return
        packets = itertools.dropwhile(
            lambda packet: not packet.is_keyframe, readable_packets(container, stream)
        )
        key_pts: int | None = None
        pending_dts: deque[int | None] = deque()
        for packet in itertools.chain(packets, [None]):
            if key_pts is None:
                key_pts = None if packet is None else picture_pts(packet)
                if key_pts is None or (
                    latest_key is not None and info.timeline.slot(key_pts) > latest_key
                ):
                    return
            if packet is not None:
                pending_dts.append(packet.dts)
            for picture in _decode_packet(path, info, stream, packet, key_pts):
                shown_dts = pending_dts.popleft() if pending_dts else None
                pts = shown_dts if keeps_no_stamps(container) else picture.pts
                if pts is None or pts < key_pts:
                    continue
                if picture.is_corrupt:
                    raise _damage(path, info, pts, "data missing")
                known_pts = None if keeps_no_stamps(container) else pts
                yield Picture(info.timeline.slot(pts), known_pts, picture)


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
    where = (
        "at its end" if pts is None else f"near {float(info.timeline.slot(pts) / info.fps):.2f} s"
    )
    return MediaError(path, f"damaged: a picture {where} can't be decoded ({reason})")
