"""Streaming the frames of a video in order, from any frame on."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tpbench.errors import DamageError, MediaError
from tpbench.video.alpha import require_opaque
from tpbench.video.deinterlace import SURELY_COMBED_PX, is_combed, whole_pictures
from tpbench.video.info import probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

    from tpbench.video.decode import Picture
    from tpbench.video.display import Display
    from tpbench.video.info import VideoInfo


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One frame of a video, on its constant-rate timeline."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB, as displayed."""

    index: int
    """Frame number on the timeline, from 0."""

    time_s: float
    """index / fps."""

    pts: int | None = None
    """Stamp of the picture shown, in `VideoInfo.time_base`; None where the format keeps none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecodedFrame:
    """A frame before its colours are made, so that frames nobody looks at cost only decoding."""

    index: int
    """Frame number on the timeline, from 0."""

    time_s: float
    """index / fps."""

    pts: int | None
    """Stamp of the picture shown, in `VideoInfo.time_base`; None where the format keeps none."""

    _picture: VideoFrame = field(repr=False)
    _slot: int = field(repr=False)
    """Frame number from which on the picture is shown."""

    _display: Display = field(repr=False)

    def to_rgb(self, *, max_side_px: int | None = None) -> NDArray[np.uint8]:
        """Return the picture as displayed, shrunk so that no side is longer than `max_side_px`.

        Colours follow the matrix (BT.601, BT.709, BT.2020) and range that the file declares;
        undeclared ones are BT.601 in limited range, as OpenCV and decord have it. HDR becomes SDR
        (`tpbench.video.hdr` says how); transfer curves of SDR are left as they are. Shrinking
        averages areas. All frames have the same size, even where the stored size changes.

        Returns:
            (H, W, 3) uint8 RGB, contiguous.
        """
        return self._display.rgb(self._picture, self._slot, max_side_px)

    def is_combed(self) -> bool:
        """Return whether its lines were surely taken at two moments, whatever the file says."""
        return is_combed(self._picture, least_px=SURELY_COMBED_PX)


def decode_frames(
    path: Path | str,
    *,
    info: VideoInfo | None = None,
    start_frame: int = 0,
    end_frame: int | None = None,
    threads: int = 1,
) -> Iterator[DecodedFrame]:
    """Decode the frames from `start_frame` up to but without `end_frame`.

    Starting in the middle gives bit for bit the frames that starting at 0 gives there.

    Args:
        path: the video.
        info: what `probe` said of it; asked again if not given.
        start_frame: first frame number.
        end_frame: end, exclusive; all frames if not given.
        threads: decoder threads.

    Raises:
        MediaError: on first use or in the middle: the file can't be read (on); says where.
        ValueError: the frame numbers are not a range within the video.
    """
    path = Path(path)
    info = info or probe(path)
    end_frame = info.frame_count if end_frame is None else end_frame
    if not 0 <= start_frame <= end_frame <= info.frame_count:
        reason = f"frames {start_frame} to {end_frame} are no range of {info.frame_count} frames"
        raise ValueError(reason)
    return _timed_frames(path, info, start_frame, end_frame, threads)


def read_frames(
    path: Path | str,
    *,
    info: VideoInfo | None = None,
    start_frame: int = 0,
    end_frame: int | None = None,
    max_side_px: int | None = None,
    threads: int = 1,
) -> Iterator[Frame]:
    """Decode frames as `decode_frames` does, and make RGB of each as `DecodedFrame.to_rgb` does."""
    decoded = decode_frames(
        path, info=info, start_frame=start_frame, end_frame=end_frame, threads=threads
    )
    for frame in decoded:
        yield as_frame(frame, max_side_px=max_side_px)


def read_pictures(path: Path | str, *, info: VideoInfo | None = None) -> Iterator[Frame]:
    """Decode every picture once, in order of display, whatever the stamps say.

    `Frame.index` counts pictures, and `Frame.time_s` is on the timeline.

    Raises:
        MediaError: the file can't be read (on), or holds other than `VideoInfo.picture_count`.
    """
    path = Path(path)
    info = info or probe(path)
    number = -1
    pictures = require_opaque(path, whole_pictures(path, info, 0, 1), codec=info.codec)
    for number, picture in enumerate(pictures):
        frame = as_frame(_frame(info, picture, picture.slot))
        yield replace(frame, index=number)
    if number + 1 != info.picture_count:
        reason = f"damaged: {number + 1} of {info.picture_count} pictures can be decoded"
        raise MediaError(path, reason)


def as_frame(frame: DecodedFrame, *, max_side_px: int | None = None) -> Frame:
    """Make the RGB image of a decoded frame."""
    image = frame.to_rgb(max_side_px=max_side_px)
    return Frame(image=image, index=frame.index, time_s=frame.time_s, pts=frame.pts)


def _timed_frames(
    path: Path, info: VideoInfo, start: int, end: int, threads: int
) -> Iterator[DecodedFrame]:
    """Lay pictures on the timeline: repeat where a slot has none, drop where it has several."""
    index = start
    shown: Picture | None = None
    pictures = require_opaque(path, whole_pictures(path, info, start, threads), codec=info.codec)
    for picture in itertools.chain(pictures, [None]):
        until = end if picture is None else min(end, picture.slot)
        if shown is not None and until > index:
            # Only a variable rate leaves slots empty, and never the last one.
            gap_allowed = info.variable_rate and picture is not None
            whole_until = until if gap_allowed else min(until, shown.slot + 1)
            for at in range(index, whole_until):
                yield _frame(info, shown, at)
            if whole_until < until:
                raise _missing(path, info, whole_until)
            index = until
        if index >= end:
            return
        if picture is not None and (shown is None or picture.slot >= shown.slot):
            if shown is not None and _skips(shown, picture):
                raise _missing(path, info, shown.slot + 1)
            shown = picture
    raise DamageError(path, f"damaged: no picture can be decoded from frame {index} on")


def _skips(before: Picture, after: Picture) -> bool:
    """Whether a picture between the two did not come out, as far as that is known."""
    return before.place is not None and after.place is not None and after.place > before.place + 1


def _missing(path: Path, info: VideoInfo, frame: int) -> DamageError:
    return DamageError(path, f"damaged: frame {frame} of {info.frame_count} is missing")


def _frame(info: VideoInfo, shown: Picture, index: int) -> DecodedFrame:
    return DecodedFrame(
        index=index,
        time_s=float(index / info.fps),
        pts=shown.pts,
        _picture=shown.picture,
        _slot=shown.slot,
        _display=info.display,
    )
