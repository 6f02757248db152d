"""Decoding with every picture's packet known, whatever its stamps say.

Packets are numbered through the file, and the decoder is given these numbers in place of stamps: it
hands them on to the pictures. Where another recording begins the decoder starts afresh, so that
nothing of the one before is lost or leaned on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tpbench.video.source import readable_packets

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from tpbench.video.source import Source


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
    import av

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
