"""`scores.json` and `frames.parquet`: values with their intervals, and what they are based on."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    with_config,
)

from tpbench.canonical import Count, Details, Number, digest_of, first_problem
from tpbench.errors import SubmissionError
from tpbench.files import atomic_write, atomic_write_text
from tpbench.foreign import ForeignFileError, read_json
from tpbench.metrics.bootstrap import STATISTICS_VERSION
from tpbench.metrics.registry import headline_of, metric_at
from tpbench.metrics.scoring.records import ClipMeasurement
from tpbench.short_table import ShortTable, short_interval, short_number

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION: Final = 1
SCORES_NAME: Final = "scores.json"
FRAMES_NAME: Final = "frames.parquet"

_NAME_MAX: Final = 1000
_LIMIT_BYTES: Final = 1 << 30
_LIMIT_VALUES: Final = 20_000_000
"""Limit for a scores file: about 100,000 clips. All other JSON files are far smaller."""


def check_scored_name(name: str) -> str:
    """Return the name of a scored clip: a clip id, or the path of a video below its folder.

    Raises:
        ValueError: it is no path inside a folder, is too long, or holds control characters.
    """
    parts = name.split("/")
    if len(name) > _NAME_MAX or not name.isprintable() or {"", ".", ".."} & set(parts):
        raise ValueError(f"{name!r} can't be the name of a clip")
    return name


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True, kw_only=True)
class MetricScore:
    """One metric of a set of generated clips."""

    metric: Annotated[str, Field(exclude=True)]
    version: Count
    direction: str
    unit: str
    status: Literal["measured", "not_measured"]
    value: Number = math.nan
    """Mean over clips, or of all clips together; NaN where there is none: `reason` says why."""
    low: Number | None = None
    """Lower end of the interval over identities; None: `interval_reason` says why."""
    high: Number | None = None
    level: Number | None = None
    """Nominal coverage of the interval; None without one."""
    reason: str | None = None
    """Why there is no value, and what to do; None if there is one."""
    missing_reason: str | None = None
    """Why clips have no value although others have; None if all have one, or none has."""
    interval_reason: str | None = None
    warning: str | None = None
    """A caveat to be shown with the value."""
    n_clips: Count = 0
    """Clips with a finite value, over which the mean is taken."""
    n_identities: Count = 0
    """Identities the interval is computed from."""
    n_infinite: Count = 0
    """Clips with an infinite value, left out of the mean unless all are."""
    n_missing: Count = 0
    """Clips in which nothing was measured."""
    n_too_short: Count = 0
    """Clips left out because they are too short for the metric."""
    pooling: Literal["", "mean_of_clips", "mean_of_frames", "all_together"] = ""
    """What `value` is: the mean over clips, the mean over all frames of all clips, or the value of
    all clips together by the metric's own definition. Empty if nothing was measured, and in older
    scores, which are means over clips or of all together."""
    mean_of_clips: Number = math.nan
    """Of metrics with a value per clip; equal to `value` where that is the mean over clips."""
    mean_of_frames: Number = math.nan
    """Of metrics whose value per clip is a mean over frames: the mean over all frames (or terms
    between frames) of all clips, each clip weighted by how many it has."""
    n_values: Count = 0
    """Frames (or terms) that `mean_of_frames` is the mean of."""
    details: Details = field(default_factory=dict)
    """Further numbers of the metric."""


def display_of(score: MetricScore, headline: Collection[str]) -> dict[str, str | bool]:
    """Return a metric's label, its arrow, and whether it is of the headline, as columns."""
    row = metric_at(score.metric, score.version)
    return {
        "label": row.label if row else score.metric,
        "arrow": row.arrow if row else "",
        "headline": score.metric in headline,
    }


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScores:
    """All metrics of one pair of clips."""

    clip_id: Annotated[str, AfterValidator(check_scored_name), Field(exclude=True)]
    identity: str | None
    n_frames: Count
    real_sha256: str
    generated_sha256: str
    codec: str
    notes: tuple[str, ...]
    values: Mapping[str, Number]
    """By metric; NaN where nothing was measured, absent where the metric has no value per clip."""
    n_values: Mapping[str, Count] = field(default_factory=dict)
    """By metric whose value is a mean over frames: how many frames (or terms) it is the mean of."""
    blanks: Mapping[str, str] = field(default_factory=dict)
    """By metric without a value: why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many of the expected clips were scored."""

    n_expected: Count
    n_scored: Count
    missing: tuple[str, ...]
    """Real clips without a generated clip."""
    failed: Mapping[str, str]
    """By clip: why it could not be scored."""
    extra: tuple[str, ...]
    """Generated clips without a real clip."""
    hints: Mapping[str, str] = field(default_factory=dict)
    """By missing clip: the file that may be meant for it, and why it does not count."""

    @property
    def share(self) -> float:
        """Scored over expected, in [0, 1]."""
        return self.n_scored / self.n_expected if self.n_expected else 0.0


class _Protocol(BaseModel):
    id: str
    title: str
    digest: str
    version: Count
    metrics: tuple[str, ...]
    headline: tuple[str, ...] = ()
    quirks: tuple[str, ...]


def _checked_protocol(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    _Protocol.model_validate(settings)
    return settings


def _with_first_frame(policies: Mapping[str, Any]) -> Mapping[str, Any]:
    first = TypeAdapter(Count).validate_python(policies.get("first_frame", 0))
    return {**policies, "first_frame": first}


def _with_names(content: object, name_of: str) -> object:
    """Add its key to each row."""
    if not isinstance(content, dict) or not all(isinstance(row, dict) for row in content.values()):
        return content
    # Older scores have intervals of each clip's slopes, whose coverage was below nominal.
    return {
        name: {**{key: row[key] for key in row if key != "intervals"}, name_of: name}
        for name, row in content.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreReport:
    """The outcome of scoring a set of generated clips."""

    protocol: Annotated[Details, AfterValidator(_checked_protocol)]
    """id, version and digest, and all settings."""
    policies: Annotated[Details, AfterValidator(_with_first_frame)]
    real: Details
    """What was scored against: a dataset by name, digest and split, or a folder by name."""
    coverage: Coverage
    metrics: Annotated[
        Mapping[str, MetricScore], BeforeValidator(lambda rows: _with_names(rows, "metric"))
    ]
    """In the protocol's order."""
    clips: Annotated[
        Mapping[str, ClipScores], BeforeValidator(lambda rows: _with_names(rows, "clip_id"))
    ]
    """By clip id."""
    statistics: Count = STATISTICS_VERSION
    """Version of the method of its intervals; see `bootstrap.STATISTICS_VERSION`."""
    notes: tuple[str, ...] = ()
    """What else happened, one line each: what policies did to how many clips, clips without a
    partner, files that were not read."""
    frames_sha256: str
    """Of `frames.parquet` in the same folder; empty in scores from before it was recorded."""
    environment: Details

    @property
    def complete(self) -> bool:
        """Whether every clip that should have been scored was."""
        return self.coverage.n_scored == self.coverage.n_expected

    @property
    def videos_digest(self) -> str:
        """The sha256 over the names and contents of the scored generated videos."""
        return digest_of({name: clip.generated_sha256 for name, clip in self.clips.items()})

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values; `digest` is the sha256 of the rest in canonical form.

        Numbers are unrounded. NaN becomes null, and infinity "inf".
        """
        content = _REPORT.dump_python(self, mode="json", warnings=False)
        counts = {"n_expected": 0, "n_scored": 0, "share": self.coverage.share}
        content["coverage"] = {**counts, **content["coverage"]}
        content = {"schema_version": SCHEMA_VERSION, **content}
        return {**content, "digest": digest_of(content)}

    def to_frame(self) -> pd.DataFrame:
        """Return one row per metric as a pandas frame: value, interval and counts.

        `label`, `arrow` and `unit` are as papers print them; `headline`: whether the metric belongs
        into the table of a paper.
        """
        import pandas as pd

        headline = headline_of(self.protocol)
        rows = [
            display_of(score, headline)
            | {name: getattr(score, name) for name in MetricScore.__dataclass_fields__}
            for score in self.metrics.values()
        ]
        return pd.DataFrame(rows).drop(columns="details").set_index("metric")

    def __repr__(self) -> str:
        """Return a few lines: the coverage, and the headline metrics."""
        return self._short().text()

    def _repr_html_(self) -> str:
        """Return the same as a table, for notebooks."""
        return self._short().html()

    def _short(self) -> ShortTable:
        found = self.coverage
        scored = f"{found.n_scored} of {found.n_expected} clips scored"
        title = f"ScoreReport: {self.protocol['id']}, {scored}"
        names = headline_of(self.protocol)
        return short_scores(title, self.metrics, names, more="all metrics: .to_frame()")

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


def short_scores(
    title: str, scores: Mapping[str, MetricScore], names: Sequence[str], *, more: str
) -> ShortTable:
    """Return the scores that are read first as a short table.

    Args:
        title: of the table.
        scores: by metric.
        names: of the metrics to show; those without a value are left out.
        more: what gives the others.
    """
    measured = [(name, scores[name]) for name in names if not math.isnan(scores[name].value)]
    return ShortTable(
        title=title,
        heads=("metric", "value", "95 % interval", "unit", "clips"),
        rows=tuple(
            (
                name,
                short_number(score.value),
                short_interval(score.low, score.high),
                score.unit,
                str(score.n_clips),
            )
            for name, score in measured
        ),
        more=f"{len(measured)} of {len(scores)} metrics; {more}",
    )


_REPORT: Final = TypeAdapter(ScoreReport)


def write_scores(path: Path, report: ScoreReport) -> None:
    """Write a report as JSON, atomically; equal reports give equal bytes."""
    text = json.dumps(report.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    atomic_write_text(path, text + "\n")


def read_scores(path: Path) -> dict[str, Any]:
    """Return the JSON that `write_scores` wrote, after checking its digest.

    Raises:
        SubmissionError: it is absent, not scores of this version, or was changed.
    """
    try:
        content = read_json(path, max_bytes=_LIMIT_BYTES, max_values=_LIMIT_VALUES)
    except FileNotFoundError as error:
        raise SubmissionError(
            f"{path}: missing: the run is not scored; run the same command with `tpbench eval`"
        ) from error
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


def load_report(folder: Path) -> tuple[ScoreReport, str]:
    """Return the scores of a run, and their digest.

    Args:
        folder: of the run.

    Raises:
        SubmissionError: they are absent, of another version, broken, or were changed.
    """
    path = folder / SCORES_NAME
    content = read_scores(path)
    # Defaults of fields that older scores don't have; `verify` reports what is missing.
    older = {"statistics": 1, "frames_sha256": ""}
    try:
        return _REPORT.validate_python(older | content), str(content["digest"])
    except ValidationError as error:
        # The digest is right, so the file is not damaged: another program wrote it.
        raise SubmissionError(
            f"{path}: no scores as tpbench writes them ({first_problem(error)})"
        ) from error


def write_frames(path: Path, records: Iterable[ClipMeasurement], columns: Sequence[str]) -> None:
    """Write `clip_id`, `frame` and the columns as they were measured, clip by clip.

    `frame` is the index in the clip: it begins with 1 if frame 0 was not scored. NaN stays NaN:
    not measured on that frame.

    Args:
        path: of the file; an older one is replaced.
        records: in the order of the rows.
        columns: per-frame columns, each in every record.
    """
    import pyarrow as pa
    from pyarrow import parquet

    names = sorted(columns)
    schema = pa.schema(
        [
            ("clip_id", pa.dictionary(pa.int32(), pa.string())),
            ("frame", pa.int32()),
            *((name, pa.float64()) for name in names),
        ]
    )
    with atomic_write(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for record in records:
            frames = np.arange(record.n_frames, dtype=np.int32) + record.first_frame
            clip_ids = pa.DictionaryArray.from_arrays(
                np.zeros(record.n_frames, dtype=np.int32), [record.clip_id]
            )
            arrays = [pa.array(record.columns[name], from_pandas=False) for name in names]
            table = pa.Table.from_arrays([clip_ids, pa.array(frames), *arrays], schema=schema)
            writer.write_table(table)
