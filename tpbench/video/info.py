"""What a video is: size, rate, length."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.errors import MediaError
from tpbench.video.alpha import require_opaque_beside
from tpbench.video.container_crop import container_crop, pixel_aspect
from tpbench.video.display import Display, displayed_size
from tpbench.video.hdr import HDR_CURVES, UNSHOWN_CURVES
from tpbench.video.layout import Part, lay_out
from tpbench.video.orientation import OrientationMessages, orientation_of_picture
from tpbench.video.source import keeps_no_stamps, open_video, readable_packets
from tpbench.video.survey import decode_all, survey_packets
from tpbench.video.timeline import Laid, Timeline

if TYPE_CHECKING:
    from fractions import Fraction

    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from tpbench.video.display import Window
    from tpbench.video.layout import Layout
    from tpbench.video.survey import Packets, ShownPictures


_PROGRESSIVE: Final = 1
"""libav's field orders: 0 unknown, 1 progressive, all above interlaced."""

_SEAM_FRAMES = 4
"""The last pictures of a recording in the order of display, whichever is its last in the file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureIndex:
    """Which packet every picture of a video comes from whose stamps don't tell."""

    places: NDArray[np.int32]
    """By number of packet: place of its picture in order of display, -1 if it shows none."""

    first_key: int
    """Number of the packet at which the first picture is decoded."""

    keys: NDArray[np.int64]
    """Numbers of all packets that decoding can start at, rising. Empty where a packet holds two
    pictures, which are counted from the first then."""

    joints: frozenset[int]
    """Those at which another recording begins."""

    leading: NDArray[np.bool_]
    """By number of packet: whether its picture leans on what is not in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What `probe` finds out about a video."""

    width_px: int
    """As displayed: turned as the file asks, pixels made square."""

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
    """Whether all pictures count as interlaced, not only those that say so themselves."""

    has_audio: bool
    """Whether there is at least one audio stream."""

    picture_count: int = 0
    """Pictures in the file, as the decoder shows them; frames repeat or leave out some of them
    where the rate varies."""

    seams: tuple[int, ...] = ()
    """Frames at which another recording begins: the clock jumps there, or the size changes."""

    parts: tuple[Part, ...] = ()
    """Stretches between jumps of the clock, and their times on it; empty: one, from `start_pts`."""

    notes: tuple[str, ...] = ()
    """What is odd about the stamps and sizes of its pictures, and what was made of it."""

    shown_as: tuple[str, ...] = ()
    """What its pictures are that they are not shown as; each begins with a keyword and a colon."""

    incomplete: tuple[int, ...] = ()
    """Frames whose picture lacks data by what the container says. Decoders may conceal that without
    a word, in this picture and in those that lean on it. At a seam, where one recording was cut
    off, it is no news."""

    laid: Laid | None = field(default=None, repr=False, compare=False)
    """Where all pictures are, unless they lie on the even grid from `start_pts` on. Stamps fall
    where the clock goes back."""

    index: PictureIndex | None = field(default=None, repr=False, compare=False)
    """Where to find the pictures of `laid`, if stamps don't tell."""

    def windowed(self, window: Window) -> VideoInfo:
        """Return this as if nothing but a part of its pictures existed."""
        display = replace(self.display, window=window)
        return replace(self, display=display, width_px=window.width_px, height_px=window.height_px)

    @property
    def is_even(self) -> bool:
        """Whether frame i is picture i, at its own time: nothing was made of odd stamps."""
        return not self.variable_rate and not self.notes

    @property
    def timeline(self) -> Timeline:
        """The arithmetic between stamps and frame numbers."""
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


def probe(path: Path | str, *, numbered: bool = False) -> VideoInfo:
    """Read every packet's stamps and decode the first picture.

    A file that was cut off but can be read up to there counts as that much video, with a warning.

    Args:
        path: the video.
        numbered: find pictures by the numbers of their packets (`index`) where the format allows
            it, and not by seeking: decoding then begins at the very last keyframe that will do.

    Raises:
        MediaError: the file is no video that can be used; the message says why.
    """
    path = Path(path)
    with open_video(path) as (container, stream):
        codec = stream.codec_context.codec.canonical_name
        time_base = stream.time_base
        if time_base is None:
            raise MediaError(path, "its video has no time base: the file is damaged")
        declared = [rate for rate in (stream.average_rate, stream.base_rate) if rate]
        has_audio = bool(container.streams.audio)
        interlaced = stream.codec_context.field_order > _PROGRESSIVE
        numbered = numbered and not keeps_no_stamps(container)
        messages = OrientationMessages(stream)
        packets = survey_packets(path, container, stream, messages)
    shown = decode_all(path, packets) if packets.needs_decoding else None
    with open_video(path) as (container, stream):
        first = shown.example if shown else _first_picture(path, container, stream)
        display = _display(path, container, stream, first)
    require_opaque_beside(path)
    stamps = packets.stamps() if shown is None else packets.pts[shown.packets]
    layout = lay_out(stamps, time_base, declared)
    resized = [] if shown is None else _size_changes(shown, layout)
    slots = _slots_of_packets(packets, shown, layout)
    display = display.with_told([(int(slots[number]), said) for number, said in messages.found])
    width_px, height_px = display.shown_px
    seams = tuple(sorted({*(part.first_frame for part in layout.parts[1:]), *resized}))
    return VideoInfo(
        width_px=width_px,
        height_px=height_px,
        fps=layout.fps,
        frame_count=layout.n_frames,
        duration_s=float(layout.n_frames / layout.fps),
        codec=codec,
        pixel_format=first.format.name,
        display=display,
        variable_rate=not layout.is_even,
        time_base=time_base,
        start_pts=int(layout.stamps[0]),
        interlaced=interlaced,
        has_audio=has_audio,
        picture_count=len(stamps),
        seams=seams,
        parts=layout.parts,
        notes=(*layout.notes, *_note_on_sizes(resized, layout)),
        shown_as=_shown_as(display, first, interlaced=interlaced),
        incomplete=_away_from(
            seams, {int(slots[number]) for number in packets.incomplete if slots[number] >= 0}
        ),
        laid=None
        if layout.is_grid and shown is None and not numbered
        else Laid(layout.stamps, layout.slots),
        index=_index(packets, _by_stamps(packets) if numbered else None)
        if shown is None
        else _index(packets, shown.packets),
    )


def _away_from(seams: tuple[int, ...], frames: set[int]) -> tuple[int, ...]:
    """Return the frames that do not lie right before a seam, rising."""
    return tuple(
        frame
        for frame in sorted(frames)
        if not any(0 <= seam - frame <= _SEAM_FRAMES for seam in seams)
    )


def _by_stamps(packets: Packets) -> NDArray[np.int64]:
    """Return the numbers of the packets of an ordinary file in the order of their stamps."""
    used = np.flatnonzero(packets.is_used & (packets.pts >= packets.pts[packets.first_key]))
    return used[np.argsort(packets.pts[used], kind="stable")]


def _index(packets: Packets, shown: NDArray[np.int64] | None) -> PictureIndex | None:
    """Return where pictures are found; `shown` has their packets in order of display."""
    if shown is None:
        return None
    places = np.full(len(packets.pts), -1, np.int32)
    places[shown] = np.arange(len(shown))
    keys = np.flatnonzero(packets.is_key & (places >= 0))
    # Where a packet holds two pictures they can only be told apart by counting from the start.
    if len(np.unique(shown)) < len(shown):
        keys = keys[:0]
    return PictureIndex(
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

    What is not shown itself has the number of the picture before it, and -1 before the first.
    """
    if shown is None:
        order = np.searchsorted(layout.stamps, packets.pts, side="right") - 1
        return np.where(order < 0, -1, layout.slots[order])
    slots = np.full(len(packets.pts), -1, np.int64)
    slots[shown.packets] = layout.slots
    return np.maximum.accumulate(slots)


def _size_changes(shown: ShownPictures, layout: Layout) -> list[int]:
    """Return the frames at which pictures begin that are stored in another size."""
    changes = (np.diff(shown.sizes_px, axis=0) != 0).any(axis=1)
    return sorted({int(frame) for frame in layout.slots[1:][changes]})


def _note_on_sizes(resized: list[int], layout: Layout) -> list[str]:
    if not resized:
        return []
    first_s = float(resized[0] / layout.fps)
    return [f"its pictures change size {len(resized)} times, first after {first_s:.2f} s"]


def _shown_as(display: Display, first: VideoFrame, *, interlaced: bool) -> tuple[str, ...]:
    said = []
    if (curve := HDR_CURVES.get(display.curve_of(first))) is not None:
        said.append(f"HDR: {curve}, shown as SDR")
    if interlaced or first.interlaced_frame:
        said.append("interlaced: pictures with combs are deinterlaced")
    return tuple(said)


def _display(
    path: Path, container: InputContainer, stream: VideoStream, first: VideoFrame
) -> Display:
    """Return how the pictures are shown, all but what the stream itself says of its orientation."""
    import av

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
    import av

    packets = itertools.dropwhile(
        lambda packet: not packet.is_keyframe, readable_packets(container, stream)
    )
    for packet in itertools.chain(packets, [None]):
        # Damage further on is told when reading gets there, with its place.
        with contextlib.suppress(av.FFmpegError):
            for picture in stream.codec_context.decode(packet):
                return picture
    raise MediaError(path, "none of its pictures can be decoded: the file is damaged")
