"""The pipeline of one source video, from its bytes to the rows of the manifest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

from tpbench.dataset import Clip
from tpbench.dataset.folder import CLIP_FILES, RECORDS_FOLDER
from tpbench.dataset.removal import Removals
from tpbench.detectors.base import DetectorSuite
from tpbench.errors import DamageError, TransparentError
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.damage import screen_whole_shots
from tpbench.extraction.filters import (
    deciding_frame,
    judge_clip,
    judge_file,
    judge_screened,
    reject_codes,
)
from tpbench.extraction.following import PieceAnalyser
from tpbench.extraction.measures import StageClock
from tpbench.extraction.removed import marks_of, shots_that_stay
from tpbench.extraction.rows import RowMaker, path_mark, transparent_row
from tpbench.extraction.screening import (
    Screened,
    sampled_evidence,
    screen_again,
    search_left_out,
    spans_of_shot,
)
from tpbench.extraction.shots import Shot, Span, cut_evenly
from tpbench.extraction.sources import (
    Source,
    hashed,
    read_provenance,
    source_id,
    why_out_of_reach,
)
from tpbench.extraction.thumbnails import write_thumbnails
from tpbench.extraction.tracks import Followed, UndecidedError
from tpbench.extraction.writing import upper_body_crop, write_clip
from tpbench.files import sync
from tpbench.video import VideoInfo, decode_frames, probe, read_frames
from tpbench.video.ahead import ahead

Item = TypeVar("Item")

_FRAMES_AHEAD: Final = 16
"""Frames decoded while a GPU works on those before: as many as it gets at a time."""
WORK_FOLDER = ".work"
"""Below the dataset: unfinished files, one folder per source. They can be deleted."""


def anywhere() -> None:
    """Accept any folder, even a missing one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceResult:
    """The result of one source."""

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
    """Turns source videos into clips, one video at a time."""

    config: ExtractionConfig
    detectors: DetectorSuite
    folder: Path
    """Of the dataset. It is never created again: removing it during a run ends the run."""
    require_folder: Callable[[], None] = anywhere
    """Raises when the dataset no longer exists."""
    removals: Removals = field(default_factory=Removals)
    """Of the dataset: stretches of sources that must not come back."""

    def run(self, source: Source, on_frame: Callable[[int], None]) -> SourceResult:
        """Process one source. Its clips are moved into the dataset together at the end.

        A transparent source is rejected as a whole.

        Args:
            source: the video.
            on_frame: called with the number of frames decoded so far, over all passes.

        Raises:
            MediaError: the source can't be read to its end.
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
        # Two shards may give different sources the same id: see `planning`.
        name = f"{source_id(source)}-{path_mark(source)}"
        with staging_folder(self.folder / WORK_FOLDER / name) as staging:
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
            clips = tuple(self.removals.without_removed(work.clips(on_frame)))
            stay = {clip.clip_id for clip in clips}
            decided = {name: at for name, at in work.decided.items() if name in stay}
            self.require_folder()
            with clock.stage("write"):
                write_thumbnails(self.folder, source_id(source), source.path, info, decided)
            move_clips([c.clip_id for c in clips if c.status == "kept"], staging, self.folder)
        return SourceResult(
            source_sha256=source.sha256 or "",
            clips=clips,
            n_frames=info.frame_count,
            duration_s=info.duration_s,
            stage_s=clock.seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _SourceWork:
    """The processing of one source."""

    pipeline: SourcePipeline
    source: Source
    info: VideoInfo
    clock: StageClock
    staging: Path
    rows: RowMaker
    decided: dict[str, int] = field(default_factory=dict)
    """Clip id -> the frame of the source that shows best why a stretch was rejected."""

    def clips(self, on_frame: Callable[[int], None]) -> Iterator[Clip]:
        if (refused := self._unfit_file()) is not None:
            yield refused
            return
        counted = _FrameCounter(on_frame)
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
                raise lost.error  # out of reach, not damaged
            yield self.rows.damaged(lost.span, lost.error)
        work = replace(self, info=found.screened.info)
        tracks = 0
        for shot in self._shots(found.screened):
            if shot.is_transition:
                yield self._noted(self.rows.transition(shot.span), shot.span.n_frames // 2)
                continue
            try:
                clips = list(work.clips_of(shot, found.screened, counted, first_track=tracks))
            except DamageError as error:
                if not found.lost:
                    raise
                clips = [self.rows.damaged(shot.span, error)]
            yield from clips
            tracks += sum(clip.track_id is not None for clip in clips)

    def _shots(self, screened: Screened) -> Iterable[Shot]:
        """Return the shots without stretches that were removed from the dataset."""
        marks = marks_of(self.source, url=self.rows.provenance.url)
        removed_s = self.pipeline.removals.spans_of(marks)
        min_s = self.pipeline.config.clip.min_s
        return shots_that_stay(screened.shots, removed_s, fps=screened.info.fps, min_s=min_s)

    def _unfit_file(self) -> Clip | None:
        """Return the only row of a source none of which can be kept, by its size and length."""
        whole = Span(shot_id=0, start_frame=0, end_frame=self.info.frame_count)
        size_px = self.info.width_px, self.info.height_px
        unseen = sampled_evidence([], [], size_px=size_px, fps=self.info.fps, span=whole)
        verdicts = judge_file(unseen, self.pipeline.config.filters)
        if not reject_codes(verdicts):
            return None
        return self._noted(self.rows.screened_out(whole, verdicts), 0)

    def clips_of(
        self, shot: Shot, screened: Screened, counted: _FrameCounter, *, first_track: int
    ) -> Iterator[Clip]:
        tracks = count(first_track)
        seen = self._rescreened(shot, screened, counted)
        made = self._analysed(shot, seen, counted)
        if self.pipeline.detectors.on_gpu:
            # A clip is drawn and encoded while the GPU is busy with the next piece.
            made = ahead(made, limit=1)
        for one in made:
            if isinstance(one, Clip):
                yield one
            else:
                yield self._clip(one, seen.info, track_id=next(tracks))

    def _analysed(
        self, shot: Shot, seen: Screened, counted: _FrameCounter
    ) -> Iterator[Clip | Followed]:
        """Tile a shot into rejected stretches, which are rows, and stretches to be judged."""
        config = self.pipeline.config
        max_frames = max(1, int(config.clip.max_s * self.info.fps))
        for span in spans_of_shot(shot, seen, config):
            evidence = seen.evidence(span)
            verdicts = judge_screened(evidence, config.filters)
            if reject_codes(verdicts):
                row = self.rows.screened_out(span, verdicts)
                yield self._noted(row, deciding_frame(evidence, verdicts))
                continue
            for piece in cut_evenly(span, max_frames=max_frames):
                yield from self._analyse(piece, seen.info, counted)

    def _rescreened(self, shot: Shot, screened: Screened, counted: _FrameCounter) -> Screened:
        """Return the samples of a shot, taken again where it has black bars or combing."""
        info = screened.shown(shot)
        if info == screened.info:
            return self._searched(shot, screened, counted)
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

    def _analyse(self, piece: Span, info: VideoInfo, counted: _FrameCounter) -> list[Followed]:
        try:
            return self._follow(piece, info, counted, to_the_end=False)
        except UndecidedError:
            return self._follow(piece, info, counted, to_the_end=True)

    def _searched(self, shot: Shot, screened: Screened, counted: _FrameCounter) -> Screened:
        """Return the samples of a shot with the faces that the first pass did not search for."""
        left_out = screened.left_out(shot, self.pipeline.config)
        if not left_out:
            return screened
        decoded = decode_frames(
            self.source.path,
            info=screened.info,
            start_frame=left_out[0],
            end_frame=left_out[-1] + 1,
        )
        with self.clock.stage("screen"):
            return search_left_out(
                counted.each(self.clock.each("decode", decoded)),
                screened,
                left_out,
                config=self.pipeline.config,
                faces=self.pipeline.detectors.faces,
            )

    def _follow(
        self, piece: Span, info: VideoInfo, counted: _FrameCounter, *, to_the_end: bool
    ) -> list[Followed]:
        frames = read_frames(
            self.source.path,
            info=info,
            start_frame=piece.start_frame,
            end_frame=piece.end_frame,
            max_side_px=self.pipeline.config.screening.max_side_px,
        )
        if self.pipeline.detectors.on_gpu:
            frames = ahead(frames, limit=_FRAMES_AHEAD)
        analyser = PieceAnalyser(
            info=info,
            config=self.pipeline.config,
            detectors=self.pipeline.detectors,
            clock=self.clock,
            to_the_end=to_the_end,
        )
        with self.clock.stage("measure"):
            return analyser.analyse(piece, counted.each(self.clock.each("decode", frames)))

    def _clip(self, followed: Followed, info: VideoInfo, *, track_id: int) -> Clip:
        config, pose = self.pipeline.config, followed.evidence.pose
        if (sure := followed.rejections) is not None:
            row = self.rows.given_up(followed, track_id=track_id, rejections=sure)
            return self._noted(row, deciding_frame(followed.evidence, sure))
        verdicts = judge_clip(followed.evidence, config.filters)
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
        row = self.rows.followed(
            followed,
            track_id=track_id,
            verdicts=verdicts,
            crop=crop.seen_from_outside(info.display.window),
            written=written,
        )
        if written is not None:
            return row
        return self._noted(row, deciding_frame(followed.evidence, verdicts))

    def _noted(self, row: Clip, frame: int) -> Clip:
        """Note which frame, counted from the start of the row, decided that it is rejected."""
        self.decided[row.clip_id] = (row.start_frame or 0) + frame
        return row


@contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """Provide an empty folder and delete it afterwards; one left by a killed run is cleared."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        dataset = folder.parent.parent
        if not (dataset / RECORDS_FOLDER).exists():
            # The dataset was removed in mid-run, and writing made its folder anew: an empty one
            # would be in the way when the dataset is put back.
            with suppress(OSError):
                folder.parent.rmdir()
                dataset.rmdir()


def move_clips(clip_ids: Sequence[str], staging: Path, folder: Path) -> None:
    """Move clips into the dataset; once this returns, they survive a power failure.

    Files of the same clips that an earlier version put elsewhere are left to `prune`.
    """
    if not clip_ids:
        return
    changed = {folder}
    for kind in CLIP_FILES:
        for clip_id in clip_ids:
            made, target = kind.path(staging, clip_id), kind.make_place(folder, clip_id)
            sync(made)
            made.replace(target)
            changed |= {target.parent, kind.home(folder)}
    for path in sorted(changed):
        sync(path)


class _FrameCounter:
    """Counts frames as they pass, and reports the count."""

    def __init__(self, on_frame: Callable[[int], None]) -> None:
        self._on_frame = on_frame
        self._count = 0

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            yield item
            self._count += 1
            self._on_frame(self._count)
