"""The rows of the manifest: of sources that can't be used, and of the stretches of the others."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import tpbench
from tpbench.dataset import Clip
from tpbench.detectors.base import DetectorSuite
from tpbench.errors import MediaError
from tpbench.extraction.filters import JUDGED_FRAMES, Verdict, reject_codes
from tpbench.extraction.shots import Span
from tpbench.extraction.sources import Provenance, Source, source_id
from tpbench.extraction.steadying import skeleton_digest, switch_counts
from tpbench.extraction.tracks import Followed
from tpbench.extraction.writing import CropBox, WrittenClip
from tpbench.privacy import public_message
from tpbench.video import VideoInfo

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
        clip_id=f"{name}_{'quarantined' if quarantined else 'failed'}_{path_mark(source)}",
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
        clip_id=f"{name}_{code.removeprefix('source.')}_{path_mark(source)}",
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

    def given_up(self, followed: Followed, *, track_id: int, rejections: Sequence[Verdict]) -> Clip:
        """Return the row of a span that was not measured to its end: why that was certain."""
        judged = {JUDGED_FRAMES.name: float(followed.evidence.n_frames)}
        return Clip(
            **self._common(followed.span),
            **_judgement(rejections, judged),
            status="rejected",
            reject_codes=reject_codes(rejections),
            start_pts=followed.first_pts,
            track_id=track_id,
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


def path_mark(source: Source) -> str:
    """Return a short mark of a source's path."""
    # The shown path is not unique: two input folders may have the same name; ids must differ.
    return hashlib.sha256(os.fsencode(source.place)).hexdigest()[:8]
