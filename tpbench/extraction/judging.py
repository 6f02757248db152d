"""Asking the filters, the cheap ones first, and keeping every answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tpbench.extraction.filters import ALL_FILTERS, CLIP_FILTERS, SCREENING_FILTERS
from tpbench.extraction.switches import SWITCH_COUNTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tpbench.dataset import Measurement
    from tpbench.extraction.config import ExtractionConfig
    from tpbench.extraction.evidence import ClipEvidence, Evidence
    from tpbench.extraction.verdict import Verdict


def judge_screened(evidence: Evidence, config: ExtractionConfig) -> list[Verdict]:
    """Ask the filters of the screening stage."""
    return [
        kind(threshold=threshold).judge(evidence)
        for kind in SCREENING_FILTERS
        if (threshold := config.filters[kind.code]) is not None
    ]


def judge_clip(evidence: ClipEvidence, config: ExtractionConfig) -> list[Verdict]:
    """Ask all filters, those of the screening stage now on every frame."""
    return judge_screened(evidence, config) + [
        kind(threshold=threshold).judge(evidence)
        for kind in CLIP_FILTERS
        if (threshold := config.filters[kind.code]) is not None
    ]


def reject_codes(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """Return the codes of the filters that refused, in the order they were asked."""
    return tuple(verdict.code for verdict in verdicts if not verdict.kept)


def described_measurements() -> tuple[Measurement, ...]:
    """Return what each measured manifest column means, for reports and cards."""
    from tpbench.dataset import Measurement

    judged = (
        Measurement(
            name=kind.measurement,
            title=kind.title,
            unit=kind.unit,
            direction=kind.direction,
            code=kind.code,
            meaning=(kind.__doc__ or "").strip().splitlines()[0],
        )
        for kind in ALL_FILTERS
    )
    counted = (
        Measurement(
            name=name,
            title=f"Switches: {part.replace('_', ' ')}",
            unit="",
            meaning=f"How often the {part.replace('_', ' ')} of the pose drawing comes or goes.",
        )
        for part, name in SWITCH_COUNTS.items()
    )
    return (*judged, *counted)
