"""The way of one source video, from its bytes to the rows of the manifest."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from tpbench.dataset import Clip, clip_path, keypoints_path, pose_path
from tpbench.errors import DamageError, TransparentError
from tpbench.extraction.analysis import Followed, PieceAnalyser
from tpbench.extraction.crop import upper_body_crop
from tpbench.extraction.damage import screen_whole_shots
from tpbench.extraction.judging import judge_clip, judge_screened, reject_codes
from tpbench.extraction.provenance import read_provenance
from tpbench.extraction.reach import why_out_of_reach
from tpbench.extraction.rows import RowMaker, transparent_row
from tpbench.extraction.screening import Screened, screen_again, spans_of_shot
from tpbench.extraction.sources import hashed, source_id
from tpbench.extraction.spans import Span, cut_evenly
from tpbench.extraction.stages import StageClock
from tpbench.extraction.writing import write_clip
from tpbench.video import decode_frames, probe, read_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tpbench.detectors.suite import DetectorSuite
    from tpbench.extraction.config import ExtractionConfig
    from tpbench.extraction.shots import Shot
    from tpbench.extraction.sources import Source
    from tpbench.video import VideoInfo

Item = TypeVar("Item")

WORK_FOLDER = ".work"
"""Below the dataset: what is being made, one folder a source. Nothing in it counts."""


def anywhere() -> None:
    """Ask for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceResult:
    """What became of one source."""

    source_sha256: str
    clips: tuple[Clip, ...]
    """Its rows of the manifest."""

    n_frames: int
    duration_s: float
    """Of the source."""

    stage_s: dict[str, float]
    """Wall seconds by stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePipeline:
    """Turns source videos into clips, one after the other."""

    config: ExtractionConfig
    detectors: DetectorSuite
    folder: Path
    """Of the dataset. It is never made anew: who removes it in mid-run ends the run."""

    require_folder: Callable[[], None] = anywhere
    """Raises when the dataset is not there any more."""

    def run(self, source: Source, on_frame: Callable[[int], None]) -> SourceResult:
        """Do one source. Its clips lie in the dataset when this returns, and not before.

        A transparent source is rejected whole.

        Args:
            source: the video.
            on_frame: told how many frames were decoded so far, over all passes.

        Raises:
            MediaError: the source can't be read, or not to its end.
        """
        clock = StageClock()
        with clock.stage("probe"):
            source = hashed(source)
        try:
            return self._run(source, clock, on_frame)
        except TransparentError as error:
            return SourceResult(
                source_sha256=source.sha256 or "",
                clips=(transparent_row(source, error.reason),),
                n_frames=0,
                duration_s=0.0,
                stage_s=clock.seconds,
            )

    def _run(
        self, source: Source, clock: StageClock, on_frame: Callable[[int], None]
    ) -> SourceResult:
        with clock.stage("probe"):
            info = probe(source.path)
        self.require_folder()
        with _staging(self.folder / WORK_FOLDER / source_id(source)) as staging:
            work = _SourceWork(
                pipeline=self,
                source=source,
                info=info,
                clock=clock,
                staging=staging,
                rows=RowMaker(
                    source=source,
                    info=info,
                    provenance=read_provenance(source.path),
                    detectors=self.detectors,
                ),
            )
            clips = tuple(work.clips(on_frame))
            self.require_folder()
            for clip in clips:
                if clip.status == "kept":
                    _move(clip.clip_id, staging, self.folder)
        return SourceResult(
            source_sha256=source.sha256 or "",
            clips=clips,
            n_frames=info.frame_count,
            duration_s=info.duration_s,
            stage_s=clock.seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _SourceWork:
    """The pipeline at work on one source."""

    pipeline: SourcePipeline
    source: Source
    info: VideoInfo
    clock: StageClock
    staging: Path
    rows: RowMaker

    def clips(self, on_frame: Callable[[int], None]) -> Iterator[Clip]:
        counted = _Counted(on_frame)
        with self.clock.stage("screen"):
            found = screen_whole_shots(
                self.source.path,
                info=self.info,
                config=self.pipeline.config,
                faces=self.pipeline.detectors.faces,
                watch=lambda frames: counted.each(self.clock.each("decode", frames)),
            )
        for lost in found.lost:
            if why_out_of_reach(self.source, lost.error) is not None:
                raise lost.error  # that is no damage
            yield self.rows.damaged(lost.span, lost.error)
        work = replace(self, info=found.screened.info)
        tracks = 0
        for shot in found.screened.shots:
            if shot.is_transition:
                yield self.rows.transition(shot.span)
                continue
            try:
                clips = list(work.clips_of(shot, found.screened, counted, first_track=tracks))
            except DamageError as error:
                if not found.lost:
                    raise
                clips = [self.rows.damaged(shot.span, error)]
            yield from clips
            tracks += sum(clip.track_id is not None for clip in clips)

    def clips_of(
        self, shot: Shot, screened: Screened, counted: _Counted, *, first_track: int
    ) -> Iterator[Clip]:
        config = self.pipeline.config
        max_frames = max(1, int(config.clip.max_s * self.info.fps))
        tracks = count(first_track)
        seen = self._as_shown(shot, screened, counted)
        for span in spans_of_shot(shot, seen, config):
            verdicts = judge_screened(seen.evidence(span), config)
            if reject_codes(verdicts):
                yield self.rows.screened_out(span, verdicts)
                continue
            for piece in cut_evenly(span, max_frames=max_frames):
                for followed in self._analyse(piece, seen.info, counted):
                    yield self._clip(followed, seen.info, track_id=next(tracks))

    def _as_shown(self, shot: Shot, screened: Screened, counted: _Counted) -> Screened:
        """Return what is known of a shot, from a second look where it has black bars or combs."""
        info = screened.shown(shot)
        if info == screened.info:
            return screened
        decoded = decode_frames(
            self.source.path,
            info=info,
            start_frame=shot.span.start_frame,
            end_frame=shot.span.end_frame,
        )
        with self.clock.stage("screen"):
            return screen_again(
                counted.each(self.clock.each("decode", decoded)),
                screened,
                info=info,
                config=self.pipeline.config,
                faces=self.pipeline.detectors.faces,
            )

    def _analyse(self, piece: Span, info: VideoInfo, counted: _Counted) -> list[Followed]:
        frames = read_frames(
            self.source.path,
            info=info,
            start_frame=piece.start_frame,
            end_frame=piece.end_frame,
            max_side_px=self.pipeline.config.screening.max_side_px,
        )
        analyser = PieceAnalyser(
            info=info,
            config=self.pipeline.config,
            detectors=self.pipeline.detectors,
            clock=self.clock,
        )
        with self.clock.stage("measure"):
            return analyser.analyse(piece, counted.each(self.clock.each("decode", frames)))

    def _clip(self, followed: Followed, info: VideoInfo, *, track_id: int) -> Clip:
        config, pose = self.pipeline.config, followed.evidence.pose
        verdicts = judge_clip(followed.evidence, config)
        crop = upper_body_crop(pose, margin_share=config.clip.margin_share)
        written = None
        if not reject_codes(verdicts):
            with self.clock.stage("write"):
                written = write_clip(
                    self.staging,
                    self.rows.clip_id(followed.span),
                    source=self.source.path,
                    info=info,
                    span=followed.span,
                    crop=crop,
                    pose=pose,
                    size_px=config.clip.out_size_px,
                )
        return self.rows.followed(
            followed,
            track_id=track_id,
            verdicts=verdicts,
            crop=crop.seen_from_outside(info.display.window),
            written=written,
        )


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Give an empty folder that is gone afterwards; a killed run leaves one, the next clears it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(clip_id: str, staging: Path, folder: Path) -> None:
    for path_of in (clip_path, keypoints_path, pose_path):
        target = path_of(folder, clip_id)
        target.parent.mkdir(exist_ok=True)
        path_of(staging, clip_id).replace(target)


class _Counted:
    """Counts frames as they go by, and tells."""

    def __init__(self, on_frame: Callable[[int], None]) -> None:
        self._on_frame = on_frame
        self._count = 0

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            yield item
            self._count += 1
            self._on_frame(self._count)
