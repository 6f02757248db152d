"""Manifest rows of one source: every span of it gets one, kept or not."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import tpbench
from tpbench.dataset import Clip
from tpbench.extraction.judging import reject_codes
from tpbench.extraction.sources import source_id
from tpbench.extraction.steadying import skeleton_digest
from tpbench.extraction.switches import switch_counts
from tpbench.privacy import public_message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tpbench.detectors.suite import DetectorSuite
    from tpbench.errors import MediaError
    from tpbench.extraction.analysis import Followed
    from tpbench.extraction.crop import CropBox
    from tpbench.extraction.provenance import Provenance
    from tpbench.extraction.sources import Source
    from tpbench.extraction.spans import Span
    from tpbench.extraction.verdict import Verdict
    from tpbench.extraction.writing import WrittenClip
    from tpbench.video import VideoInfo

TRANSITION_CODE = "shot.transition"
"""The span is a dissolve or a fade between two shots."""

DUPLICATE_CODE = "source.duplicate"
"""The source has the same bytes as another one, which was done instead."""

TRANSPARENT_CODE = "source.transparent"
"""The source is transparent in places: below lies what nobody was meant to see."""

OTHER_CODES: Final = {
    TRANSITION_CODE: "Dissolve or fade",
    DUPLICATE_CODE: "Same bytes as another source",
    TRANSPARENT_CODE: "Transparent in places",
}
"""Reject codes that are no filter's, and what they mean."""


def failed_row(source: Source, error: str, *, quarantined: bool = False) -> Clip:
    """Return the one row of a source that could not be done, with its error in one line."""
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
    name = source_id(source)
    return Clip(
        clip_id=f"{name}_duplicate_{_path_mark(source)}",
        status="rejected",
        reject_codes=(DUPLICATE_CODE,),
        source_id=name,
        source_path=source.shown_path,
        source_sha256=source.sha256,
        tool_version=tpbench.__version__,
        error=public_message(f"same bytes as {source.duplicate_of}"),
    )


def transparent_row(source: Source, error: str) -> Clip:
    """Return the one row of a source that is transparent, with what to do about it."""
    name = source_id(source)
    return Clip(
        clip_id=f"{name}_transparent_{_path_mark(source)}",
        status="rejected",
        reject_codes=(TRANSPARENT_CODE,),
        source_id=name,
        source_path=source.shown_path,
        source_sha256=source.sha256,
        tool_version=tpbench.__version__,
        error=public_message(error),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowMaker:
    """Knows what all rows of one source have in common."""

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
        said = f"{self.source.shown_path}: {error.reason}; what has no damage is kept"
        return Clip(**self._common(span) | {"shot_id": None}, status="failed", error=said)

    def screened_out(self, span: Span, verdicts: Sequence[Verdict]) -> Clip:
        """Return the row of a span that the screening refused."""
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
        """Return the row of a tracked span: kept with its files, or refused without."""
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
    # The shown path won't do: two folders of one name may be given, and ids must differ.
    return hashlib.sha256(os.fsencode(source.path)).hexdigest()[:8]
