"""Shots: the stretches between cuts, dissolves and fades, found in one pass of thumbnails.

Hard cuts are found by two rules of PySceneDetect (compared with it in the tests), both on one score
per frame: that of ContentDetector finds every strong one, that of AdaptiveDetector the weak ones
between two dark or similar shots. Neither detects a slow dissolve, so each frame is also compared
with those 1, 2 and 4 s earlier in the same shot (the twin comparison of Zhang, Kankanhalli and
Smoliar, 1993). If they differ and the frame halfway is the mean of both, the stretch between
them is a dissolve or fade and belongs to no shot. Where the file itself marks the start of another
recording (`VideoInfo.seams`), each side of the seam is analysed separately.

Changes of light are neither: if both sides of a cut, or both ends of an apparent dissolve, show the
same shapes, lamps were faded or switched, and the shot continues.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil
from operator import itemgetter
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.extraction.config import ShotSettings
from tpbench.extraction.measures import (
    FRAMES_APART,
    SECONDS_APART,
    lab_distance,
    lab_thumbnail,
    likeness,
    structure,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Frames `start_frame` to `end_frame` (exclusive) of one shot."""

    shot_id: int
    start_frame: int
    end_frame: int

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.end_frame - self.start_frame


def split_by_promise(
    shot: Span, samples: Sequence[tuple[int, bool]], *, max_gap_frames: int, min_frames: int
) -> list[Span]:
    """Tile a shot into spans that are good throughout and spans that are not.

    Gaps of up to `max_gap_frames` do not end a good span, and a good span under `min_frames` is
    merged into its bad neighbours. A good span begins and ends at a good sample, or at the edge of
    the shot if the shot's first or last sample is good.

    Args:
        shot: the span to tile.
        samples: (frame, good) of the sampled frames, ascending, all inside the shot.
        max_gap_frames: most frames between two good samples with bad ones between them.
        min_frames: shortest good span.

    Returns:
        At least one span; together they cover the shot without overlap.
    """
    good: list[tuple[int, int]] = []
    bad_between = True
    for frame, is_good in samples:
        if not is_good:
            bad_between = True
            continue
        if good and (not bad_between or frame - good[-1][1] <= max_gap_frames):
            good[-1] = (good[-1][0], frame + 1)
        else:
            good.append((frame, frame + 1))
        bad_between = False
    if samples and good:
        if samples[0][1]:
            good[0] = (shot.start_frame, good[0][1])
        if samples[-1][1]:
            good[-1] = (good[-1][0], shot.end_frame)
    good = [(start, end) for start, end in good if end - start >= min_frames]
    edges = sorted({shot.start_frame, shot.end_frame, *(edge for pair in good for edge in pair)})
    return [
        Span(shot_id=shot.shot_id, start_frame=start, end_frame=end)
        for start, end in pairwise(edges)
    ]


def cut_evenly(span: Span, *, max_frames: int) -> list[Span]:
    """Cut a span into the fewest parts of at most `max_frames`, equal to within one frame."""
    count = ceil(span.n_frames / max_frames)
    edges = [span.start_frame + span.n_frames * part // count for part in range(count + 1)]
    return [
        Span(shot_id=span.shot_id, start_frame=start, end_frame=end)
        for start, end in pairwise(edges)
    ]


_TWIN_LAGS_S: Final = (1.0, 2.0, 4.0)
_TWIN_RATE_HZ: Final = 8.0

_SCENE_S: Final = 8.0
"""How far back the shapes of a frame are compared: after this time, a dissolve of 8 s between two
scenes has left the first one."""
_NEIGHBOURS: Final = 2
"""Frames on either side that a change is compared with."""
_RECENT_FRAMES: Final = _NEIGHBOURS + 2
"""The last frames, back to the one before a cut that is found `_NEIGHBOURS` frames late."""
_NO_CHANGE: Final = 1e-5
_LARGEST_RATIO: Final = 255.0
_BLEND_SHARE: Final = 0.35
"""The middle of a dissolve differs from the mean of its ends by 0.1 to 0.3 of their difference.
With motion instead it is 0.44 or more, since objects are elsewhere in the middle: measured on
talks, close-ups and street scenes."""
_FAINT_SHARE: Final = 0.2
"""Slow dissolves are detected late: up to a seventh of their length preceded the detection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A stretch of frames without a cut."""

    span: Span
    """Shots count from 0 in time order; transitions take a number too."""
    is_transition: bool
    """A dissolve or fade: no clip may use any of it."""


class ShotFinder:
    """Takes the frames of a video one by one and finds its shots."""

    def __init__(self, *, fps: Fraction, settings: ShotSettings, seams: Iterable[int] = ()) -> None:
        """Expect cuts at `seams`, frame numbers where the file marks the start of a recording."""
        self._fps = fps
        self._settings = settings
        self._seams = frozenset(seams)
        self._section = _Section(fps=fps, settings=settings)
        self._stretches: list[tuple[int, int, bool]] = []
        self._section_start = 0
        self._n_frames = 0

    def push(self, thumbnail: NDArray[np.uint8]) -> None:
        """Process the next frame, a (h, w, 3) uint8 RGB image of about 256 px."""
        if self._n_frames in self._seams:
            self._end_section()
            self._section = _Section(fps=self._fps, settings=self._settings)
            self._section_start = self._n_frames
        self._section.push(thumbnail)
        self._n_frames += 1

    @property
    def last_cut(self) -> int:
        """The latest hard cut or seam found so far; 0 if there was none."""
        return self._section_start + self._section.last_cut

    def finish(self) -> list[Shot]:
        """Return the shots in time order. Together with the transitions they tile the video."""
        self._end_section()
        return [
            Shot(
                span=Span(shot_id=number, start_frame=start, end_frame=end),
                is_transition=is_transition,
            )
            for number, (start, end, is_transition) in enumerate(self._stretches)
        ]

    def _end_section(self) -> None:
        at = self._section_start
        self._stretches += [
            (at + start, at + end, is_transition)
            for start, end, is_transition in self._section.finish()
        ]


class CutRules:
    """Finds the frames that begin after a hard cut, as PySceneDetect's detectors do.

    Both of its rules look at the mean of the changes of hue, saturation and value from one frame to
    the next, which is measured once here.
    """

    def __init__(self, settings: ShotSettings) -> None:
        self._settings = settings
        self._last: NDArray[np.uint8] | None = None
        self._scores: deque[float] = deque(maxlen=2 * _NEIGHBOURS + 1)
        self._n_frames = 0

    def push(self, thumbnail: NDArray[np.uint8]) -> list[int]:
        """Process the next frame, (h, w, 3) uint8 RGB; return frames after a cut, counted from 0.

        A strong cut is found at its frame, a weak one two frames later; one may be found twice.
        """
        score = self._change(thumbnail)
        self._scores.append(score)
        newest, self._n_frames = self._n_frames, self._n_frames + 1
        cuts = [newest] if score >= self._settings.content_threshold else []
        if self._middle_stands_out():
            cuts.append(newest - _NEIGHBOURS)
        return cuts

    def _change(self, thumbnail: NDArray[np.uint8]) -> float:
        last, self._last = self._last, cv2.cvtColor(thumbnail, cv2.COLOR_RGB2HSV)
        if last is None:
            return 0.0
        n_px = thumbnail.shape[0] * thumbnail.shape[1]
        hue, saturation, value, _ = cv2.sumElems(cv2.absdiff(last, self._last))
        return float((hue / n_px + saturation / n_px + value / n_px) / 3)

    def _middle_stands_out(self) -> bool:
        """Whether the change in the middle of the last five is large, and so beside the others."""
        if len(self._scores) < 2 * _NEIGHBOURS + 1:
            return False
        score = self._scores[_NEIGHBOURS]
        if score < self._settings.adaptive_min_content:
            return False
        others = sum(other for at, other in enumerate(self._scores) if at != _NEIGHBOURS)
        mean = others / (2 * _NEIGHBOURS)
        ratio = _LARGEST_RATIO if mean < _NO_CHANGE else min(score / mean, _LARGEST_RATIO)
        return ratio >= self._settings.adaptive_ratio


class _Section:
    """Finds the shots between two seams."""

    def __init__(self, *, fps: Fraction, settings: ShotSettings) -> None:
        self._rules = CutRules(settings)
        self._cuts: set[int] = set()
        self._recent: deque[tuple[int, NDArray[np.uint8]]] = deque(maxlen=_RECENT_FRAMES)
        self._twins = _TwinComparison(fps=fps, threshold_levels=settings.transition_levels)
        self._n_frames = 0

    @property
    def last_cut(self) -> int:
        """The latest hard cut, 0 if there was none."""
        return max(self._cuts, default=0)

    def push(self, thumbnail: NDArray[np.uint8]) -> None:
        """Process the next frame."""
        self._recent.append((self._n_frames, thumbnail))
        self._note_cuts(self._rules.push(thumbnail))
        self._twins.push(self._n_frames, thumbnail)
        self._n_frames += 1

    def finish(self) -> list[tuple[int, int, bool]]:
        """Return (first frame, end, whether it is a transition) of all stretches."""
        if self._n_frames == 0:
            return []
        # A short dissolve looks like a cut or two: cuts inside a dissolve are dropped.
        edges: list[tuple[int, bool]] = [(0, False)]
        dissolves = self._twins.dissolves(end=self._n_frames)
        for first, end in dissolves:
            edges += [(first, True), (end, False)]
        for cut in self._cuts:
            if not any(first <= cut < end for first, end in dissolves):
                edges.append((cut, False))
        edges = sorted(set(edges))
        ends = [frame for frame, _ in edges[1:]] + [self._n_frames]
        return [
            (start, end, is_transition)
            for (start, is_transition), end in zip(edges, ends, strict=True)
            if start < end
        ]

    def _note_cuts(self, frames: Iterable[int]) -> None:
        for frame in frames:
            recent = dict(self._recent)
            sides = [recent[at] for at in (frame - 1, frame) if at in recent]
            if len(sides) == 2:
                before, after = (structure(lab_thumbnail(picture)) for picture in sides)
                if likeness(before, after) >= FRAMES_APART:
                    continue
            self._cuts.add(frame)


class _TwinComparison:
    """Keeps thumbnails of the last seconds and notes when the image has changed to another."""

    def __init__(self, *, fps: Fraction, threshold_levels: float) -> None:
        self._every = max(1, round(float(fps) / _TWIN_RATE_HZ))
        self._lags = [max(1, round(lag * float(fps) / self._every)) for lag in _TWIN_LAGS_S]
        self._threshold_levels = threshold_levels
        self._memory: deque[tuple[int, NDArray[np.float32]]] = deque(maxlen=max(self._lags) + 1)
        self._hits: list[tuple[int, int]] = []
        self._scene: deque[tuple[int, NDArray[np.float32]]] = deque(
            maxlen=max(1, round(_SCENE_S * float(fps) / self._every)) + 1
        )
        self._open: list[tuple[int, int]] = []
        self._open_from = 0
        self._open_is_light = True

    def push(self, index: int, image: NDArray[np.uint8]) -> None:
        if index % self._every:
            return
        now = lab_thumbnail(image)
        self._memory.append((index, now))
        self._scene.append((index, now))
        for lag in self._lags:
            if lag >= len(self._memory):
                return
            then_index, then = self._memory[-1 - lag]
            change = lab_distance(then, now)
            if change > self._threshold_levels:
                between = self._memory[-1 - lag // 2][1]
                if lab_distance(between, (then + now) / np.float32(2)) < _BLEND_SHARE * change:
                    self._note((then_index, index + 1))
                    return  # the longer lags contain this one

    def _note(self, hit: tuple[int, int]) -> None:
        """Add a hit to the ongoing change, and check whether only the light is changing."""
        if self._open and hit[0] >= self._open[-1][1]:
            self._close()
        self._open_from = min(self._open_from, hit[0]) if self._open else hit[0]
        self._open.append(hit)
        if self._open_is_light:
            before = next(picture for index, picture in self._scene if index >= self._open_from)
            now = self._scene[-1][1]
            self._open_is_light = likeness(structure(before), structure(now)) >= SECONDS_APART

    def _close(self) -> None:
        if not self._open_is_light:
            self._hits += self._open
        self._open, self._open_is_light = [], True

    def dissolves(self, *, end: int) -> list[tuple[int, int]]:
        """Return the spans (end exclusive) in which one image dissolves into another.

        Short lags locate a change better than long ones, so a long one only counts where no short
        one already explains the change.

        Args:
            end: number of frames of the video.
        """
        self._close()
        spans: list[tuple[int, int]] = []
        for length in sorted({last - first for first, last in self._hits}):
            fresh = [hit for hit in self._hits if hit[1] - hit[0] == length]
            spans = _merge(spans + [hit for hit in fresh if not _touches(hit, spans)])
        grown = _merge([_grown(first, last) for first, last in spans])
        return [(first, min(last, end)) for first, last in grown]


def _grown(first: int, end: int) -> tuple[int, int]:
    """Add the faint beginning and end of a dissolve, in which one image is barely visible."""
    margin = max(1, round(_FAINT_SHARE * (end - first)))
    return max(0, first - margin), end + margin


def _touches(pair: tuple[int, int], spans: list[tuple[int, int]]) -> bool:
    """Whether the pair shares a frame with one of the spans, which are merged and ascending."""
    at = bisect_right(spans, pair[0], key=itemgetter(1))
    return at < len(spans) and spans[at][0] < pair[1]


def _merge(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, end in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((first, end))
    return merged
