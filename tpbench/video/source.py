"""A video file: its properties, the choice of its streams, and which files are refused."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.container.core import Container
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tpbench.errors import MediaError
from tpbench.video.display import Display, Window
from tpbench.video.timeline import Part

logger = logging.getLogger(__name__)


class Laid(NamedTuple):
    """Stamps and frame numbers of pictures, picture by picture."""

    stamps: NDArray[np.int64]
    """(n,) never falling, in ticks."""
    slots: NDArray[np.int64]
    """(n,) never falling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Converts stamps of the source to frame numbers and back, in exact integers."""

    fps: Fraction
    """Frames a second."""
    time_base: Fraction
    """Seconds a tick of the source."""
    start_pts: int
    """Stamp of frame 0, in ticks."""
    laid: Laid | None = field(default=None, repr=False, compare=False)
    """Positions of pictures that are not on an even grid; None for an even grid."""

    def slot(self, pts: int) -> int:
        """Return the frame number from which on the picture with this stamp is shown."""
        if self.laid is not None:
            place = int(np.searchsorted(self.laid.stamps, pts, side="right")) - 1
            return int(self.laid.slots[place]) if place >= 0 else -1
        ticks = (pts - self.start_pts) * self.time_base * self.fps
        return (2 * ticks.numerator + ticks.denominator) // (2 * ticks.denominator)

    def first_pts(self, index: int) -> int:
        """Return the smallest stamp whose slot is `index`: that of the picture shown then."""
        if self.laid is not None:
            place = int(np.searchsorted(self.laid.slots, index, side="right")) - 1
            return int(self.laid.stamps[max(place, 0)])
        ticks = (Fraction(index) - Fraction(1, 2)) / (self.fps * self.time_base)
        return self.start_pts + -(-ticks.numerator // ticks.denominator)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureIndex:
    """The packet of every picture, for videos whose stamps don't identify it."""

    laid: Laid
    """Positions of all pictures, in order of display."""
    places: NDArray[np.int32]
    """By number of packet: place of its picture in order of display, -1 if it shows none."""
    first_key: int
    """Number of the packet at which the first picture is decoded."""
    keys: NDArray[np.int64]
    """Numbers of all packets that decoding can start at, rising. Empty where a packet holds two
    pictures; pictures are then counted from the first."""
    joints: frozenset[int]
    """Those at which another recording begins."""
    leading: NDArray[np.bool_]
    """By number of packet: whether its picture depends on data not in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """Properties of a video, as `probe` finds them."""

    width_px: int
    """As displayed: rotated as the file declares, with square pixels."""
    height_px: int
    """As displayed."""
    fps: Fraction
    """Exact rate of the constant-rate timeline (29.97 is 30000/1001)."""
    frame_count: int
    """Frames on the timeline; reading gives exactly this many."""
    duration_s: float
    """frame_count / fps."""
    codec: str
    """libav's name, such as `h264`."""
    pixel_format: str
    """libav's name of the decoded format, such as `yuv420p10le`."""
    display: Display
    """How its pictures are shown: crop, pixel aspect, orientation, colours."""
    variable_rate: bool
    """Whether the timeline repeats or drops pictures of the source."""
    time_base: Fraction
    """Seconds a tick of the source's stamps."""
    start_pts: int
    """Stamp of frame 0, in ticks."""
    interlaced: bool = False
    """Whether all pictures count as interlaced, not only those declared so themselves."""
    has_audio: bool
    """Whether there is at least one audio stream."""
    picture_count: int = 0
    """Pictures in the file, as the decoder shows them; frames repeat or drop some of them where
    the rate varies."""
    seams: tuple[int, ...] = ()
    """Frames at which another recording begins: the clock jumps there, or the size changes."""
    parts: tuple[Part, ...] = ()
    """Stretches between jumps of the clock, and their times on it; empty: one, from `start_pts`."""
    notes: tuple[str, ...] = ()
    """Irregularities of the stamps and sizes of its pictures, and how they were handled."""
    shown_as: tuple[str, ...] = ()
    """Properties that are converted for display; each begins with a keyword and a colon."""
    incomplete: tuple[int, ...] = ()
    """Frames whose picture lacks data according to the container. Decoders may silently conceal
    that, in this picture and in those that depend on it. Frames at a seam, where one recording was
    cut off, are left out."""
    laid: Laid | None = field(default=None, repr=False, compare=False)
    """Positions of all pictures, unless they are on the even grid from `start_pts` on. Stamps fall
    where the clock goes back."""
    index: PictureIndex | None = field(default=None, repr=False, compare=False)
    """Packets of the pictures of `laid`, if stamps don't identify them."""

    def windowed(self, window: Window) -> VideoInfo:
        """Return this, restricted to a window of its pictures."""
        display = replace(self.display, window=window)
        return replace(self, display=display, width_px=window.width_px, height_px=window.height_px)

    @property
    def is_even(self) -> bool:
        """Whether frame i is picture i, at its own time, without irregular stamps or sizes."""
        return not self.variable_rate and not self.notes

    @property
    def timeline(self) -> Timeline:
        """The conversion between stamps and frame numbers."""
        return Timeline(
            fps=self.fps,
            time_base=self.time_base,
            start_pts=self.start_pts,
            laid=self.laid,
        )

    def part_at(self, frame: int) -> Part:
        """Return the part that a frame belongs to."""
        parts = self.parts or (
            Part(first_frame=0, zero_s=self.start_pts * self.time_base, clock=0),
        )
        return [part for part in parts if part.first_frame <= max(frame, 0)][-1]


_StreamT = TypeVar("_StreamT", VideoStream, AudioStream)

_DEFAULT_BONUS: Final = 5_000_000


def main_video(container: InputContainer) -> VideoStream | None:
    """Return the main video stream; None without one."""
    never = (
        Disposition.attached_pic
        | Disposition.timed_thumbnails
        | Disposition.still_image
        | Disposition.dependent
    )
    streams = [stream for stream in container.streams.video if not stream.disposition & never]
    return max(streams, key=_video_rank, default=None)


def main_sound(container: InputContainer, video: VideoStream) -> AudioStream | None:
    """Return the sound track that belongs to the main video; None without one."""
    tracks = list(container.streams.audio)
    if len(tracks) > 1 and len(container.streams.video) > 1:
        # libav finds the video in the program of each track, and any video where there is none.
        together = [track for track in tracks if _program_video(container, track) == video.index]
        tracks = together or tracks
    return max(tracks, key=_sound_rank, default=None)


def channels_of(track: AudioStream) -> int:
    """Return how many channels a sound track has, 0 without a decoder.

    If channels are in a custom order, PyAV 18.1 frees with the returned layout also the channel
    list of the decoder, and the process crashes. So that object is never freed.
    """
    codec = getattr(track, "codec_context", None)
    if codec is None:
        return 0
    layout = codec.layout
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))
    return int(layout.nb_channels)


def _video_rank(stream: VideoStream) -> tuple[bool, bool, int]:
    # In PyAV, streams without a decoder have no context, despite its annotations.
    codec = getattr(stream, "codec_context", None)
    area = 0 if codec is None else codec.width * codec.height
    return codec is not None, stream.frames != 1, area + _bonus(stream)


def _sound_rank(track: AudioStream) -> tuple[bool, int]:
    channels = channels_of(track)
    return channels > 0, channels + _bonus(track)


def _bonus(stream: Stream) -> int:
    return _DEFAULT_BONUS if stream.disposition & Disposition.default else 0


def _program_video(container: InputContainer, track: AudioStream) -> int | None:
    found = container.streams.best("video", related=track)
    return None if found is None else found.index


ENCRYPTED: Final = "is encrypted (DRM): get a copy without it, or leave it out"
"""Reason of the `MediaError` for such a file."""
_ENCRYPTED_TAGS: Final = frozenset({"encv", "drmi"})
"""Sample entries of MP4 and MOV for encrypted video of an undeclared codec (ISO/IEC 14496-12 and
FairPlay)."""
_TS_HEADER_AT: Final = {188: 0, 192: 4}
"""Offset of the header, by the size of a packet: M2TS puts a time before it."""
_TS_CHUNK_BYTES: Final = 188 * 192 * 100
_TS_SYNC: Final = 0x47
_MIN_SCRAMBLED_SHARE: Final = 0.02
"""Of the packets with a payload: damage may set the scrambling bits of a few."""


def require_plain_stream(path: Path, stream: VideoStream) -> None:
    """Raise MediaError if the container declares the stream as encrypted."""
    tag = getattr(stream.codec_context, "codec_tag", "")
    if tag in _ENCRYPTED_TAGS or "enc_key_id" in stream.metadata:  # the latter is Matroska's
        raise MediaError(path, ENCRYPTED)


def require_plain_transport_stream(path: Path, container: InputContainer) -> None:
    """Raise MediaError if the packets of an MPEG transport stream are scrambled.

    Their headers declare it (ISO/IEC 13818-1, `transport_scrambling_control`), but libav only
    reports undecodable pictures. The whole file is read, so this is for files that failed.
    """
    if container.format.name != "mpegts":
        return
    with path.open("rb") as file:
        head = file.read(2 * max(_TS_HEADER_AT))
    for size, at in _TS_HEADER_AT.items():
        if len(head) >= 2 * size and head[at] == head[at + size] == _TS_SYNC:
            if _scrambled_share(path, size, at) >= _MIN_SCRAMBLED_SHARE:
                raise MediaError(path, ENCRYPTED)
            return


def _scrambled_share(path: Path, packet_bytes: int, header_at: int) -> float:
    scrambled, total = 0, 0
    with path.open("rb") as file:
        while chunk := file.read(_TS_CHUNK_BYTES):
            whole = len(chunk) // packet_bytes * packet_bytes
            headers = np.frombuffer(chunk[:whole], np.uint8).reshape(-1, packet_bytes)
            headers = headers[:, header_at : header_at + 4]
            has_payload = (headers[:, 0] == _TS_SYNC) & (headers[:, 3] & 0x10 > 0)
            total += int(has_payload.sum())
            scrambled += int((has_payload & (headers[:, 3] & 0xC0 > 0)).sum())
    return scrambled / total if total else 0.0


_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,nut,ivf,dv,gxf,rm"
"""Formats that libav may detect. Text, pictures and playlists are left out: a playlist opens other
files and URLs."""
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
"""First bytes of a file, for formats of which libav reads only one or two concatenated files."""
_MAX_PIXELS = 8192 * 8192


class _EncryptedPacketError(Exception):
    """Raised while packets are read; `open_video` adds the file."""


class OpenedVideo(NamedTuple):
    """An open file and its main video stream."""

    container: InputContainer
    stream: VideoStream


@contextlib.contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Open a media file.

    Only local files in formats that hold video are opened, and nothing inside a file can make libav
    open another.

    Raises:
        MediaError: the file is missing, unreadable or of an unknown format; also for errors of
            libav while the file is open.
    """
    _check_readable(path)
    try:
        with av.open(
            local_url(path),
            container_options=dict(OPENING),
            # Formats without a header of their own, such as MPEG-TS, are decoded on opening.
            options={"max_pixels": str(_MAX_PIXELS)},
            metadata_errors="replace",  # tags may have any encoding, and are not used
        ) as container:
            yield container
    except av.FFmpegError as error:
        raise MediaError(path, _reason(path, error)) from error


@contextlib.contextmanager
def open_video(path: Path, *, threads: int = 1) -> Iterator[OpenedVideo]:
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
            # Pictures may grow in mid-stream; the decoder refuses before it allocates the memory.
            stream.codec_context.options = {"max_pixels": str(_MAX_PIXELS)}
            yield OpenedVideo(container, stream)
        except _EncryptedPacketError as error:
            raise MediaError(path, ENCRYPTED) from error
        except MediaError:
            require_plain_transport_stream(path, container)
            raise


def packets_of(container: InputContainer, stream: _StreamT) -> Iterator[Packet[_StreamT]]:
    """Yield the packets of one stream, and the empty ones that flush its decoder.

    In damaged files, streams turn up while packets are read. PyAV 18.1 has no place for them, and
    decides by chance whether their packets were asked for: it passes them on, or fails at the end.
    """
    packets = container.demux(stream)
    # All other packets have been read by then.
    with contextlib.suppress(IndexError):
        yield from (packet for packet in packets if packet.stream.index == stream.index)


def readable_packets(
    container: InputContainer, stream: VideoStream, *, log_as: Path | None = None
) -> Iterator[Packet[VideoStream]]:
    """Yield the stream's packets up to its end, or up to where the file was cut off.

    Args:
        container: an open file.
        stream: the video stream in it.
        log_as: the file's name; if given, a warning is logged for a file that ends early.
    """
    held: Packet[VideoStream] | None = None
    reason: str | None = None
    end = 0
    try:
        for packet in packets_of(container, stream):
            # PyAV ends with an empty packet that means "flush the decoder".
            if packet.size:
                # The mark of Common Encryption (CENC), often only after the first few seconds.
                if packet.has_sidedata("encryption_info"):
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
        logger.warning("%s: cut off or damaged; read up to there (%s)", log_as, reason)
    elif log_as is not None and _is_followed(log_as, container, end):
        more = "another recording follows what can be read: split the file and join the parts again"
        logger.warning("%s: %s", log_as, more)


def _is_followed(path: Path, container: InputContainer, end: int) -> bool:
    """Whether a second file was appended to one of a format that libav reads to its own end."""
    header = _HEADERS.get(container.format.name)
    if header is None or not end:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(header, end) >= 0


def picture_pts(packet: Packet[VideoStream]) -> int | None:
    """Return the stamp of a packet's picture in ticks, None if it has none."""
    return packet.dts if keeps_no_stamps(packet.stream.container) else packet.pts


def keeps_no_stamps(container: InputContainer | Container) -> bool:
    """Return whether pictures are identified by their order only.

    AVI numbers its packets evenly and has no display stamps; the n-th picture out of the decoder
    has the n-th number.
    """
    return container.format.name == "avi"


def local_url(path: Path) -> str:
    """Return the URL by which libav opens exactly this file, whatever characters it holds."""
    return f"file:{path.absolute()}"


def _check_readable(path: Path) -> None:
    """Raise MediaError for problems that show without libav."""
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
    """Return the main video stream, with a decoder and a valid size."""
    if not container.streams:
        raise MediaError(path, "was cut off or damaged: copy or download it again")
    stream = main_video(container)
    if stream is None:
        holds = "sound but no video" if container.streams.audio else "no video"
        raise MediaError(path, f"holds {holds}")
    # In PyAV, streams without a decoder have no context, despite its annotations.
    if getattr(stream, "codec_context", None) is None:
        raise MediaError(path, "its video codec is unknown here: convert it to H.264")
    width_px, height_px = stream.codec_context.width, stream.codec_context.height
    if width_px <= 0 or height_px <= 0:
        # libav forgets the size of pictures that it may not decode.
        reason = "its video has no size, or frames larger than 8192x8192 in area: is it damaged?"
        raise MediaError(path, reason)
    if width_px * height_px > _MAX_PIXELS:
        reason = f"its frames of {width_px}x{height_px} px are larger than 8192x8192 in area"
        raise MediaError(path, reason)
    return stream


def _reason(path: Path, error: Exception) -> str:
    """Return what libav's error means for this file."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"free"):
        return "was cut off or damaged (MP4/MOV): copy or download it again"
    return f"is not a video that can be read ({getattr(error, 'strerror', None) or error})"
