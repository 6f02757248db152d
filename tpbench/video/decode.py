"""Decoding packets into pictures: damage that the decoder reports, and transparency."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, cast

import av
import numpy as np
from av.codec import CodecContext
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tpbench.errors import DamageError, TransparentError
from tpbench.video.bitstream import is_header
from tpbench.video.source import (
    OpenedVideo,
    PictureIndex,
    VideoInfo,
    keeps_no_stamps,
    open_video,
    picture_pts,
    readable_packets,
)

_HARMLESS_PARTS: Final = (
    # Metadata beside the picture: of cameras, colours, captions, screens.
    r"\bSEI\b",
    r"APP fields",
    r"\b(Exif|EXIF|ICC|XMP|A53|side data|metadata)\b",
    r"mastering display",
    r"film grain",
    # Parameter sets without a picture, or with unused fields.
    r"^no frame!",
    r"^VUI|VUI parameters|hrd param",
    # Direct prediction across scene cuts: the picture is intact.
    r"co located POCs unavailable",
    # End markers and filler data between pictures.
    r"EOI missing",
    r"Invalid NAL unit 0",
    r"Skipping NAL unit|Skipped NAL|unknown NAL",
    # Bookkeeping of references that are no longer used.
    r"mmco: unref short failure",
    r"number of reference frames .* exceeds max",
)
_HARMLESS: Final = re.compile("|".join(_HARMLESS_PARTS))
"""Log lines that are not about the picture, or about one that is intact."""
_TOO_LARGE: Final = "max pixel count"
"""Part of the log line for a picture larger than the decoder's limit."""


def damage_in(lines: Iterable[tuple[int, str, str]]) -> str | None:
    """Return the first line that reports damage.

    Args:
        lines: level, name of the decoder and text, as `av.logging.Capture` collects them.
    """
    import av.logging

    for level, name, line in lines:
        text = " ".join(line.split())
        if level <= av.logging.ERROR and text and not _HARMLESS.search(text):
            return f"{name}: {text}" if name else text
    return None


def listen() -> None:
    """Make PyAV pass on error lines, which it discards by default, without printing them."""
    import av.logging

    level = av.logging.get_level()
    if level is None or level < av.logging.ERROR:
        av.logging.set_level(av.logging.ERROR)
        # Lines that no decoder captures would be printed.
        logging.getLogger("libav").setLevel(logging.CRITICAL + 1)
    # The same line about another file reports other damage.
    av.logging.set_skip_repeated(False)


class Picture(NamedTuple):
    """A decoded picture and the frame number from which on it is shown."""

    slot: int
    """Frame number on the timeline."""
    pts: int | None
    """Its stamp in ticks; None where the format keeps none."""
    picture: VideoFrame
    """As stored: not turned, colours as decoded."""
    place: int | None = None
    """Its place among all pictures in display order; None where unknown."""


def pictures_from(path: Path, info: VideoInfo, start: int, threads: int) -> Iterator[Picture]:
    """Decode, in order of display, from a keyframe shown at or before frame `start`.

    Containers seek by different clocks (MP4 by decoding time, MPEG-TS by guess), and a decoder may
    hold pictures back after a seek. So a seek is accepted only if its first picture is early
    enough, otherwise repeated from further back, and finally from the start.
    """
    if info.index is None:
        attempts = _seeking(path, info, start, threads)
    else:
        attempts = _counting(path, info, info.index, start, threads)
    for pictures, is_last in attempts:
        first = next(pictures, None)
        if first is not None and (is_last or first.slot <= start):
            yield first
            yield from pictures
            return
        pictures.close()


def _seeking(
    path: Path, info: VideoInfo, start: int, threads: int
) -> Iterator[tuple[Generator[Picture], bool]]:
    """Yield decoders that start ever further back, and whether each starts at the beginning."""
    wanted_pts = info.timeline.first_pts(start)
    back_pts = 0
    while start > 0 and wanted_pts - back_pts > info.start_pts:
        seek_pts = wanted_pts - back_pts
        yield _decode(path, info, threads, seek_pts=seek_pts, latest_key=start), False
        # At least a tick: a lying header may give it minutes.
        back_pts = max(2 * back_pts, round(1 / info.time_base), 1)
    yield _decode(path, info, threads), True


def _counting(
    path: Path, info: VideoInfo, index: PictureIndex, start: int, threads: int
) -> Iterator[tuple[Generator[Picture], bool]]:
    """Yield the same where pictures are located by packet number.

    Packets are counted from the start of the file, because no container can seek where the clock
    has gone back; counting is cheap compared with decoding.
    """
    wanted = int(np.searchsorted(index.laid.slots, start, side="right")) - 1
    early = [int(key) for key in index.keys if index.places[key] <= wanted]
    back = 1
    while len(early) > back:
        yield _numbered(path, info, index, early[-back], threads), False
        back *= 2
    yield _numbered(path, info, index, index.first_key, threads), True


def _numbered(
    path: Path, info: VideoInfo, index: PictureIndex, key: int, threads: int
) -> Generator[Picture]:
    """Decode from one keyframe on, given by the number of its packet."""
    stamps, slots = index.laid
    latest_s: float | None = None

    def decoded(stream: VideoStream, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        nonlocal latest_s
        number = None if packet is None else packet.pts
        place = -1 if number is None else int(index.places[number])
        if place >= 0:
            latest_s = float(int(slots[place]) / info.fps) or latest_s
        try:
            return _decode_packet(stream, packet, threads)
        except _DecodingError as error:
            # Ignored: pictures that depend on earlier ones, or are shown before the keyframe.
            if number is not None and (index.leading[number] or 0 <= place < index.places[key]):
                return []
            raise _damage(path, latest_s, str(error)) from error

    listen()
    counted = itertools.count()
    with open_video(path, threads=threads) as source:
        for number, picture in numbered_pictures(
            source, start=key, joints=index.joints, decode=decoded
        ):
            place = int(index.places[number]) if len(index.keys) else next(counted)
            if not 0 <= place < len(slots):
                continue
            slot = int(slots[place])
            if picture.is_corrupt:
                raise _damage(path, float(slot / info.fps), "data missing")
            yield Picture(slot, int(stamps[place]), picture, place)


def numbered_pictures(
    source: OpenedVideo,
    *,
    start: int,
    joints: frozenset[int],
    decode: Callable[[VideoStream, Packet[VideoStream] | None], list[VideoFrame]],
) -> Generator[tuple[int, VideoFrame]]:
    """Decode from a keyframe to the end of the file, in order of display.

    Pictures shown before the keyframe, and before those at joints, are left out: they depend on
    pictures that were not decoded.

    Args:
        source: the file, just opened.
        start: number of the packet to start at, a keyframe.
        joints: keyframes at which another recording begins.
        decode: decodes a packet, or flushes the decoder; decides how damage is handled.

    Yields:
        The number of the packet that a picture comes from, and the picture.
    """
    stream = source.stream
    key: int | None = start

    def from_key(pictures: list[VideoFrame], number: int) -> Iterator[tuple[int, VideoFrame]]:
        nonlocal key
        for picture in pictures:
            # A few decoders pass no stamp on; these don't reorder.
            shown = number if picture.pts is None else picture.pts
            if key in {None, shown} or picture.key_frame:
                key = None
                yield shown, picture

    number = start
    for number, packet in enumerate(readable_packets(source.container, stream)):
        if number < start:
            continue
        if number in joints and number > start:
            yield from from_key(decode(stream, None), number)
            stream.codec_context.flush_buffers()
            key = number
        sent = packet
        if packet.is_discard and any(joint <= number for joint in joints):
            # Where a clock has gone back, libav marks the packets that follow as discarded, as if
            # an edit list left them out; that is true only in front of a recording.
            sent = cast("Packet[VideoStream]", av.Packet(bytes(packet)))
            sent.time_base, sent.is_keyframe = packet.time_base, packet.is_keyframe
        sent.pts = number
        yield from from_key(decode(stream, sent), number)
    yield from from_key(decode(stream, None), number)


def _decode(
    path: Path,
    info: VideoInfo,
    threads: int,
    *,
    seek_pts: int | None = None,
    latest_key: int | None = None,
) -> Generator[Picture]:
    """Decode from the keyframe that `_packets_from_key` finds; yield nothing if it finds none.

    Pictures displayed before it are left out: they depend on pictures that were not decoded.
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
            try:
                pictures = _decode_packet(source.stream, packet, threads)
            except _DecodingError as error:
                stamp = None if packet is None else picture_pts(packet)
                if stamp is not None and stamp < key_pts:
                    continue  # damage before the keyframe does not count
                raise _damage(path, _time_s(info, stamp), str(error)) from error
            for picture in pictures:
                pts = picture.pts
                if by_order:
                    pts = pending_dts.popleft() if pending_dts else None
                if pts is None or pts < key_pts:
                    continue
                if picture.is_corrupt:
                    raise _damage(path, _time_s(info, pts), "data missing")
                yield Picture(timeline.slot(pts), None if by_order else pts, picture)


def _packets_from_key(
    source: OpenedVideo, info: VideoInfo, seek_pts: int | None, latest_key: int | None
) -> tuple[int, Iterator[Packet[VideoStream]]] | None:
    """Find a keyframe to start at.

    Args:
        source: the open video.
        info: its result of `probe`.
        seek_pts: where to seek, in ticks; without it the first keyframe is taken.
        latest_key: frame number after which the keyframe must not be shown.

    Returns:
        The keyframe's stamp and the packets from it on; None if there is none or the seek fails.
    """
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


class _DecodingError(Exception):
    """A packet can't be decoded; the message gives the reason."""


def _decode_packet(
    stream: VideoStream, packet: Packet[VideoStream] | None, threads: int
) -> list[VideoFrame]:
    """Decode one packet, or flush the decoder.

    If the decoder works in this thread, only its own log lines are captured. If it has threads of
    its own, lines of other decoders that work at the same time can't be told apart from them.

    Raises:
        _DecodingError: the decoder fails, or reports damage to the picture.
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
    if any(_TOO_LARGE in line for _, _, line in lines):
        raise _DecodingError("its pictures grow beyond 8192x8192 px in area")
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


_OPAQUE_SHARE: Final = 0.99
"""Of full opacity, counted as opaque: lossy codecs miss it by a level, and 1 % can't be seen."""
_ALPHA_BLOCK: Final = "matroska_block_additional"
_ALPHA_ID: Final = (1).to_bytes(8, "big")
"""Number of the block that holds transparency."""


def require_opaque(path: Path, pictures: Iterable[Picture], *, codec: str) -> Iterator[Picture]:
    """Yield the pictures unchanged.

    Raises:
        TransparentError: one of them is transparent in places.
    """
    for picture in pictures:
        if _may_be_transparent(picture.picture.format.name) and _is_transparent(
            picture.picture, zero_is_unused=codec == "rawvideo"
        ):
            raise _transparent(path)
        yield picture


def require_opaque_beside(path: Path) -> None:
    """Check the separate alpha channel of a VP8 or VP9 file, if it has one.

    Raises:
        TransparentError: one of its pictures is transparent in places.
        MediaError: the file can't be read.
    """
    with open_video(path) as (container, stream):
        marks = {key.lower(): value for key, value in stream.metadata.items()}
        name = stream.codec_context.codec.canonical_name
        if marks.get("alpha_mode") != "1" or name not in {"vp8", "vp9"}:
            return
        decoder = av.CodecContext.create(name, "r")
        for packet in readable_packets(container, stream):
            with contextlib.suppress(av.FFmpegError):
                for alpha in _alpha_pictures(decoder, packet):
                    if _lowest(alpha) < _OPAQUE_SHARE:
                        raise _transparent(path)


def _transparent(path: Path) -> TransparentError:
    return TransparentError(path, "is transparent in places: lay it over its background first")


def _alpha_pictures(decoder: CodecContext, packet: Packet[VideoStream]) -> list[VideoFrame]:
    """Decode the alpha picture attached to a packet."""
    if not packet.has_sidedata(_ALPHA_BLOCK):
        return []
    block = bytes(packet.get_sidedata(_ALPHA_BLOCK))
    if not block.startswith(_ALPHA_ID):
        return []
    decoded: list[VideoFrame] = decoder.decode(av.Packet(block[8:]))  # type: ignore[attr-defined]
    return decoded


@cache
def _may_be_transparent(pixel_format: str) -> bool:
    # A palette's colours may be transparent; libav lists no component for that.
    components = av.VideoFormat(pixel_format, 16, 16).components
    return pixel_format == "pal8" or any(component.is_alpha for component in components)


def _is_transparent(picture: VideoFrame, *, zero_is_unused: bool) -> bool:
    if len(picture.planes) == 4:
        values, largest = _plane(picture, 3)
    else:
        rgba = picture.to_ndarray(format="rgba", threads=1)
        values, largest = np.asarray(rgba[..., 3], dtype=np.uint8), 255
    if zero_is_unused and not values.any():
        return False  # uncompressed AVI: the fourth byte is often just padding
    return bool(values.min() < _OPAQUE_SHARE * largest)


def _lowest(alpha: VideoFrame) -> float:
    """Return the smallest value of an alpha picture, as a share of the largest possible.

    Alpha is coded as luma, in full range whatever is declared.
    """
    values, largest = _plane(alpha, 0)
    return float(values.min()) / largest


def _plane(picture: VideoFrame, number: int) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], int]:
    """Return a plane of full size as (H, W) numbers, and the largest possible number."""
    bits = picture.format.components[number].bits
    data = memoryview(picture.planes[number])
    values = np.frombuffer(data, np.uint8) if bits <= 8 else np.frombuffer(data, np.uint16)
    return values.reshape(picture.height, -1)[:, : picture.width], 2**bits - 1
