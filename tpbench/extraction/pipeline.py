"""The pipeline of one source video, from its bytes to the rows of the manifest."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

import tpbench
from tpbench.dataset import Clip, clip_path, keypoints_path, pose_path
from tpbench.detectors.base import DetectorSuite
from tpbench.errors import DamageError, MediaError, TransparentError
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.damage import screen_whole_shots
from tpbench.extraction.filters import (
    Verdict,
    deciding_frame,
    judge_clip,
    judge_file,
    judge_screened,
    reject_codes,
)
from tpbench.extraction.following import Followed, PieceAnalyser
from tpbench.extraction.measures import StageClock
from tpbench.extraction.screening import Screened, sampled_evidence, screen_again, spans_of_shot
from tpbench.extraction.shots import Shot, Span, cut_evenly
from tpbench.extraction.sources import (
    Provenance,
    Source,
    hashed,
    read_provenance,
    source_id,
    why_out_of_reach,
)
from tpbench.extraction.steadying import skeleton_digest, switch_counts
from tpbench.extraction.thumbnails import write_thumbnails
from tpbench.extraction.writing import CropBox, WrittenClip, upper_body_crop, write_clip
from tpbench.files import sync
from tpbench.privacy import public_message
from tpbench.video import VideoInfo, decode_frames, probe, read_frames
from tpbench.video.ahead import ahead

TRANSITION_CODE = "shot.transition"
"""The span is a dissolve or a fade between two shots."""
DUPLICATE_CODE = "source.duplicate"
"""The source has the same bytes as another one, which is processed instead."""
TRANSPARENT_CODE = "source.transparent"
"""The source is transparent in places, over content that was not meant to be seen."""
OTHER_CODES: Final = {
    TRANSITION_CODE: "Dissolve or fade",
    DUPLICATE_CODE: "Same bytes as another source",
    TRANSPARENT_CODE: "Transparent in places",
}
"""Reject codes that belong to no filter, and what they mean."""


def failed_row(source: Source, error: str, *, quarantined: bool = False) -> Clip:
    """Return the one row of a source that could not be processed, with its error in one line."""
    name = source_id(source)
    return Clip(
        clip_id=f"{name}_{'quarantined' if quarantined else 'failed'}_{_path_mark(source)}",
        status="quarantined" if quarantined else "failed",
        source_id=name,
        source_path=source.shown_path,
        source_sha256=source.sha256,
        tool_version=tpbench.__version__,
        error=public_message(error),
    )


def duplicate_row(source: Source) -> Clip:
    """Return the one row of a source whose bytes equal another's."""
    return _refused_row(source, DUPLICATE_CODE, f"same bytes as {source.duplicate_of}")


def transparent_row(source: Source, error: str) -> Clip:
    """Return the one row of a source that is transparent, with what to do about it."""
    return _refused_row(source, TRANSPARENT_CODE, error)


def _refused_row(source: Source, code: str, error: str) -> Clip:
    name = source_id(source)
    return Clip(
        clip_id=f"{name}_{code.removeprefix('source.')}_{_path_mark(source)}",
        status="rejected",
        reject_codes=(code,),
        source_id=name,
        source_path=source.shown_path,
        source_sha256=source.sha256,
        tool_version=tpbench.__version__,
        error=public_message(error),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowMaker:
    """Builds the manifest rows of one source."""

    source: Source
    info: VideoInfo
    provenance: Provenance
    detectors: DetectorSuite

    def clip_id(self, span: Span) -> str:
        """Return `<source_id>_<start>_<end>` with times in ms, so that ids sort in time order."""
        start_ms, end_ms = (
            round(frame * 1000 / self.info.fps) for frame in (span.start_frame, span.end_frame)
        )
        return f"{source_id(self.source)}_{start_ms:08d}_{end_ms:08d}"

    def transition(self, span: Span) -> Clip:
        """Return the row of a transition between shots."""
        return Clip(**self._common(span), status="rejected", reject_codes=(TRANSITION_CODE,))

    def damaged(self, span: Span, error: MediaError) -> Clip:
        """Return the row of a stretch that is left out because the source is damaged there."""
        said = f"{self.source.shown_path}: {error.reason}; undamaged parts are kept"
        return Clip(**self._common(span) | {"shot_id": None}, status="failed", error=said)

    def screened_out(self, span: Span, verdicts: Sequence[Verdict]) -> Clip:
        """Return the row of a span that the screening rejected."""
        return Clip(
            **self._common(span),
            **_judgement(verdicts),
            status="rejected",
            reject_codes=reject_codes(verdicts),
        )

    def followed(
        self,
        followed: Followed,
        *,
        track_id: int,
        verdicts: Sequence[Verdict],
        crop: CropBox,
        written: WrittenClip | None,
    ) -> Clip:
        """Return the row of a tracked span: kept with its files, or rejected without files."""
        x0, y0, x1, y1 = crop.normalised(self.info.width_px, self.info.height_px)
        return Clip(
            **self._common(followed.span),
            **_judgement(verdicts, switch_counts(followed.evidence.pose)),
            status="rejected" if written is None else "kept",
            reject_codes=reject_codes(verdicts),
            start_pts=followed.first_pts,
            crop_x0=x0,
            crop_y0=y0,
            crop_x1=x1,
            crop_y1=y1,
            out_size_px=None if written is None else written.size_px,
            track_id=track_id,
            clip_sha256=None if written is None else written.clip_sha256,
            keypoints_sha256=None if written is None else written.keypoints_sha256,
            pose_sha256=None if written is None else written.pose_sha256,
            pose_source=self.detectors.source,
            skeleton_digest=skeleton_digest(self.detectors),
            hand_digest=self.detectors.hand_digest,
        )

    def _common(self, span: Span) -> dict[str, Any]:
        fps = self.info.fps
        return {
            "clip_id": self.clip_id(span),
            "source_id": source_id(self.source),
            "source_path": self.source.shown_path,
            "source_sha256": self.source.sha256,
            "url": self.provenance.url,
            "licence": self.provenance.licence,
            "uploader": self.provenance.uploader,
            "retrieved_at": self.provenance.retrieved_at,
            "start_frame": span.start_frame,
            "end_frame": span.end_frame,
            "start_s": float(span.start_frame / fps),
            "end_s": float(span.end_frame / fps),
            "time_base": str(self.info.time_base),
            "fps_num": fps.numerator,
            "fps_den": fps.denominator,
            "n_frames": span.n_frames,
            "source_width_px": self.info.width_px,
            "source_height_px": self.info.height_px,
            "shot_id": span.shot_id,
            "identity": source_id(self.source),
            "tool_version": tpbench.__version__,
            "face_digest": self.detectors.face_digest,
        }


def _judgement(
    verdicts: Sequence[Verdict], others: Mapping[str, float] | None = None
) -> dict[str, Any]:
    judged = {verdict.measurement: verdict.measured for verdict in verdicts}
    return {
        "measurements": judged | dict(others or {}),
        "thresholds": {verdict.measurement: verdict.threshold for verdict in verdicts},
    }


def _path_mark(source: Source) -> str:
    # The shown path is not unique: two input folders may have the same name; ids must differ.
    return hashlib.sha256(os.fsencode(source.path)).hexdigest()[:8]


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
        name = f"{source_id(source)}-{_path_mark(source)}"
        with _staging(self.folder / WORK_FOLDER / name) as staging:
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
            with clock.stage("write"):
                write_thumbnails(self.folder, source_id(source), source.path, info, work.decided)
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
        for shot in found.screened.shots:
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

    def _analyse(self, piece: Span, info: VideoInfo, counted: _FrameCounter) -> list[Followed]:
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
        )
        with self.clock.stage("measure"):
            return analyser.analyse(piece, counted.each(self.clock.each("decode", frames)))

    def _clip(self, followed: Followed, info: VideoInfo, *, track_id: int) -> Clip:
        config, pose = self.pipeline.config, followed.evidence.pose
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
def _staging(folder: Path) -> Iterator[Path]:
    """Provide an empty folder and delete it afterwards; one left by a killed run is cleared."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def move_clips(clip_ids: Sequence[str], staging: Path, folder: Path) -> None:
    """Move clips into the dataset; once this returns, they survive a power failure."""
    for path_of in (clip_path, keypoints_path, pose_path):
        for clip_id in clip_ids:
            made, target = path_of(staging, clip_id), path_of(folder, clip_id)
            target.parent.mkdir(exist_ok=True)
            sync(made)
            made.replace(target)
        if clip_ids:
            sync(path_of(folder, "x").parent)
    if clip_ids:
        sync(folder)


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
