"""Interlaced pictures, whose odd and even lines were taken at two moments, made whole.

Every picture that says it is interlaced (or all of a file that says so, or in which combs were
found) goes through libavfilter's `bwdif`, one picture out for each one in: the lines of the first
moment stay, the others are interpolated from them and from the pictures before and after. Where no
comb is seen the picture stays as it is, for much of what is marked as interlaced was taken whole.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np

from tpbench.video.decode import pictures_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from av.filter import Graph
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

    from tpbench.video.decode import Picture
    from tpbench.video.info import VideoInfo

_COMB_LEVELS: Final = 10
"""A line of a comb is this much brighter, or darker, than both its neighbours."""

_BLOCK_PX: Final = 16
_COMBED_PX: Final = 24
"""So many pixels of a block of 16 x 16 are comb in a combed picture."""

SURELY_COMBED_PX: Final = 80
"""The same for a picture that does not say that it is interlaced."""


def whole_pictures(path: Path, info: VideoInfo, start: int, threads: int) -> Iterator[Picture]:
    """Decode as `pictures_from` does, and deinterlace what is interlaced.

    The picture shown at frame `start` needs the one before it: decoding begins early enough for
    that, so that every start gives the same pictures.
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
    """Return whether combs are seen: lines that stand out from both neighbours, many together."""
    luma = _luma(picture)
    if min(luma.shape) < _BLOCK_PX:
        return False
    up = cv2.subtract(luma[1:-1], luma[:-2]), cv2.subtract(luma[1:-1], luma[2:])
    down = cv2.subtract(luma[:-2], luma[1:-1]), cv2.subtract(luma[2:], luma[1:-1])
    stands_out = cv2.max(cv2.min(*up), cv2.min(*down))
    # In a comb the neighbours belong together; where they don't, an edge passes through.
    apart = cv2.absdiff(luma[:-2], luma[2:])
    comb = cv2.compare(cv2.subtract(stands_out, apart), float(_COMB_LEVELS), cv2.CMP_GT)
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
    weaver: _Weaver | None = None
    for picture in pictures:
        is_interlaced = _is_interlaced(picture, info)
        if weaver is not None and not weaver.takes(picture):
            yield from weaver.finish()
            weaver = before = None
        if weaver is None and not is_interlaced:
            before = picture
            yield picture
            continue
        if weaver is None:
            weaver = _Weaver(picture.picture)
            if before is not None and weaver.takes(before):
                yield from weaver.push(_Held(before, is_interlaced=False, is_shown=False))
        yield from weaver.push(_Held(picture, is_interlaced=is_interlaced, is_shown=True))
    if weaver is not None:
        yield from weaver.finish()


class _Weaver:
    """A filter that holds each picture back until the next one is there."""

    def __init__(self, example: VideoFrame) -> None:
        self._shape = _shape(example)
        self._graph = _graph(example)
        self._held: deque[_Held] = deque()

    def takes(self, picture: Picture) -> bool:
        """Return whether a picture is of the size and format that the filter was made for."""
        return _shape(picture.picture) == self._shape

    def push(self, held: _Held) -> Iterator[Picture]:
        """Take the next picture; give those that are done."""
        self._held.append(held)
        self._graph.vpush(held.picture.picture)
        yield from self._done()

    def finish(self) -> Iterator[Picture]:
        """Give all that is still inside."""
        self._graph.vpush(None)
        yield from self._done()

    def _done(self) -> Iterator[Picture]:
        import av

        while True:
            try:
                made = self._graph.vpull()
            except (av.BlockingIOError, EOFError):
                return
            held = self._held.popleft()
            if not held.is_shown:
                continue
            if held.is_interlaced and is_combed(held.picture.picture):
                yield held.picture._replace(picture=made)
            else:
                yield held.picture


def _shape(picture: VideoFrame) -> tuple[int, int, str]:
    return picture.width, picture.height, picture.format.name


def _graph(example: VideoFrame) -> Graph:
    import av

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
