"""`scores.json` of a run, as the report that it was written from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tpbench.dataset import check_clip_id
from tpbench.errors import DatasetError, SubmissionError
from tpbench.metrics.scoring.report import (
    SCORES_NAME,
    ClipScores,
    Coverage,
    MetricScore,
    ScoreReport,
    number,
    read_scores,
)


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
    except (KeyError, TypeError, ValueError, AttributeError, DatasetError) as error:
        # The digest is right, so no accident did this: somebody else's program wrote it.
        raise SubmissionError(
            f"{path}: no scores as tpbench writes them ({type(error).__name__}: {error})"
        ) from error


def _report(content: Mapping[str, Any]) -> ScoreReport:
    coverage = content["coverage"]
    return ScoreReport(
        protocol=_protocol(content["protocol"]),
        policies=_policies(content["policies"]),
        real=dict(content["real"]),
        coverage=Coverage(
            n_expected=_count(coverage["n_expected"]),
            n_scored=_count(coverage["n_scored"]),
            missing=_texts(coverage["missing"]),
            failed={name: _text(why) for name, why in coverage["failed"].items()},
            extra=_texts(coverage["extra"]),
            hints={name: _text(why) for name, why in coverage.get("hints", {}).items()},
        ),
        metrics={name: _metric(name, raw) for name, raw in content["metrics"].items()},
        clips={clip_id: _clip(clip_id, raw) for clip_id, raw in content["clips"].items()},
        # Scores written before it was named are still scores; `verify` says what they lack.
        frames_sha256=str(content.get("frames_sha256", "")),
        environment=dict(content["environment"]),
        notes=_texts(content.get("notes", [])),
        statistics=int(content.get("statistics", 1)),
    )


def _protocol(raw: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: _text(raw[name]) for name in ("id", "title", "digest")}
    lists = {name: list(_texts(raw[name])) for name in ("metrics", "quirks")}
    return {**raw, **said, **lists, "version": _count(raw["version"])}


def _policies(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {**raw, "first_frame": _count(raw.get("first_frame", 0))}


def _metric(name: str, raw: Mapping[str, Any]) -> MetricScore:
    numbers = {
        key: None if raw[key] is None else number(raw[key]) for key in ("low", "high", "level")
    }
    means = {key: number(raw.get(key)) for key in ("value", "mean_of_clips", "mean_of_frames")}
    counts = {key: _count(value) for key, value in raw.items() if key.startswith("n_")}
    notes = {key: _note(raw[key]) for key in ("reason", "interval_reason", "warning")}
    details = dict(raw["details"])
    return MetricScore(
        **{
            **raw,
            **numbers,
            **counts,
            **notes,
            "version": _count(raw["version"]),
            "details": details,
            **means,
            "metric": name,
        }
    )


def _clip(clip_id: str, raw: Mapping[str, Any]) -> ClipScores:
    texts = ("real_sha256", "generated_sha256", "codec")
    # Older scores have intervals of each clip's slopes, which promised more than they held.
    kept = {key: value for key, value in raw.items() if key != "intervals"}
    return ClipScores(
        **{
            **kept,
            **{name: _text(raw[name]) for name in texts},
            "clip_id": check_clip_id(clip_id),
            "identity": _note(raw["identity"]),
            "n_frames": _count(raw["n_frames"]),
            "notes": _texts(raw["notes"]),
            "values": {name: number(value) for name, value in raw["values"].items()},
        }
    )


def _count(value: object) -> int:
    """Return a number of things: no truth value, no fraction, not beyond all measure."""
    if type(value) is not int or not 0 <= value < _MOST:
        raise ValueError(f"{value!r:.40} is no count")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _note(value: object) -> str | None:
    return None if value is None else _text(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r:.40} is no list of texts")
    return tuple(_text(item) for item in value)


_MOST: Final = 10**9
"""Of clips, frames, versions. More than that is no number of them."""
