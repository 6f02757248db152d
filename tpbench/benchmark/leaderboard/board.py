"""The content of a leaderboard, and which models are best: only by significant differences."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from tpbench.baselines.registry import ReportedValue
from tpbench.benchmark.judging import badness, identity_sums, with_value
from tpbench.benchmark.leaderboard.collect import LeftOut, Verified
from tpbench.benchmark.paper_table import headline_shown
from tpbench.benchmark.run_info import DatasetStamp, TaskStamp
from tpbench.errors import number_of
from tpbench.metrics.bootstrap import Estimate
from tpbench.metrics.joint_test import MIN_IDENTITIES, worse_than_some
from tpbench.metrics.registry import MetricRow
from tpbench.metrics.scoring.report import MetricScore

RowKind = Literal["measured", "anchor"]
"""anchor: calibrates the metrics, and is never best."""
Mark = Literal["best", "tied"]
"""tied: not significantly worse than the best."""
ANCHORS: Final = ("frozen", "gt-reencode", "oracle")
"""Models that belong in every table, in this order."""
MIN_SHARE: Final = 0.9
"""A row is judged if it has a value for at least this share of the clips with any value."""
MIN_COMMON_SHARE: Final = 0.5
"""No row is best if the clips for which all judged rows have a value are a smaller share."""
METHOD: Final = (
    "Marked for each metric: the best model, and all that no other is significantly better than. "
    "All pairs of models are tested jointly, by the distribution of the greatest difference under "
    "sign flips over identities (step-down), so that among equal models at most 5 % of columns "
    "name a loser, however many models there are; each column is tested separately. Only clips for "
    "which all judged models have a value count; a model with a value in fewer than "
    f"{100 * MIN_SHARE:.0f} % of them is not judged. Metrics with a target are judged by each "
    "clip's distance to it; an infinite PSNR counts as 100 dB."
)
"""How marks are assigned, for readers of a table."""
_NONE_WORSE: Final = "no model can be called worse than another"
_NO_OTHER_MODEL: Final = "fewer than two complete models have a value: nothing to compare"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRun:
    """One run of a row: a model with one seed."""

    seed: int
    folder: Path
    """Folder of the run, absolute. `folder / "frames.parquet"` has the per-frame values."""
    digest: str
    """sha256 over the run's identity and the digest of its scores; see `collect.run_digest`."""
    scores_digest: str
    verified: Verified
    claimed: Verified
    """Level that `verified.json` in the run claims for these scores."""
    date: str
    """Day on which its last clip was generated, ISO 8601; empty if not known."""
    n_scored: int
    """Clips with scores."""
    failed: Mapping[str, str]
    """By clip without scores: the reason."""
    previews: Mapping[str, str]
    """By clip: sha256 of the preview, from its record."""
    real_previews: Mapping[str, str] = field(default_factory=dict)
    """By clip, of a scored folder: sha256 of the preview of the real clip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model: all of its seeds."""

    id: str
    """`id`, `id:variant`, `package.module:Class` or any other name; one line, without control
    characters, else as the user gave it: never to be trusted as markup."""
    display_name: str
    """Name shown to readers; not to be trusted as markup either."""
    kind: RowKind
    description: str
    """One line; empty for the user's own models."""
    url: str
    """Home of its code; this and the next two are empty if not known, and not to be trusted."""
    paper_url: str
    weights_url: str
    scores: Mapping[str, MetricScore]
    """By metric, all of the leaderboard's, in its order; over all seeds (see `seeds`)."""
    distances: Mapping[str, Estimate]
    """For measured metrics with a target, which are judged by it: mean over clips of
    |value - target|, not the distance of the mean."""
    values: Mapping[str, Mapping[str, float]]
    """By metric with values per clip, then by clip: mean over seeds. NaN: not measured."""
    badness: Mapping[str, Mapping[str, float]]
    """By metric with values per clip, then by clip: mean badness over seeds (see `judging`), larger
    is worse. NaN: not measured; absent: the clip has no scores."""
    runs: tuple[SeedRun, ...]
    """By seed."""
    n_clips: int
    """Clips with scores from at least one seed."""
    n_identities: int
    """Number of identities in these clips."""
    coverage: float
    """Share of expected clips that are scored, over all seeds; in [0, 1]."""
    params_b: float | None
    """Parameters in billions."""
    gen_fps: float | None
    """Generated frames per second of one worker, over all seeds; None for what copies frames."""
    peak_gpu_gb: float | None
    """Peak memory of torch on one GPU, in 10^9 bytes."""
    hardware: str
    """Processor or GPUs that generated the clips."""
    code: str
    """Versions of tpbench that generated the clips."""
    licence_code: str
    """"not stated" if unknown."""
    licence_weights: str
    """"no weights" if there are none."""
    run_digest: str
    """Digest of its only run, or sha256 over the digests of its runs."""
    verified: Verified
    """Lowest level of its runs."""
    claimed: Verified
    """Lowest level that its runs claim for themselves."""
    date: str
    """Latest date of its runs."""
    command: str | None
    """Command that generates it again, with DATASET (and WEIGHTS) for folders; None for a model
    that was given as a Python object."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of its runs."""
        return tuple(run.seed for run in self.runs)

    def spread(self, metric_id: str) -> float | None:
        """Return the standard deviation of a metric over seeds (n - 1); None for one seed."""
        return self.scores[metric_id].details.get("spread") if len(self.runs) > 1 else None

    @property
    def complete(self) -> bool:
        """Whether every expected clip was scored with every seed."""
        return self.coverage == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The best rows for one metric, and those tied with them."""

    best: tuple[str, ...] = ()
    """Rows with the best value; empty if there is no best: see `reason`."""
    tied: tuple[str, ...] = ()
    """Rows that no other is significantly better than."""
    reason: str | None = None
    """Why there is no best, or why ties were not judged; None if both were."""
    notes: tuple[str, ...] = ()
    """Remarks: rows that were not judged, and the clips used for the others."""
    means: Mapping[str, float] = field(default_factory=dict, compare=False)
    """By row with a value for all judged clips: its mean badness over them, larger is worse. Rows
    without such a mean can't be ranked with the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipInfo:
    """One clip of the task."""

    id: str
    """Id in scores, records and previews."""
    identity: str | None
    """None if not known."""
    n_frames: int
    """Scored frames."""
    reference_clip: str
    """The clip of the dataset whose first frame is the reference."""
    driving_clip: str
    """The clip of the dataset that gives the driving poses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """Finished runs of one task, protocol and dataset."""

    task: TaskStamp
    dataset: DatasetStamp
    protocol: Mapping[str, Any]
    """All settings of the protocol, as in the scores. Its id ends in "+custom" if the metrics are
    not the protocol's own."""
    policies: Mapping[str, Any]
    """Treatment of clips that did not fit; `first_frame`: earlier frames were not scored."""
    data: Path | None
    """Folder of the dataset, as given by the user who builds the leaderboard, never taken from a
    run; None: not given."""
    metrics: tuple[MetricRow, ...]
    """In the protocol's order."""
    rows: tuple[Row, ...]
    """Models by display name, then the anchors. The order is not a ranking."""
    marks: Mapping[str, Marks]
    """By metric, all of them."""
    clips: tuple[ClipInfo, ...]
    """All clips with scores in any run, by id."""
    missing_anchors: Mapping[str, str]
    """By missing anchor: the command that generates it."""
    reported: tuple[ReportedValue, ...]
    """Published numbers, on other test sets; never to be ranked with the rows."""
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    """Remarks, one sentence each."""
    how_to_report: str = ""
    """What a paper has to say of these numbers; see `how_to_report`."""

    @property
    def filled(self) -> tuple[MetricRow, ...]:
        """Metrics with a value in any row."""
        return tuple(
            metric
            for metric in self.metrics
            if not all(math.isnan(row.scores[metric.id].value) for row in self.rows)
        )

    @property
    def overview(self) -> tuple[MetricRow, ...]:
        """The protocol's headline, without metrics that are blank in every row."""
        by_id = {metric.id: metric for metric in self.filled}
        settings = {**self.protocol, "metrics": [metric.id for metric in self.metrics]}
        return tuple(by_id[name] for name in headline_shown(settings, by_id) if name in by_id)

    @property
    def has_marks(self) -> bool:
        """Whether any value is marked as best."""
        return any(marks.best for marks in self.marks.values())

    @property
    def marking(self) -> str:
        """How values were marked, or the most frequent reason why none is."""
        if self.has_marks:
            return METHOD
        reasons = Counter(self.marks[metric.id].reason for metric in self.filled)
        why = "".join(f": {reason}" for reason, _ in reasons.most_common(1) if reason)
        return f"No value is marked as best{why}."

    def rank(self, row: Row, metric: MetricRow) -> float | None:
        """Return the sort key of a row, the smallest being the best.

        This is the mean badness over the judged clips, or None for a row that lacks some of these
        and can't be ranked. If nothing is judged clip by clip, it is the badness of the value.
        """
        value, means = row.scores[metric.id].value, self.marks[metric.id].means
        if means:
            return means.get(row.id)
        return None if math.isnan(value) else badness(metric, value)

    def n_of_more(self, row: Row, metric: MetricRow) -> int | None:
        """Return the most clips with a value in any row; None if this row's has as many."""
        score = row.scores[metric.id]
        found = (other.scores[metric.id] for other in self.rows)
        most = max(other.n_clips + other.n_infinite for other in found)
        return most if score.n_clips < most and math.isfinite(score.value) else None

    def marked(self, row: Row) -> frozenset[str]:
        """Return the metrics at which a row is best or tied with the best."""
        return frozenset(name for name in self.marks if self.mark(row.id, name))

    def mark(self, row_id: str, metric_id: str) -> Mark | None:
        """Return whether a row is best at a metric or tied with the best; None: neither."""
        marks = self.marks[metric_id]
        if row_id in marks.best:
            return "best"
        return "tied" if row_id in marks.tied else None


def marks_of(metric: MetricRow, rows: Sequence[Row], identities: Mapping[str, str | None]) -> Marks:
    """Return which rows are best at a metric, and which are not significantly worse.

    Not judged are anchors, incomplete rows, and rows that lack the metric for more than a tenth of
    the clips with a value in any row, as the missing clips may be the hard ones. The others are
    judged on the clips for which all of them have a value (see `judging`). The best row has the
    best mean over these clips. A row is tied with it unless some other row is significantly better,
    by a joint test of all pairs (`joint_test.worse_than_some`).

    Args:
        metric: the metric.
        rows: all of the table.
        identities: by clip; None if not known.
    """
    if metric.direction == "none":
        return Marks(reason="the metric has no direction: no value is better or worse")
    fit = [row for row in rows if row.kind == "measured" and row.complete]
    fit = [row for row in fit if not math.isnan(row.scores[metric.id].value)]
    if metric.reduction == "set":
        return _marks_of_sets(metric, fit)
    measured = {row.id: with_value(row.badness[metric.id]) for row in fit}
    anywhere = set().union(*measured.values())
    apart = {
        row.id: f"{row.display_name} is not judged: a value for only {len(measured[row.id])} of "
        f"{len(anywhere)} clips, and the missing ones may be the hard ones"
        for row in fit
        if len(measured[row.id]) < MIN_SHARE * len(anywhere)
    }
    fit = [row for row in fit if row.id not in apart]
    common = set.intersection(*(measured[row.id] for row in fit)) if fit else set()
    notes = list(apart.values())
    if fit and len(common) < len(anywhere):
        notes.append(
            f"judged on the {len(common)} of {len(anywhere)} clips that all judged models have"
        )
    best, tied, reason = _judged(metric, fit, common, identities)
    if not fit:
        common = set().union(*(with_value(row.badness[metric.id]) for row in rows))
    if len(common) < MIN_COMMON_SHARE * len(anywhere):
        best, tied, reason = (), (), "too few clips have a value from all models"
    return Marks(
        best=best,
        tied=tied,
        reason=reason,
        notes=tuple(notes),
        means=_means(metric, rows, common),
    )


def _means(metric: MetricRow, rows: Sequence[Row], clips: AbstractSet[str]) -> dict[str, float]:
    """Return the mean badness over these clips, for the rows with a value for all of them."""
    return {
        row.id: math.fsum(row.badness[metric.id][clip] for clip in clips) / len(clips)
        for row in rows
        if clips and clips <= with_value(row.badness[metric.id])
    }


def _marks_of_sets(metric: MetricRow, fit: Sequence[Row]) -> Marks:
    """Return the rows with the best value of all clips together; ties can't be judged."""
    most = max((row.scores[metric.id].n_clips for row in fit), default=0)
    notes = tuple(
        f"{row.display_name} is not judged: its value is from {row.scores[metric.id].n_clips} "
        f"clips, others are from {most}"
        for row in fit
        if row.scores[metric.id].n_clips < most
    )
    whole = [row for row in fit if row.scores[metric.id].n_clips == most]
    if len(whole) < 2:
        return Marks(reason=_NO_OTHER_MODEL, notes=notes)
    means = {row.id: badness(metric, row.scores[metric.id].value) for row in whole}
    best = tuple(name for name, value in means.items() if value == min(means.values()))
    reason = "all clips together give one value: ties can't be judged"
    return Marks(best=best, reason=reason if len(best) < len(whole) else None, notes=notes)


def _judged(
    metric: MetricRow,
    fit: Sequence[Row],
    clips: AbstractSet[str],
    identities: Mapping[str, str | None],
) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    """Return the best rows on these clips, the tied rows, and why these can't be determined."""
    if len(fit) < 2:
        return (), (), _NO_OTHER_MODEL
    means = _means(metric, fit, clips)
    best = tuple(name for name, value in means.items() if value == min(means.values()))
    if not means or len(best) == len(fit):
        return best, (), None
    known = {clip: name for clip in clips if (name := identities[clip]) is not None}
    n_identities = len(set(known.values()))
    if len(known) < len(clips):
        return (), (), f"the identities of the clips are not known: {_NONE_WORSE}"
    if n_identities < MIN_IDENTITIES:
        few = number_of(n_identities, "identity")
        reason = f"{few}, and {MIN_IDENTITIES} are needed to rule out luck"
        return (), (), f"{reason}: {_NONE_WORSE}"
    worse = worse_than_some(identity_sums([row.badness[metric.id] for row in fit], clips, known))
    tied = (row.id for row, is_worse in zip(fit, worse, strict=True) if not is_worse)
    return best, tuple(name for name in tied if name not in best), None
