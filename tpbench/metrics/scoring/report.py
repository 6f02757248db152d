"""What scoring says: one value per metric with its interval, and what it rests on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from tpbench.errors import SubmissionError
from tpbench.files import write_text_aside
from tpbench.foreign import ForeignFileError, read_json
from tpbench.metrics.bootstrap import STATISTICS_VERSION

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION: Final = 1
SCORES_NAME: Final = "scores.json"
FRAMES_NAME: Final = "frames.parquet"

_LIMIT_BYTES: Final = 1 << 30
_LIMIT_VALUES: Final = 20_000_000
"""Of a file of scores: about 100,000 clips. All else that is JSON is far smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricScore:
    """One metric of a set of generated clips."""

    metric: str
    version: int
    direction: str
    unit: str

    status: Literal["measured", "not_measured"]

    value: float = math.nan
    """Mean over clips, or of all clips together; NaN where there is none: `reason` says why."""

    low: float | None = None
    """Lower end of the interval over identities; None: `interval_reason` says why."""

    high: float | None = None

    level: float | None = None
    """What share of such intervals should hold the truth; None without one."""

    reason: str | None = None
    """Why there is no value, and what to do; None if there is one."""

    missing_reason: str | None = None
    """Why clips have no value although others have; None if all have one, or none has."""

    interval_reason: str | None = None

    warning: str | None = None
    """What has to be said beside the value."""

    n_clips: int = 0
    """Clips with a finite value: the mean is theirs."""

    n_identities: int = 0
    """Identities the interval is made from."""

    n_infinite: int = 0
    """Clips with an infinite value, left out of the mean unless all are."""

    n_missing: int = 0
    """Clips in which nothing was measured."""

    n_too_short: int = 0
    """Clips left out because the metric speaks of longer ones."""

    pooling: Literal["", "mean_of_clips", "mean_of_frames", "all_together"] = ""
    """What `value` is: the mean over clips, the mean over all frames of all clips, or what all
    clips give together by the metric's own definition. Empty where nothing was measured, and in
    older scores, which are means over clips or of all together."""

    mean_of_clips: float = math.nan
    """Of metrics with a value per clip; equal to `value` where that is the mean over clips."""

    mean_of_frames: float = math.nan
    """Of metrics whose value per clip is a mean over frames: the mean over all frames (or terms
    between frames) of all clips, each clip weighing as many times as it has some."""

    n_values: int = 0
    """Frames (or terms) that `mean_of_frames` is the mean of."""

    details: Mapping[str, Any] = field(default_factory=dict)
    """More numbers that belong to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScores:
    """All metrics of one pair of clips."""

    clip_id: str
    identity: str | None
    n_frames: int
    real_sha256: str
    generated_sha256: str
    codec: str
    notes: tuple[str, ...]
    values: Mapping[str, float]
    """By metric; NaN where nothing was measured, absent where the metric has no value per clip."""

    n_values: Mapping[str, int] = field(default_factory=dict)
    """By metric whose value is a mean over frames: how many frames (or terms) it is the mean of."""

    blanks: Mapping[str, str] = field(default_factory=dict)
    """By metric without a value: why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of what should have been scored was."""

    n_expected: int
    n_scored: int
    missing: tuple[str, ...]
    """Real clips that nothing was generated for."""

    failed: Mapping[str, str]
    """By clip: why it could not be scored."""

    extra: tuple[str, ...]
    """Generated clips that belong to no real one."""

    hints: Mapping[str, str] = field(default_factory=dict)
    """By missing clip: what may have been meant for it, and why it does not count."""

    @property
    def share(self) -> float:
        """Scored over expected, in [0, 1]."""
        return self.n_scored / self.n_expected if self.n_expected else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreReport:
    """The outcome of scoring a set of generated clips."""

    protocol: Mapping[str, Any]
    """id, version and digest, and all settings."""

    policies: Mapping[str, Any]
    real: Mapping[str, Any]
    """What was scored against: a dataset by name, digest and split, or a folder by name."""

    coverage: Coverage
    metrics: Mapping[str, MetricScore]
    """In the protocol's order."""

    clips: Mapping[str, ClipScores]
    """By clip id."""

    frames_sha256: str
    """Of `frames.parquet`, which lies beside it; empty in scores written before it was named."""

    environment: Mapping[str, Any]

    statistics: int = STATISTICS_VERSION
    """Version of the method of its intervals; see `bootstrap.STATISTICS_VERSION`."""

    notes: tuple[str, ...] = ()
    """What else happened, one line each: what policies did to how many clips, clips without a
    partner, files that were not read."""

    @property
    def complete(self) -> bool:
        """Whether every clip that should have been scored was."""
        return self.coverage.n_scored == self.coverage.n_expected

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values; `digest` is the sha256 of the rest in canonical form.

        Numbers are unrounded. What JSON has no number for: NaN is null, infinity is "inf".
        """
        content: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "protocol": dict(self.protocol),
            "policies": dict(self.policies),
            "real": dict(self.real),
            "coverage": {
                "n_expected": self.coverage.n_expected,
                "n_scored": self.coverage.n_scored,
                "share": self.coverage.share,
                "missing": list(self.coverage.missing),
                "failed": dict(self.coverage.failed),
                "extra": list(self.coverage.extra),
                "hints": dict(self.coverage.hints),
            },
            "metrics": {
                name: {
                    key: getattr(score, key)
                    for key in MetricScore.__dataclass_fields__
                    if key != "metric"
                }
                for name, score in self.metrics.items()
            },
            "clips": {
                clip_id: {
                    key: getattr(scores, key)
                    for key in ClipScores.__dataclass_fields__
                    if key != "clip_id"
                }
                for clip_id, scores in self.clips.items()
            },
            "statistics": self.statistics,
            "notes": list(self.notes),
            "frames_sha256": self.frames_sha256,
            "environment": dict(self.environment),
        }
        content = _encoded(content)
        return {**content, "digest": digest_of(content)}

    def to_frame(self) -> pd.DataFrame:
        """Return one row per metric: value, interval and counts, as a pandas frame."""
        import pandas as pd

        rows = [
            {name: getattr(score, name) for name in MetricScore.__dataclass_fields__}
            for score in self.metrics.values()
        ]
        return pd.DataFrame(rows).drop(columns="details").set_index("metric")

    def clips_frame(self) -> pd.DataFrame:
        """Return one row per clip, one column per metric that has values per clip."""
        import pandas as pd

        rows = [
            {
                "clip_id": scores.clip_id,
                "identity": scores.identity,
                "n_frames": scores.n_frames,
                **scores.values,
            }
            for scores in self.clips.values()
        ]
        columns = None if rows else ["clip_id", "identity", "n_frames"]
        return pd.DataFrame(rows, columns=columns).set_index("clip_id")


def write_scores(path: Path, report: ScoreReport) -> None:
    """Write a report as JSON, aside and renamed; equal reports give equal bytes."""
    text = json.dumps(report.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    write_text_aside(path, text + "\n")


def read_scores(path: Path) -> dict[str, Any]:
    """Return what `write_scores` wrote, after a look at its digest; `number` decodes its values.

    Raises:
        SubmissionError: it is absent, no scores of this version, or was changed.
    """
    try:
        content = read_json(path, max_bytes=_LIMIT_BYTES, max_values=_LIMIT_VALUES)
    except (OSError, ForeignFileError) as error:
        raise SubmissionError(f"{path}: no scores that can be read ({error})") from error
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
        raise SubmissionError(f"{path}: no scores of schema version {SCHEMA_VERSION}; score again")
    digest = content.pop("digest", None)
    if digest != digest_of(content):
        raise SubmissionError(
            f"{path}: was changed after it was written (its digest is not that of its content)"
        )
    return {**content, "digest": digest}


def digest_of(content: Mapping[str, Any]) -> str:
    """Return the sha256 of canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def number(value: float | str | None) -> float:
    """Return the number that a JSON value of ours stands for: null is NaN, "inf" is infinity."""
    return math.nan if value is None else float(value)


def _encoded(value: Any) -> Any:  # noqa: ANN401 - any JSON value, and what is not one yet
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {str(key): _encoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(item) for item in value]
    return value
