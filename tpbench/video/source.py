"""Opening a local video with libav, and saying in one sentence why it can't be used."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from tpbench.errors import MediaError
from tpbench.video.encryption import (
    ENCRYPTED,
    is_encrypted,
    require_plain_stream,
    require_plain_transport_stream,
)
from tpbench.video.streams import main_video

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import InputContainer
    from av.container.core import Container
    from av.packet import Packet
    from av.video.stream import VideoStream

_log = logging.getLogger(__name__)

_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,nut,ivf,dv,gxf,rm"
"""What libav may take a file for. Left out are text, pictures and playlists: a playlist opens other
files and addresses."""

_SUFFIXES: Final = """
.mp4 .m4v .mov .qt .mj2 .3gp .3g2 .f4v .mkv .webm .avi .divx
.ts .mts .m2ts .m2t .tp .trp .tod .mpg .mpeg .mpe .m2p .vob .mod
.flv .wmv .asf .ogv .ogg .ogm .mxf .gxf .nut .ivf .dv .rm .rmvb
"""

VIDEO_SUFFIXES: Final = frozenset(_SUFFIXES.split())
"""Files with these endings are videos, upper case or lower: those in use for the formats above."""

OPENING: Final = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
"""Options of libav with which every file is opened."""

_HEADERS = {
    "flv": b"FLV\x01",
    "matroska,webm": b"\x1aE\xdf\xa3",
    "asf": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    "mov,mp4,m4a,3gp,3g2,mj2": b"ftyp",
}
"""How a file begins, of kinds of which libav reads no more than one or two in a row."""

_MAX_PIXELS = 8192 * 8192


class _EncryptedPacketError(Exception):
    """Raised while packets are read; `open_video` says of which file."""


class Source(NamedTuple):
    """An open file and the stream of moving pictures in it."""

    container: InputContainer
    stream: VideoStream


@contextlib.contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Open a media file.

    Only local files in formats that hold video are opened, and nothing that stands in a file can
    make libav open another.

    Raises:
        MediaError: the file is missing, unreadable or nothing libav knows; also for what libav
            reports while the file is open.
    """
    import av

    _check_readable(path)
    try:
        with av.open(
            local_url(path),
            container_options=dict(OPENING),
            metadata_errors="replace",  # tags are texts of any encoding, and none of our business
        ) as container:
            yield container
    except av.FFmpegError as error:
        raise MediaError(path, _reason(path, error)) from error


@contextlib.contextmanager
def open_video(path: Path, *, threads: int = 1) -> Iterator[Source]:
    """Open a file's main video stream for demuxing and decoding.

    Raises:
        MediaError: as `open_container`; and if there is no video in it, or it is encrypted or of an
            unknown codec.
    """
    with open_container(path) as container:
        try:
            stream = _main_video(path, container)
            require_plain_stream(path, stream)
            stream.codec_context.thread_count = threads
            # Pictures may grow in mid-stream; the decoder refuses before it takes the memory.
            stream.codec_context.options = {"max_pixels": str(_MAX_PIXELS)}
            yield Source(container, stream)
        except _EncryptedPacketError as error:
            raise MediaError(path, ENCRYPTED) from error
        except MediaError:
            require_plain_transport_stream(path, container)
            raise


def readable_packets(
    container: InputContainer, stream: VideoStream, *, log_as: Path | None = None
) -> Iterator[Packet[VideoStream]]:
    """Give the stream's packets up to its end, or up to where the file was cut off.

    Args:
        container: an open file.
        stream: the video stream in it.
        log_as: the file's name; given, a warning says that the file ends early.
    """
    import av

    held: Packet[VideoStream] | None = None
    reason: str | None = None
    end = 0
    try:
        for packet in container.demux(stream):
            # PyAV ends with an empty packet that stands for "flush the decoder".
            if packet.size:
                if is_encrypted(packet):
                    raise _EncryptedPacketError
                if held is not None:
                    yield held
                held = packet
                end = max(end, (packet.pos or 0) + packet.size)
    except av.FFmpegError as error:
        reason = error.strerror
    if held is not None and held.is_corrupt:
        held, reason = None, "its last picture is incomplete"
    if held is not None:
        yield held
    if reason is not None and log_as is not None:
        _log.warning("%s: cut off or damaged; read up to there (%s)", log_as, reason)
    elif log_as is not None and _is_followed(log_as, container, end):
        more = "another recording lies behind what can be read: part them, and join them anew"
        _log.warning("%s: %s", log_as, more)


def _is_followed(path: Path, container: InputContainer, end: int) -> bool:
    """Whether a second file was put behind one whose kind libav reads only up to its own end."""
    header = _HEADERS.get(container.format.name)
    if header is None or not end:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(header, end) >= 0


def picture_pts(packet: Packet[VideoStream]) -> int | None:
    """Return the stamp of a packet's picture in ticks, None if it has none."""
    return packet.dts if keeps_no_stamps(packet.stream.container) else packet.pts


def keeps_no_stamps(container: InputContainer | Container) -> bool:
    """Return whether pictures are told apart by their order only.

    AVI numbers its packets evenly and says nothing of display; the n-th picture that comes out of
    the decoder has the n-th number.
    """
    return container.format.name == "avi"


def local_url(path: Path) -> str:
    """Return the name that libav takes for this very file, whatever characters it holds."""
    return f"file:{path.absolute()}"


def _check_readable(path: Path) -> None:
    """Raise MediaError for what the file system knows without libav."""
    try:
        if path.is_dir():
            raise MediaError(path, "is a folder, not a video file")
        if not path.is_file():
            reason = "is not a regular file" if path.exists() else "no such file"
            raise MediaError(path, reason)
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        reason = f"can't be read: {os.strerror(error.errno or 0)}"
        raise MediaError(path, reason) from error
    if empty:
        raise MediaError(path, "is empty (0 bytes): copy or download it again")


def _main_video(path: Path, container: InputContainer) -> VideoStream:
    """Return the video stream that is the film, with a decoder and a sane size."""
    if not container.streams:
        raise MediaError(path, "was cut off or damaged: copy or download it again")
    stream = main_video(container)
    if stream is None:
        holds = "sound but no video" if container.streams.audio else "no video"
        raise MediaError(path, f"holds {holds}")
    # PyAV gives streams without a decoder no context, whatever its annotations say.
    if getattr(stream, "codec_context", None) is None:
        raise MediaError(path, "its video codec is unknown here: convert it to H.264")
    width_px, height_px = stream.codec_context.width, stream.codec_context.height
    if width_px <= 0 or height_px <= 0:
        raise MediaError(path, "its video has no size: the file is damaged")
    if width_px * height_px > _MAX_PIXELS:
        reason = f"its frames of {width_px}x{height_px} px are larger than 8192x8192 in area"
        raise MediaError(path, reason)
    return stream


def _reason(path: Path, error: Exception) -> str:
    """Say what libav's error means for this file."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"free"):
        return "was cut off or damaged (MP4/MOV): copy or download it again"
    return f"is not a video that can be read ({getattr(error, 'strerror', None) or error})"
