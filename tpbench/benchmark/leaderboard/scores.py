"""`scores.json` of a run, as the report that it was written from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tpbench.errors import SubmissionError
from tpbench.metrics.scoring.report import (
    SCORES_NAME,
    ClipScores,
    Coverage,
    MetricScore,
    ScoreReport,
    number,
    read_scores,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def load_report(folder: Path) -> tuple[ScoreReport, str]:
    """Return the scores of a run, and their digest.

    Args:
        folder: of the run.

    Raises:
        SubmissionError: they are absent, of another version, broken, or were changed.
    """
    path = folder / SCORES_NAME
    content = read_scores(path)
    try:
        return _report(content), str(content["digest"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # The digest is right, so no accident did this: somebody else's program wrote it.
        msg = f"{path}: no scores as tpbench writes them ({type(error).__name__}: {error})"
        raise SubmissionError(msg) from error


def _report(content: Mapping[str, Any]) -> ScoreReport:
    coverage = content["coverage"]
    return ScoreReport(
        protocol=_protocol(content["protocol"]),
        policies=dict(content["policies"]),
        real=dict(content["real"]),
        coverage=Coverage(
            n_expected=int(coverage["n_expected"]),
            n_scored=int(coverage["n_scored"]),
            missing=tuple(coverage["missing"]),
            failed=dict(coverage["failed"]),
            extra=tuple(coverage["extra"]),
        ),
        metrics={name: _metric(name, raw) for name, raw in content["metrics"].items()},
        clips={clip_id: _clip(clip_id, raw) for clip_id, raw in content["clips"].items()},
        # Scores written before it was named are still scores; `verify` says what they lack.
        frames_sha256=str(content.get("frames_sha256", "")),
        environment=dict(content["environment"]),
    )


def _protocol(raw: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: str(raw[name]) for name in ("id", "title", "digest")}
    return {**raw, **said, "version": int(raw["version"])}


def _metric(name: str, raw: Mapping[str, Any]) -> MetricScore:
    numbers = {
        key: None if raw[key] is None else number(raw[key]) for key in ("low", "high", "level")
    }
    means = {key: number(raw.get(key)) for key in ("value", "mean_of_clips", "mean_of_frames")}
    return MetricScore(**{**raw, **numbers, **means, "metric": name})


def _clip(clip_id: str, raw: Mapping[str, Any]) -> ClipScores:
    # Older scores have intervals of each clip's slopes, which promised more than they held.
    kept = {key: value for key, value in raw.items() if key != "intervals"}
    return ClipScores(
        **{
            **kept,
            "clip_id": clip_id,
            "notes": tuple(raw["notes"]),
            "values": {name: number(value) for name, value in raw["values"].items()},
        }
    )
