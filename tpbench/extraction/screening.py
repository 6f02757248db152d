"""The first pass over a video: every frame as a thumbnail, two a second in more detail."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from operator import attrgetter
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import Detector, FaceDetection
from tpbench.extraction import measures
from tpbench.extraction.camera import (
    BarSample,
    content_window,
    may_have_bars,
    no_bars,
    sample_bars,
)
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.filters import failed_alone
from tpbench.extraction.measures import Evidence
from tpbench.extraction.pages import page_image, page_share, text_mask
from tpbench.extraction.shots import Shot, ShotFinder, Span, split_by_promise
from tpbench.video import DecodedFrame, Frame, VideoInfo
from tpbench.video.read import as_frame

_TEXT_GRID: Final = (96, 54)
"""Columns and rows of the grid that stores where text is."""
_LASTING_SHARE: Final = 0.5
"""Text counts where it is present in at least this share of the samples."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureSample:
    """The measurements of one sampled frame: a few hundred bytes."""

    frame: int
    luminance: float
    page_share: float
    motion: float
    """Mean CIELAB difference to the previous sample, levels; NaN for the first."""
    text_cells: NDArray[np.uint8]
    """Which cells of the grid hold text, as packed bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceSample:
    """The faces of one searched frame."""

    frame: int
    num_faces: int
    """Faces comparable in size with the main one, itself included."""
    face_height_px: float
    """Height of the main face in source px; NaN without one."""
    face_score: float
    """Confidence of the main face; NaN without one."""


class PictureSampler:
    """Measures sampled frames one after the other; keeps one thumbnail between them."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None

    def sample(self, frame: int, image: NDArray[np.uint8]) -> PictureSample:
        """Measure the next sampled frame, (H, W, 3) uint8 RGB."""
        thumbnail = measures.lab_thumbnail(image)
        motion = (
            float("nan") if self._last is None else measures.lab_distance(self._last, thumbnail)
        )
        self._last = thumbnail
        page = page_image(image)
        text = text_mask(page)
        return PictureSample(
            frame=frame,
            luminance=measures.luminance(image),
            page_share=page_share(page, text),
            motion=motion,
            text_cells=_text_cells(text),
        )


def _text_cells(text: NDArray[np.bool_]) -> NDArray[np.uint8]:
    if not text.any():
        return np.packbits(np.zeros(_TEXT_GRID, dtype=np.bool_))
    covered = cv2.resize(text.astype(np.float32), _TEXT_GRID, interpolation=cv2.INTER_AREA)
    return np.packbits(covered > 0.5)


def sample_faces(
    frame: int, faces: Sequence[FaceDetection], *, scale: float, prominent_share: float
) -> FaceSample:
    """Count the prominent faces of a frame and measure the largest.

    Args:
        frame: its number.
        faces: the detected faces, in px of an image that is `scale` times the source.
        scale: size of the searched image over that of the source, in (0, 1].
        prominent_share: a face counts when its height is this share of the largest, or more.
    """
    if not faces:
        nan = float("nan")
        return FaceSample(frame=frame, num_faces=0, face_height_px=nan, face_score=nan)
    heights = [float(face.box_px[3] - face.box_px[1]) for face in faces]
    tallest = max(range(len(faces)), key=heights.__getitem__)
    return FaceSample(
        frame=frame,
        num_faces=sum(height >= prominent_share * heights[tallest] for height in heights),
        face_height_px=heights[tallest] / scale,
        face_score=faces[tallest].score,
    )


def sampled_evidence(
    pictures: Sequence[PictureSample],
    faces: Sequence[FaceSample],
    *,
    size_px: tuple[int, int],
    fps: Fraction,
    span: Span,
) -> Evidence:
    """Gather the samples of one span into the evidence that filters judge.

    Args:
        pictures: the sampled frames of the span.
        faces: the searched frames of the span.
        size_px: width and height of the source.
        fps: rate of the source.
        span: all frames, sampled or not.
    """
    return Evidence(
        width_px=size_px[0],
        height_px=size_px[1],
        fps=fps,
        n_frames=span.n_frames,
        sampled=np.array([sample.frame for sample in pictures], dtype=np.int64) - span.start_frame,
        luminance=np.array([sample.luminance for sample in pictures]),
        motion=np.array([sample.motion for sample in pictures[1:]]),
        page_share=np.array([sample.page_share for sample in pictures]),
        text_share=_lasting_text_share(pictures),
        num_faces=np.array([sample.num_faces for sample in faces], dtype=np.int64),
        face_height_px=np.array([sample.face_height_px for sample in faces]),
        face_scores=np.array([sample.face_score for sample in faces]),
    )


def _lasting_text_share(pictures: Sequence[PictureSample]) -> float:
    if not pictures:
        return float("nan")
    counts = np.zeros(_TEXT_GRID[0] * _TEXT_GRID[1], dtype=np.int64)
    for sample in pictures:
        counts += np.unpackbits(sample.text_cells, count=counts.size)
    return float((counts >= _LASTING_SHARE * len(pictures)).mean())


_SHOT_THUMBNAIL_PX: Final = 256

_COMBED_SHARE: Final = 0.2
"""A shot with a larger share of combed samples counts as interlaced, flagged or not."""
Sample = TypeVar("Sample", PictureSample, FaceSample, BarSample)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Screened:
    """The results of the first pass."""

    info: VideoInfo
    shots: tuple[Shot, ...]
    pictures: tuple[PictureSample, ...]
    faces: tuple[FaceSample, ...]
    bars: tuple[BarSample, ...] = ()
    """The black bars found in the sampled frames, in the order of frames."""
    ends_early: bool = False
    """Whether more frames follow the last shot that were lost to damage."""
    combed: frozenset[int] = frozenset()
    """Sampled frames that are interlaced although the file does not declare it."""

    def shown(self, shot: Shot) -> VideoInfo:
        """Return the info to read a shot with: without black bars, and deinterlaced if combed."""
        samples = _within(self.bars, shot.span)
        window = content_window(
            samples, size_px=(self.info.width_px, self.info.height_px), elsewhere=self.bars
        )
        info = self.info if window is None else self.info.windowed(window)
        combed = sum(sample.frame in self.combed for sample in samples)
        if combed > _COMBED_SHARE * len(samples):
            info = replace(info, interlaced=True)
        return info

    def left_out(self, shot: Shot, config: ExtractionConfig) -> Sequence[int]:
        """Return the samples of a shot that must still be searched for faces.

        None if the shot is too short, or if one filter rejects each of its pictures: then so does
        it any part of the shot.
        """
        pictures = _within(self.pictures, shot.span)
        searched = {sample.frame for sample in _within(self.faces, shot.span)}
        left_out = [sample.frame for sample in pictures if sample.frame not in searched]
        if not left_out or shot.span.n_frames < least_searched_frames(self.info, config):
            return []
        filters = _filters_of(self.info, config)
        failed = (failed_alone(_alone(sample, self.info), filters) for sample in pictures)
        return [] if frozenset.intersection(*failed) else left_out

    def has_all_faces(self, span: Span) -> bool:
        """Whether all samples of a span were searched for faces."""
        return len(_within(self.faces, span)) >= len(_within(self.pictures, span))

    def evidence(self, span: Span) -> Evidence:
        """Return the screening evidence of one span; without faces if not all were searched for."""
        return sampled_evidence(
            _within(self.pictures, span),
            _within(self.faces, span) if self.has_all_faces(span) else [],
            size_px=(self.info.width_px, self.info.height_px),
            fps=self.info.fps,
            span=span,
        )


def screen(
    frames: Iterable[DecodedFrame],
    *,
    info: VideoInfo,
    config: ExtractionConfig,
    faces: Detector,
    first_frame: int = 0,
) -> Screened:
    """Read a video once: find its shots and sample it.

    Args:
        frames: all frames of the video, in order; or all from `first_frame` on.
        info: its probe.
        config: settings of the shots and of the screening.
        faces: the face detector; it is reset before each sample, since samples are half a second
            apart.
        first_frame: number of the first frame.

    Returns:
        Shots and samples; a few hundred bytes per sample are held, whatever the frame size.
    """
    finder = ShotFinder(fps=info.fps, settings=config.shots, seams=_after(info.seams, first_frame))
    sampler = _Sampler(info=info, config=config)
    search = _FaceSearch(info=info, config=config, faces=faces)
    bars: list[BarSample] = []
    combed: set[int] = set()
    start = end = first_frame
    for decoded in frames:
        finder.push(decoded.to_rgb(max_side_px=_SHOT_THUMBNAIL_PX))
        end = decoded.index + 1
        if (cut := first_frame + finder.last_cut) > start:
            search.cut(start, cut)
            start = cut
        search.reached(start, end)
        sample = sampler.push(decoded)
        if sample is None:
            continue
        if not failed_alone(_alone(sampler.pictures[-1], info), _filters_of(info, config)):
            search.offer(sample)
        if not info.interlaced and decoded.is_combed():
            combed.add(decoded.index)
        if may_have_bars(sample.image):
            bars.append(sample_bars(decoded.index, decoded.to_rgb()))
        else:
            bars.append(no_bars(decoded.index))
    search.cut(start, end)
    return Screened(
        info=info,
        shots=tuple(_moved(shot, first_frame) for shot in finder.finish()),
        pictures=tuple(sampler.pictures),
        faces=tuple(search.found),
        bars=tuple(bars),
        combed=frozenset(combed),
    )


def _after(frames: Iterable[int], first: int) -> tuple[int, ...]:
    return tuple(frame - first for frame in frames if frame > first)


def _moved(shot: Shot, by: int) -> Shot:
    span = shot.span
    moved = replace(span, start_frame=span.start_frame + by, end_frame=span.end_frame + by)
    return replace(shot, span=moved)


def screen_again(
    frames: Iterable[DecodedFrame],
    screened: Screened,
    *,
    info: VideoInfo,
    config: ExtractionConfig,
    faces: Detector,
) -> Screened:
    """Sample the frames of one shot again, displayed differently, such as without bars.

    Args:
        frames: all frames of the shot.
        screened: the results of the first pass.
        info: from `Screened.shown`.
        config: as in the first pass.
        faces: the face detector.

    Returns:
        The same shots, with samples of this one only.
    """
    sampler = _Sampler(info=info, config=config)
    search = _FaceSearch(info=info, config=config, faces=faces)
    for decoded in frames:
        if (sample := sampler.push(decoded)) is not None:
            search.search([sample])
    return Screened(
        info=info,
        shots=screened.shots,
        ends_early=screened.ends_early,
        pictures=tuple(sampler.pictures),
        faces=tuple(search.found),
    )


def search_left_out(
    frames: Iterable[DecodedFrame],
    screened: Screened,
    left_out: Sequence[int],
    *,
    config: ExtractionConfig,
    faces: Detector,
) -> Screened:
    """Search the samples that the first pass left out, given frames that include them all."""
    search = _FaceSearch(info=screened.info, config=config, faces=faces)
    wanted = frozenset(left_out)
    for decoded in frames:
        if decoded.index in wanted:
            search.search([as_frame(decoded, max_side_px=config.screening.max_side_px)])
    found = sorted((*screened.faces, *search.found), key=attrgetter("frame"))
    return replace(screened, faces=tuple(found))


def _alone(picture: PictureSample, info: VideoInfo) -> Evidence:
    """Return the evidence of one sample, without its faces."""
    return sampled_evidence(
        [picture],
        [],
        size_px=(info.width_px, info.height_px),
        fps=info.fps,
        span=Span(shot_id=-1, start_frame=picture.frame, end_frame=picture.frame + 1),
    )


def _filters_of(info: VideoInfo, config: ExtractionConfig) -> Mapping[str, float | None]:
    """Return the filters by which faces may not matter: none, or those of the preset."""
    return config.filters if least_searched_frames(info, config) else {}


class _Sampler:
    """Measures about two frames a second."""

    def __init__(self, *, info: VideoInfo, config: ExtractionConfig) -> None:
        self._max_side_px = config.screening.max_side_px
        self._every = max(1, round(float(info.fps) / config.screening.rate_hz))
        self._sampler = PictureSampler()
        self._last: NDArray[np.uint8] | None = None
        self.pictures: list[PictureSample] = []

    def push(self, decoded: DecodedFrame) -> Frame | None:
        """Process the next frame; return it as searched, or None if it is not a sample."""
        if decoded.index % self._every:
            return None
        frame = as_frame(decoded, max_side_px=self._max_side_px)
        last, self._last = self._last, frame.image
        if last is not None and np.array_equal(last, frame.image):
            same = replace(self.pictures[-1], frame=frame.index, motion=0.0)
            self.pictures.append(same)
        else:
            self.pictures.append(self._sampler.sample(frame.index, frame.image))
        return frame


class _FaceSearch:
    """Searches samples for faces, but only those that may be part of a clip.

    A sample waits until its shot is long enough for a clip; if the shot ends before, it is not
    searched. Neither is one whose picture is rejected by itself, as slides are. If other pictures
    of its shot are not, `Screened.left_out` names it, and `search_left_out` searches it.
    """

    def __init__(self, *, info: VideoInfo, config: ExtractionConfig, faces: Detector) -> None:
        settings = config.screening
        self._detector = faces
        self._scale = min(1.0, settings.max_side_px / max(info.width_px, info.height_px))
        self._prominent_share = settings.prominent_face_share
        self._least_frames = least_searched_frames(info, config)
        self._waiting: list[Frame] = []
        self._last: tuple[NDArray[np.uint8], FaceSample] | None = None
        self.found: list[FaceSample] = []

    def offer(self, frame: Frame) -> None:
        """Add a sample that may have to be searched."""
        self._waiting.append(frame)

    def cut(self, start: int, end: int) -> None:
        """Note that a shot, or more than one, reaches from `start` to `end` and no further."""
        before = [frame for frame in self._waiting if frame.index < end]
        self._waiting = self._waiting[len(before) :]
        if end - start >= self._least_frames:
            self.search(before)

    def reached(self, start: int, end: int) -> None:
        """Note that the shot that began at `start` goes on at least to `end`."""
        if end - start >= self._least_frames:
            waiting, self._waiting = self._waiting, []
            self.search(waiting)

    def search(self, frames: Iterable[Frame]) -> None:
        """Search frames for faces; they come in order, but not one after the other."""
        for frame in frames:
            if self._last is not None and np.array_equal(self._last[0], frame.image):
                found = replace(self._last[1], frame=frame.index)
            else:
                self._detector.reset()
                found = sample_faces(
                    frame.index,
                    self._detector.detect([frame])[0].faces,
                    scale=self._scale,
                    prominent_share=self._prominent_share,
                )
            self._last = frame.image, found
            self.found.append(found)


def least_searched_frames(info: VideoInfo, config: ExtractionConfig) -> int:
    """Return how long a shot must be for its faces to matter.

    A shorter one is a single span, and `clip.too_short` rejects it. 0 if faces always matter: where
    that filter is off, or passes spans without a sample.
    """
    shortest = config.filters.get("clip.too_short") or 0.0
    every = max(1, round(float(info.fps) / config.screening.rate_hz))
    if shortest <= every:
        return 0
    return min(ceil(shortest), round(config.clip.min_s * info.fps))


def spans_of_shot(shot: Shot, screened: Screened, config: ExtractionConfig) -> list[Span]:
    """Tile a shot into stretches with one person's face and stretches without.

    The frames next to a cut are left out (`shots.margin_frames`), but not at the two ends of the
    video and at seams, whose positions are known exactly. A shot whose faces don't matter stays
    whole.
    """
    fps = float(screened.info.fps)
    margin = config.shots.margin_frames
    clean = {0, *screened.info.seams}
    if not screened.ends_early:
        clean.add(screened.shots[-1].span.end_frame)
    start, end = shot.span.start_frame, shot.span.end_frame
    trimmed = Span(
        shot_id=shot.span.shot_id,
        start_frame=start + (0 if start in clean else margin),
        end_frame=end - (0 if end in clean else margin),
    )
    if trimmed.n_frames <= 0:
        return []
    if not screened.has_all_faces(trimmed):
        return [trimmed]
    samples = [(sample.frame, sample.num_faces == 1) for sample in _within(screened.faces, trimmed)]
    return split_by_promise(
        trimmed,
        samples,
        max_gap_frames=round(config.screening.max_gap_s * fps),
        min_frames=round(config.clip.min_s * fps),
    )


def _within(samples: Sequence[Sample], span: Span) -> Sequence[Sample]:
    """Return the samples of a span by binary search, since they are sorted by frame."""
    low = bisect_left(samples, span.start_frame, key=attrgetter("frame"))
    high = bisect_left(samples, span.end_frame, key=attrgetter("frame"))
    return samples[low:high]
