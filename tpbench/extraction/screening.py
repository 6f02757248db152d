"""The first pass over a video: every frame as a thumbnail, two a second in more detail."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
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
from tpbench.extraction.measures import Evidence
from tpbench.extraction.pages import page_image, page_share, text_mask
from tpbench.extraction.shots import Shot, ShotFinder, Span, split_by_promise
from tpbench.video import DecodedFrame, Frame, VideoInfo

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

    def evidence(self, span: Span) -> Evidence:
        """Return the screening evidence of one span."""
        return sampled_evidence(
            _within(self.pictures, span),
            _within(self.faces, span),
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
    sampler = _Sampler(info=info, config=config, faces=faces)
    bars: list[BarSample] = []
    combed: set[int] = set()
    for decoded in frames:
        finder.push(decoded.to_rgb(max_side_px=_SHOT_THUMBNAIL_PX))
        image = sampler.push(decoded)
        if image is None:
            continue
        if not info.interlaced and decoded.is_combed():
            combed.add(decoded.index)
        if may_have_bars(image):
            bars.append(sample_bars(decoded.index, decoded.to_rgb()))
        else:
            bars.append(no_bars(decoded.index))
    return Screened(
        info=info,
        shots=tuple(_moved(shot, first_frame) for shot in finder.finish()),
        pictures=tuple(sampler.pictures),
        faces=tuple(sampler.found),
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
    sampler = _Sampler(info=info, config=config, faces=faces)
    for decoded in frames:
        sampler.push(decoded)
    return Screened(
        info=info,
        shots=screened.shots,
        ends_early=screened.ends_early,
        pictures=tuple(sampler.pictures),
        faces=tuple(sampler.found),
    )


class _Sampler:
    """Measures about two frames a second and detects faces in them."""

    def __init__(self, *, info: VideoInfo, config: ExtractionConfig, faces: Detector) -> None:
        self._settings = config.screening
        self._every = max(1, round(float(info.fps) / self._settings.rate_hz))
        self._scale = min(1.0, self._settings.max_side_px / max(info.width_px, info.height_px))
        self._detector = faces
        self._sampler = PictureSampler()
        self.pictures: list[PictureSample] = []
        self.found: list[FaceSample] = []

    def push(self, decoded: DecodedFrame) -> NDArray[np.uint8] | None:
        """Process the next frame; return its image, or None if it is not a sample."""
        if decoded.index % self._every:
            return None
        image = decoded.to_rgb(max_side_px=self._settings.max_side_px)
        self.pictures.append(self._sampler.sample(decoded.index, image))
        self._detector.reset()
        frame = Frame(image=image, index=decoded.index, time_s=decoded.time_s, pts=decoded.pts)
        self.found.append(
            sample_faces(
                decoded.index,
                self._detector.detect([frame])[0].faces,
                scale=self._scale,
                prominent_share=self._settings.prominent_face_share,
            )
        )
        return image


def spans_of_shot(shot: Shot, screened: Screened, config: ExtractionConfig) -> list[Span]:
    """Tile a shot into stretches with one person's face and stretches without.

    The frames next to a cut are left out (`shots.margin_frames`), but not at the two ends of the
    video and at seams, whose positions are known exactly.
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
