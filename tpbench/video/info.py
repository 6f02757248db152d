"""What a video is: size, rate, length."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tpbench.errors import MediaError
from tpbench.video.alpha import require_opaque_beside
from tpbench.video.container_crop import container_crop, pixel_aspect
from tpbench.video.display import Display, displayed_size
from tpbench.video.hdr import HDR_CURVES, UNSHOWN_CURVES
from tpbench.video.orientation import OrientationMessages, orientation_of_picture
from tpbench.video.source import open_video, picture_pts, readable_packets
from tpbench.video.timeline import Timeline, constant_rate

if TYPE_CHECKING:
    from fractions import Fraction

    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

_MAX_SPAN_S = 24 * 3600


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

    hdr: str | None = None
    """`PQ` or `HLG` where its first picture is HDR, which is shown as SDR; None for SDR."""

    time_base: Fraction
    """Seconds a tick of the source's stamps."""

    start_pts: int
    """Stamp of frame 0, in ticks."""

    has_audio: bool
    """Whether there is at least one audio stream."""

    @property
    def rotation_deg(self) -> int:
        """0, 90, 180 or 270: how far the picture is turned, once mirrored if `display` says so."""
        return 90 * self.display.orientation.quarter_turns

    @property
    def timeline(self) -> Timeline:
        """The arithmetic between stamps and frame numbers."""
        return Timeline(fps=self.fps, time_base=self.time_base, start_pts=self.start_pts)


def probe(path: Path | str) -> VideoInfo:
    """Read every packet's stamps and decode the first picture.

    A file that was cut off but can be read up to there counts as that much video, with a warning.

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
        messages = OrientationMessages(stream)
        stamps = _survey(path, container, stream, messages)
    with open_video(path) as (container, stream):
        first = _first_picture(path, container, stream)
        display = _display(path, container, stream, first)
    require_opaque_beside(path)
    if (span_s := float((stamps[-1] - stamps[0]) * time_base)) > _MAX_SPAN_S:
        raise MediaError(path, f"its stamps span {span_s / 3600:.0f} hours: the file is damaged")
    fps, variable_rate = constant_rate(stamps, time_base, declared)
    start_pts = int(stamps[0])
    timeline = Timeline(fps=fps, time_base=time_base, start_pts=start_pts)
    frame_count = timeline.slot(int(stamps[-1])) + 1
    display = display.with_told([(timeline.slot(pts), said) for pts, said in messages.found])
    width_px, height_px = display.shown_px
    return VideoInfo(
        width_px=width_px,
        height_px=height_px,
        fps=fps,
        frame_count=frame_count,
        duration_s=float(frame_count / fps),
        codec=codec,
        pixel_format=first.format.name,
        display=display,
        hdr=HDR_CURVES.get(display.curve_of(first)),
        variable_rate=variable_rate,
        time_base=time_base,
        start_pts=start_pts,
        has_audio=has_audio,
    )


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


def _survey(
    path: Path, container: InputContainer, stream: VideoStream, messages: OrientationMessages
) -> NDArray[np.int64]:
    """Collect the stamps of all pictures that will be displayed, (n,) rising, in ticks."""
    key_pts: int | None = None
    stamps: list[int] = []
    for packet in messages.each(readable_packets(container, stream, log_as=path)):
        pts = picture_pts(packet)
        if pts is None:
            continue
        if key_pts is None and packet.is_keyframe:
            key_pts = pts
        # Pictures displayed before the first keyframe lean on one that is not in the file; an edit
        # list lets others be decoded but not displayed.
        if key_pts is not None and pts >= key_pts and not packet.is_discard:
            stamps.append(pts)
    if not stamps:
        raise MediaError(path, "holds no pictures: it was cut off or is damaged")
    return np.sort(np.array(stamps, np.int64))


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
