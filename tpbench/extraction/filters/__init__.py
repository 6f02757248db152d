"""The filters by subject, and their evaluation: cheap ones first, every verdict is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from tpbench.dataset import Measurement
from tpbench.extraction.filters import body, clip, face, picture
from tpbench.extraction.filters.base import Filter, Unseen, Verdict
from tpbench.extraction.measures import ClipEvidence, Evidence
from tpbench.extraction.steadying import SWITCH_COUNTS

__all__ = [
    "ALL_FILTERS",
    "CLIP_FILTERS",
    "JUDGED_FRAMES",
    "SCREENING_FILTERS",
    "Filter",
    "Unseen",
    "Verdict",
    "certain_rejections",
    "deciding_frame",
    "described_measurements",
    "failed_alone",
    "judge_clip",
    "judge_faces",
    "judge_file",
    "judge_screened",
    "reject_codes",
]

SCREENING_FILTERS: Final = (*clip.SCREENING, *picture.SCREENING, *face.SCREENING)
"""Run first, on two frames a second; a span that one of them rejects is not analysed further."""
CLIP_FILTERS: Final = (*face.WHOLE, *body.WHOLE, *clip.WHOLE)
"""Run on every frame of the tracked person, together with the screening filters again."""
ALL_FILTERS: Final[tuple[Filter[ClipEvidence], ...]] = (*SCREENING_FILTERS, *CLIP_FILTERS)

JUDGED_FRAMES: Final = Measurement(
    name="judged_frames",
    title="Frames judged",
    unit="frames",
    meaning="After how many frames it was certain that the span would be rejected; blank where all "
    "of its frames were measured.",
)
"""Not a filter's: the other measurements of such a span are over these frames."""
Seen = TypeVar("Seen", bound=Evidence)
Thresholds = Mapping[str, float | None]
"""Reject code -> threshold, as a preset gives them. A filter without one is off."""


def judge_file(evidence: Evidence, thresholds: Thresholds) -> list[Verdict]:
    """Apply the filters that need no picture, such as to a whole file before it is decoded.

    No part of a file is larger or longer than it: if it is rejected, so is every part.

    Args:
        evidence: its size and length; nothing else is looked at.
        thresholds: of the preset.
    """
    return _judged(clip.SCREENING, evidence, thresholds)


def judge_faces(evidence: Evidence, thresholds: Thresholds) -> list[Verdict]:
    """Apply the filters that need nothing but the faces of a span, its size and its length."""
    return _judged((*clip.SCREENING, *face.SCREENING), evidence, thresholds)


def failed_alone(sample: Evidence, thresholds: Thresholds) -> frozenset[str]:
    """Return the filters that reject one sample, and would reject any number of such samples."""
    each = [item for item in picture.SCREENING if item.code in picture.EACH]
    return frozenset(reject_codes(_judged(each, sample, thresholds)))


def judge_screened(evidence: Evidence, thresholds: Thresholds) -> list[Verdict]:
    """Apply the filters of the screening stage."""
    return _judged(SCREENING_FILTERS, evidence, thresholds)


def judge_clip(evidence: ClipEvidence, thresholds: Thresholds) -> list[Verdict]:
    """Apply all filters, those of the screening stage now on every frame."""
    return _judged(ALL_FILTERS, evidence, thresholds)


def _judged(
    filters: Sequence[Filter[Seen]], evidence: Seen, thresholds: Thresholds
) -> list[Verdict]:
    return [
        item.judge(evidence, threshold)
        for item in filters
        if (threshold := thresholds.get(item.code)) is not None
    ]


def reject_codes(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """Return the codes of the filters that rejected, in the order they were applied."""
    return tuple(verdict.code for verdict in verdicts if not verdict.kept)


def certain_rejections(
    seen: ClipEvidence, thresholds: Thresholds, unseen: Unseen, *, slack: float = 0.0
) -> list[Verdict]:
    """Return the rejections of a span seen in part that nothing which follows can undo.

    Args:
        seen: its first frames; the pose is not looked at.
        thresholds: of the preset.
        unseen: the most that may follow.
        slack: see `Filter.surely_rejects`.

    Returns:
        Verdicts whose measured number is that of the frames seen.
    """
    return [
        item.judge(seen, threshold)
        for item in ALL_FILTERS
        if (threshold := thresholds.get(item.code)) is not None
        and item.surely_rejects(seen, threshold, unseen, slack=slack)
    ]


def deciding_frame(evidence: Evidence, verdicts: Sequence[Verdict]) -> int:
    """Return the frame that shows best why the first filter rejected, from 0 at the span's start.

    Args:
        evidence: what the verdicts were judged by.
        verdicts: at least one of them a rejection.
    """
    first = next(verdict for verdict in verdicts if not verdict.kept)
    filters: Mapping[str, Filter[Any]] = {item.code: item for item in ALL_FILTERS}
    return filters[first.code].deciding_frame(evidence, first)


def described_measurements() -> tuple[Measurement, ...]:
    """Return what each measured manifest column means, for reports and cards."""
    counted = (
        Measurement(
            name=name,
            title=f"Switches: {part.replace('_', ' ')}",
            meaning=f"How often the {part.replace('_', ' ')} of the pose drawing comes or goes.",
        )
        for part, name in SWITCH_COUNTS.items()
    )
    return (*(item.measurement for item in ALL_FILTERS), *counted, JUDGED_FRAMES)
