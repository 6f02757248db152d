"""Frames of a video, in order, by number or by time, deinterlaced where necessary."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

import av
import cv2
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tpbench.errors import DamageError, MediaError
from tpbench.video.decode import Picture, pictures_from, require_opaque
from tpbench.video.display import Display
from tpbench.video.probe import probe
from tpbench.video.source import VideoInfo

_COMB_LEVELS: Final = 10
"""A line of a comb is this much brighter, or darker, than both its neighbours."""
_BLOCK_PX: Final = 16
_COMBED_PX: Final = 24
"""Least comb pixels in a block of 16 x 16 of a combed picture."""
SURELY_COMBED_PX: Final = 80
"""The same for a picture that is not declared as interlaced."""


def whole_pictures(path: Path, info: VideoInfo, start: int, threads: int) -> Iterator[Picture]:
    """Decode as `pictures_from` does, and deinterlace interlaced pictures.

    Deinterlacing the picture shown at frame `start` needs the one before it. Decoding begins early
    enough to include that, so every start gives the same pictures.
    """
    begin = start
    while True:
        pictures = pictures_from(path, info, begin, threads)
        lead = [picture for picture in (next(pictures, None),) if picture is not None]
        if not lead or begin <= 0 or not _is_interlaced(lead[0], info):
            break
        lead += [picture for picture in (next(pictures, None),) if picture is not None]
        if len(lead) == 2 and lead[1].slot <= start:
            break
        begin = lead[0].slot - 1
    yield from _deinterlaced(chain(lead, pictures), info)


def is_combed(picture: VideoFrame, *, least_px: int = _COMBED_PX) -> bool:
    """Return whether combs are visible: many close lines that stand out from both neighbours."""
    luma = _luma(picture)
    if min(luma.shape) < _BLOCK_PX:
        return False
    up = cv2.subtract(luma[1:-1], luma[:-2]), cv2.subtract(luma[1:-1], luma[2:])
    down = cv2.subtract(luma[:-2], luma[1:-1]), cv2.subtract(luma[2:], luma[1:-1])
    stands_out = cv2.max(cv2.min(*up), cv2.min(*down))
    # In a comb both neighbours are alike; where they differ, an edge passes through.
    apart = cv2.absdiff(luma[:-2], luma[2:])
    comb = cv2.compare(cv2.subtract(stands_out, apart), float(_COMB_LEVELS), cv2.CMP_GT)
    if cv2.countNonZero(comb) < least_px:
        return False  # as in nearly all progressive pictures
    counts = cv2.boxFilter(comb, cv2.CV_32F, (_BLOCK_PX, _BLOCK_PX), normalize=False)
    return float(counts.max()) >= 255 * least_px


def _is_interlaced(picture: Picture, info: VideoInfo) -> bool:
    return info.interlaced or picture.picture.interlaced_frame


class _Held(NamedTuple):
    """A picture inside the filter."""

    picture: Picture
    is_interlaced: bool
    is_shown: bool


def _deinterlaced(pictures: Iterable[Picture], info: VideoInfo) -> Iterator[Picture]:
    before: Picture | None = None
    deinterlacer: _Deinterlacer | None = None
    for picture in pictures:
        is_interlaced = _is_interlaced(picture, info)
        if deinterlacer is not None and not deinterlacer.takes(picture):
            yield from deinterlacer.finish()
            deinterlacer = before = None
        if deinterlacer is None and not is_interlaced:
            before = picture
            yield picture
            continue
        if deinterlacer is None:
            deinterlacer = _Deinterlacer(picture.picture)
            if before is not None and deinterlacer.takes(before):
                yield from deinterlacer.push(_Held(before, is_interlaced=False, is_shown=False))
        yield from deinterlacer.push(_Held(picture, is_interlaced=is_interlaced, is_shown=True))
    if deinterlacer is not None:
        yield from deinterlacer.finish()


class _Deinterlacer:
    """A deinterlacing filter, which holds each picture back until the next one arrives."""

    def __init__(self, example: VideoFrame) -> None:
        self._shape = _shape(example)
        self._graph = _graph(example)
        self._held: deque[_Held] = deque()

    def takes(self, picture: Picture) -> bool:
        """Return whether a picture has the size and format that the filter was built for."""
        return _shape(picture.picture) == self._shape

    def push(self, held: _Held) -> Iterator[Picture]:
        """Add the next picture; yield those that are finished."""
        self._held.append(held)
        self._graph.vpush(held.picture.picture)
        yield from self._done()

    def finish(self) -> Iterator[Picture]:
        """Yield all pictures still inside."""
        self._graph.vpush(None)
        yield from self._done()

    def _done(self) -> Iterator[Picture]:
        while True:
            try:
                filtered = self._graph.vpull()
            except (av.BlockingIOError, EOFError):
                return
            held = self._held.popleft()
            if not held.is_shown:
                continue
            if held.is_interlaced and is_combed(held.picture.picture):
                yield held.picture._replace(picture=filtered)
            else:
                yield held.picture


def _shape(picture: VideoFrame) -> tuple[int, int, str]:
    return picture.width, picture.height, picture.format.name


def _graph(example: VideoFrame) -> Graph:
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add(
        "buffer",
        video_size=f"{example.width}x{example.height}",
        pix_fmt=example.format.name,
        time_base="1/1000",
        pixel_aspect="1/1",
        colorspace=str(int(example.colorspace)),
        range=str(int(example.color_range)),
    )
    bwdif = graph.add("bwdif", mode="send_frame", parity="auto", deint="all")
    graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
    return graph


def _luma(picture: VideoFrame) -> NDArray[np.uint8]:
    """Return the brightness of a picture, (H, W) uint8."""
    first = picture.format.components[0]
    if first.plane != 0 or first.bits != 8 or len(picture.planes) < 2 or picture.format.is_rgb:
        return np.asarray(picture.to_ndarray(format="gray", threads=1), dtype=np.uint8)
    values = np.frombuffer(memoryview(picture.planes[0]), np.uint8)
    return values.reshape(picture.height, -1)[:, : picture.width]


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
    """A frame before conversion to RGB, so that unused frames cost only decoding."""

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
        undeclared ones are BT.601 in limited range, as in OpenCV and decord. HDR is converted to
        SDR (see `tpbench.video.display`); transfer curves of SDR are left as they are. Shrinking
        averages areas. All frames have the same size, even where the stored size changes.

        Returns:
            (H, W, 3) uint8 RGB, contiguous.
        """
        return self._display.rgb(self._picture, self._slot, max_side_px)

    def is_combed(self) -> bool:
        """Return whether it clearly shows two moments, interlaced, whatever the file declares."""
        return is_combed(self._picture, least_px=SURELY_COMBED_PX)


def decode_frames(
    path: Path | str,
    *,
    info: VideoInfo | None = None,
    start_frame: int = 0,
    end_frame: int | None = None,
    threads: int = 1,
) -> Iterator[DecodedFrame]:
    """Decode the frames from `start_frame` to `end_frame` (exclusive).

    Starting in the middle gives frames bit-identical to those when starting at 0.

    Args:
        path: the video.
        info: its result of `probe`; probed again if not given.
        start_frame: first frame number.
        end_frame: end, exclusive; all frames if not given.
        threads: decoder threads.

    Raises:
        MediaError: during iteration: the file can't be read any further; the message says where.
        ValueError: the frame numbers are not a range within the video.
    """
    path = Path(path)
    info = info or probe(path)
    end_frame = info.frame_count if end_frame is None else end_frame
    if not 0 <= start_frame <= end_frame <= info.frame_count:
        raise ValueError(
            f"frames {start_frame} to {end_frame} are no range of {info.frame_count} frames"
        )
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
    """Decode frames as `decode_frames` does, and convert each as `DecodedFrame.to_rgb` does."""
    decoded = decode_frames(
        path, info=info, start_frame=start_frame, end_frame=end_frame, threads=threads
    )
    for frame in decoded:
        yield as_frame(frame, max_side_px=max_side_px)


def read_pictures(path: Path | str, *, info: VideoInfo | None = None) -> Iterator[Frame]:
    """Decode every picture once, in order of display, whatever the stamps say.

    `Frame.index` counts pictures, and `Frame.time_s` is on the timeline.

    Raises:
        MediaError: the file can't be read to its end, or not exactly `VideoInfo.picture_count`.
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
    """Convert a decoded frame to RGB."""
    image = frame.to_rgb(max_side_px=max_side_px)
    return Frame(image=image, index=frame.index, time_s=frame.time_s, pts=frame.pts)


def _timed_frames(
    path: Path, info: VideoInfo, start: int, end: int, threads: int
) -> Iterator[DecodedFrame]:
    """Place pictures on the timeline: repeat where a slot has none, drop where it has several."""
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
    """Whether a picture between the two is known to be missing."""
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


_STEP_FRAMES = 24
"""Up to this far ahead, continued decoding is cheaper than seeking: half a usual GOP."""


def frames_at(path: Path | str, indices: Sequence[int]) -> Iterator[Frame]:
    """Yield the frames with these numbers, pixel-identical to those of `read_frames`.

    Only libav is used: decord is as fast, but returns damaged pictures without an error, and
    rotated or 10-bit ones wrongly.

    Args:
        path: the video.
        indices: frame numbers in any order; repeats are allowed.

    Raises:
        MediaError: during iteration: the file can't be read any further; the message says where.
        IndexError: the video has no frame of that number.
    """
    path = Path(path)
    info = probe(path)
    for index in indices:
        if not 0 <= index < info.frame_count:
            raise IndexError(f"there is no frame {index} among the {info.frame_count} of {path}")
    return _pick(path, info, indices)


def _pick(path: Path, info: VideoInfo, indices: Sequence[int]) -> Iterator[Frame]:
    frames: Iterator[DecodedFrame] = iter(())
    at: DecodedFrame | None = None
    for index in indices:
        if at is None or not 0 <= index - at.index <= _STEP_FRAMES:
            frames = decode_frames(path, info=info, start_frame=index)
            at = next(frames)
        elif index > at.index:
            at = next(itertools.islice(frames, index - at.index - 1, None))
        yield as_frame(at)
