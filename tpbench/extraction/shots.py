"""Shots: the stretches between cuts, dissolves and fades, found in one pass of thumbnails.

Hard cuts come from PySceneDetect: ContentDetector finds every strong one, AdaptiveDetector the weak
ones between two dark or similar shots. Neither sees a slow dissolve, so the picture is also
compared with what it was 1, 2 and 4 s earlier within the same shot (the twin comparison of Zhang,
Kankanhalli and Smoliar, 1993). A stretch over which it has changed wholesale belongs to no shot.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from tpbench.extraction.picture import lab_distance, lab_thumbnail
from tpbench.extraction.spans import Span

if TYPE_CHECKING:
    from fractions import Fraction

    import numpy as np
    from numpy.typing import NDArray

    from tpbench.extraction.config import ShotSettings

_TWIN_LAGS_S: Final = (1.0, 2.0, 4.0)
_TWIN_RATE_HZ: Final = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A stretch of frames without a cut."""

    span: Span
    """Shots count from 0 in time order; transitions take a number too."""

    is_transition: bool
    """A dissolve, fade or sweep: no clip may use any of it."""


class ShotFinder:
    """Takes the frames of a video one by one and says where its shots are."""

    def __init__(self, *, fps: Fraction, settings: ShotSettings) -> None:
        from scenedetect.detectors import AdaptiveDetector, ContentDetector

        self._fps = fps
        self._settings = settings
        # min_scene_len 0: what is too short to use is the length filter's business, and both
        # detectors would otherwise move cuts.
        self._detectors = (
            ContentDetector(threshold=settings.content_threshold, min_scene_len=0),
            AdaptiveDetector(
                adaptive_threshold=settings.adaptive_ratio,
                min_content_val=settings.adaptive_min_content,
                min_scene_len=0,
            ),
        )
        self._cuts: set[int] = set()
        self._twins = _TwinComparison(fps=fps, threshold_levels=settings.transition_levels)
        self._n_frames = 0

    def push(self, thumbnail: NDArray[np.uint8]) -> None:
        """Look at the next frame, a (h, w, 3) uint8 RGB picture of about 256 px."""
        from scenedetect import FrameTimecode

        timecode = FrameTimecode(self._n_frames, self._fps)
        bgr = thumbnail[:, :, ::-1]
        for detector in self._detectors:
            self._cuts.update(cut.frame_num for cut in detector.process_frame(timecode, bgr))
        self._twins.push(self._n_frames, thumbnail)
        self._n_frames += 1

    def finish(self) -> list[Shot]:
        """Return the shots in time order. Together with the transitions they tile the video."""
        if self._n_frames == 0:
            return []
        from scenedetect import FrameTimecode

        last = FrameTimecode(self._n_frames - 1, self._fps)
        for detector in self._detectors:
            self._cuts.update(cut.frame_num for cut in detector.post_process(last))
        cuts = sorted(cut for cut in self._cuts if 0 < cut < self._n_frames)
        shots: list[Shot] = []
        for start, end in zip([0, *cuts], [*cuts, self._n_frames], strict=True):
            for part in _split(start, end, self._twins.transitions(start, end)):
                span = Span(shot_id=len(shots), start_frame=part[0], end_frame=part[1])
                shots.append(Shot(span=span, is_transition=part[2]))
        return shots


class _TwinComparison:
    """Remembers thumbnails of the last seconds and notes when the picture became another."""

    def __init__(self, *, fps: Fraction, threshold_levels: float) -> None:
        self._every = max(1, round(float(fps) / _TWIN_RATE_HZ))
        self._lags = [max(1, round(lag * float(fps) / self._every)) for lag in _TWIN_LAGS_S]
        self._threshold_levels = threshold_levels
        self._memory: deque[tuple[int, NDArray[np.float32]]] = deque(maxlen=max(self._lags) + 1)
        self._hits: list[tuple[int, int]] = []

    def push(self, index: int, image: NDArray[np.uint8]) -> None:
        if index % self._every:
            return
        now = lab_thumbnail(image)
        self._memory.append((index, now))
        for lag in self._lags:
            if lag < len(self._memory):
                then_index, then = self._memory[-1 - lag]
                if lab_distance(then, now) > self._threshold_levels:
                    self._hits.append((then_index, index))
                    break  # the longer lags contain this one

    def transitions(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the spans within one shot over which the picture changed wholesale.

        Short comparisons place a change better than long ones, so a long one only counts where no
        short one already explains it.
        """
        low = bisect_left(self._hits, start, key=itemgetter(1))
        high = bisect_left(self._hits, end, key=itemgetter(1))
        inside = [hit for hit in self._hits[low:high] if hit[0] >= start]
        spans: list[tuple[int, int]] = []
        for length in sorted({last - first for first, last in inside}):
            spans = _merge(
                spans
                + [
                    (first, last)
                    for first, last in inside
                    if last - first == length and not _touches(first, last, spans)
                ]
            )
        return spans


def _touches(first: int, last: int, spans: list[tuple[int, int]]) -> bool:
    """Whether [first, last] shares a frame with one of the spans, which are merged and rising."""
    at = bisect_left(spans, first, key=itemgetter(1))
    return at < len(spans) and spans[at][0] <= last


def _merge(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _split(start: int, end: int, transitions: list[tuple[int, int]]) -> list[tuple[int, int, bool]]:
    parts: list[tuple[int, int, bool]] = []
    at = start
    for first, last in transitions:
        if first > at:
            parts.append((at, first, False))
        parts.append((max(first, at), last + 1, True))
        at = last + 1
    if at < end:
        parts.append((at, end, False))
    return parts
