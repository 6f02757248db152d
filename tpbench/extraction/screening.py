"""The first pass over a video: every frame as a thumbnail, two a second for a real look."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Final, TypeVar

from tpbench.extraction.sampling import (
    FaceSample,
    PictureSample,
    PictureSampler,
    sample_faces,
    sampled_evidence,
)
from tpbench.extraction.shots import Shot, ShotFinder
from tpbench.extraction.spans import Span, split_by_promise
from tpbench.video import Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tpbench.detectors.base import Detector
    from tpbench.extraction.config import ExtractionConfig
    from tpbench.extraction.evidence import Evidence
    from tpbench.video import DecodedFrame, VideoInfo

_SHOT_THUMBNAIL_PX: Final = 256

Sample = TypeVar("Sample", PictureSample, FaceSample)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Screened:
    """What the first pass found."""

    info: VideoInfo
    shots: tuple[Shot, ...]
    pictures: tuple[PictureSample, ...]
    faces: tuple[FaceSample, ...]

    def evidence(self, span: Span) -> Evidence:
        """Return the cheap evidence on one span."""
        return sampled_evidence(
            _within(self.pictures, span),
            _within(self.faces, span),
            size_px=(self.info.width_px, self.info.height_px),
            fps=self.info.fps,
            n_frames=span.n_frames,
        )


def screen(
    frames: Iterable[DecodedFrame], *, info: VideoInfo, config: ExtractionConfig, faces: Detector
) -> Screened:
    """Read a video once: find its shots and sample it.

    Args:
        frames: all frames of the video, in order.
        info: its probe.
        config: settings of the shots and of the screening.
        faces: the face detector; it is reset before each picture, for neighbours are half a second
            apart.

    Returns:
        Shots and samples; a few hundred bytes per sample are held, whatever the picture size.
    """
    settings = config.screening
    every = max(1, round(float(info.fps) / settings.rate_hz))
    scale = min(1.0, settings.max_side_px / max(info.width_px, info.height_px))
    finder = ShotFinder(fps=info.fps, settings=config.shots, seams=info.seams)
    sampler = PictureSampler()
    pictures: list[PictureSample] = []
    found: list[FaceSample] = []
    for decoded in frames:
        finder.push(decoded.to_rgb(max_side_px=_SHOT_THUMBNAIL_PX))
        if decoded.index % every:
            continue
        image = decoded.to_rgb(max_side_px=settings.max_side_px)
        pictures.append(sampler.sample(decoded.index, image))
        faces.reset()
        frame = Frame(image=image, index=decoded.index, time_s=decoded.time_s, pts=decoded.pts)
        found.append(
            sample_faces(
                decoded.index,
                faces.detect([frame])[0].faces,
                scale=scale,
                prominent_share=settings.prominent_face_share,
            )
        )
    return Screened(
        info=info, shots=tuple(finder.finish()), pictures=tuple(pictures), faces=tuple(found)
    )


def spans_of_shot(shot: Shot, screened: Screened, config: ExtractionConfig) -> list[Span]:
    """Tile a shot into stretches with one person's face and stretches without.

    The frames next to a cut are left out (`shots.margin_frames`); at the two ends of the video, and
    at seams, whose place is known exactly, there is nothing to keep away from.
    """
    fps = float(screened.info.fps)
    margin = config.shots.margin_frames
    clean = {0, screened.shots[-1].span.end_frame, *screened.info.seams}
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
    """Return the samples of a span; they rise by frame, so a long video is not searched through."""
    low = bisect_left(samples, span.start_frame, key=attrgetter("frame"))
    high = bisect_left(samples, span.end_frame, key=attrgetter("frame"))
    return samples[low:high]
