"""What a leaderboard holds, and who is best in it: never by a difference that chance can make."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from tpbench.baselines.registry import ReportedValue
from tpbench.benchmark.judging import badness, identity_sums, with_value
from tpbench.benchmark.leaderboard.collect import LeftOut, Verified
from tpbench.benchmark.run_info import DatasetStamp, TaskStamp
from tpbench.metrics.bootstrap import Estimate
from tpbench.metrics.joint_test import MIN_IDENTITIES, worse_than_some
from tpbench.metrics.registry import MetricRow
from tpbench.metrics.scoring.report import MetricScore

RowKind = Literal["measured", "anchor"]
"""anchor: calibrates the metrics, and takes no part in who is best."""
Mark = Literal["best", "tied"]
"""tied: not significantly worse than the best."""
ANCHORS: Final = ("frozen", "gt-reencode", "oracle")
"""The models that belong into every table, in the order in which they stand."""
HEADLINE: Final = (
    "psnr", "ssim", "lpips", "fid", "fvd", "tje_d2", "motion_ratio", "akd_hands", "pck_hands",
    "drift_psnr_slope",
)  # fmt: skip
"""Metrics to show first, where the protocol has them."""
MIN_SHARE: Final = 0.9
"""A row takes part if it has a value in this share of the clips that any row has one in."""
MIN_COMMON_SHARE: Final = 0.5
"""Nobody is best if all rows that take part have a value in a smaller share of these clips."""
METHOD: Final = (
    "Marks of a metric: the best, and all that no other is better than by more than chance makes. "
    "All pairs of models are judged together, by the greatest difference that sign flips over "
    "identities make among them (step-down), so that of equal models at most 5 % of columns name a "
    "loser, however many models there are; each column is judged by itself. Only clips of which "
    "all judged models have a value count; a model with a value in fewer than "
    f"{100 * MIN_SHARE:.0f} % of them is not judged. Metrics with a target are judged by each "
    "clip's distance to it; an infinite PSNR counts as 100 dB."
)
"""How marks are made, for readers of a table."""
_NOBODY_WORSE: Final = "nobody can be called worse than another"
_NOBODY_ELSE: Final = "fewer than two complete models have a value: nobody to be better than"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRun:
    """One run of a row: a model with one seed."""

    seed: int
    folder: Path
    """Of the run, absolute. `folder / "frames.parquet"` has the per-frame values."""
    digest: str
    """sha256 over what the run is and the digest of its scores; see `collect.run_digest`."""
    scores_digest: str
    verified: Verified
    claimed: Verified
    """What `verified.json` in the run says that its maker found of these scores."""
    date: str
    """Day on which its last clip was made, ISO 8601; empty if not known."""
    n_scored: int
    """Clips with scores."""
    failed: Mapping[str, str]
    """By clip without scores: why."""
    previews: Mapping[str, str]
    """By clip: sha256 of the video for looking at, as its record has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model: all of its seeds."""

    id: str
    """`id`, `id:variant`, `package.module:Class` or any other name; one line, without control
    characters, else as the user gave it: never to be trusted as markup."""
    display_name: str
    """For people; as little to be trusted."""
    kind: RowKind
    description: str
    """One line; empty for models of the user's own."""
    url: str
    scores: Mapping[str, MetricScore]
    """By metric, all of the leaderboard's, in its order; over all seeds (see `seeds`)."""
    distances: Mapping[str, Estimate]
    """Of measured metrics with a target, which are judged by it: mean over clips of
    |value - target|, not the distance of the mean."""
    badness: Mapping[str, Mapping[str, float]]
    """By metric, then by clip: what it is judged by, the greater the worse (see `judging`), mean
    over seeds. Metrics of all clips together are not in it; NaN where nothing was measured, absent
    where the clip has no scores."""
    runs: tuple[SeedRun, ...]
    """By seed."""
    n_clips: int
    """Clips with scores from at least one seed."""
    n_identities: int
    """Who is seen in these clips."""
    coverage: float
    """Scored over expected clips, over all seeds; in [0, 1]."""
    params_b: float | None
    """Parameters in billions."""
    gen_fps: float | None
    """Frames that one worker made a second, over all seeds."""
    peak_gpu_gb: float | None
    """The most that torch held on one GPU, in 10^9 bytes."""
    hardware: str
    """What it was made on: processor, or GPUs."""
    code: str
    """Versions of tpbench that made it."""
    licence_code: str
    """"not stated" where nobody says."""
    licence_weights: str
    """"no weights" where there are none."""
    run_digest: str
    """That of its only run, or the sha256 over those of its runs."""
    verified: Verified
    """The weakest of its runs."""
    claimed: Verified
    """By its maker; the weakest of its runs."""
    date: str
    """The latest of its runs."""
    command: str | None
    """What to type to make it again, with DATASET (and WEIGHTS) for folders; None for a model that
    was given as an object in Python."""

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
    """Who is best at one metric, and who may be as good."""

    best: tuple[str, ...] = ()
    """Rows with the best value; none if nobody can be said to be best: `reason` says why."""
    tied: tuple[str, ...] = ()
    """Rows that no other is better than by more than chance makes."""
    reason: str | None = None
    """Why there is no best, or why ties were not judged; None if both were."""
    notes: tuple[str, ...] = ()
    """What else has to be said: who was not judged, and on which clips the others were."""
    means: Mapping[str, float] = field(default_factory=dict, compare=False)
    """By row that has a value in all clips that were judged: its mean badness over them, the
    greater the worse. Whoever is not in it can't be ranked with those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipInfo:
    """One clip of the task."""

    id: str
    """Of the scores, the records and the previews."""
    identity: str | None
    """Who is seen; None if not known."""
    n_frames: int
    """Frames that were scored."""
    reference_clip: str
    """The clip of the dataset whose first frame is the reference."""
    driving_clip: str
    """The clip of the dataset whose pose drives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """Finished runs of one task, protocol and dataset."""

    task: TaskStamp
    dataset: DatasetStamp
    protocol: Mapping[str, Any]
    """How it was scored: all settings, as the scores have them. "+custom" stands behind its id
    where the metrics are not the protocol's own."""
    policies: Mapping[str, Any]
    """What became of clips that did not fit; `first_frame`: frames before it were not scored."""
    data: Path | None
    """Folder of the dataset, as the leaderboard's keeper named it; None: nobody did. Never what a
    run says."""
    metrics: tuple[MetricRow, ...]
    """In the protocol's order."""
    rows: tuple[Row, ...]
    """Measured ones by display name, then the anchors. The order ranks nobody."""
    marks: Mapping[str, Marks]
    """By metric, all of them."""
    clips: tuple[ClipInfo, ...]
    """All that anybody has scores of, by id."""
    missing_anchors: Mapping[str, str]
    """By anchor that is not in the table: the command that makes it."""
    reported: tuple[ReportedValue, ...]
    """What others published; on other test sets, never to be ranked with the rows."""
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    """What else has to be said, a sentence each."""

    def rank(self, row: Row, metric: MetricRow) -> float | None:
        """Return what rows are put in order by, the least first: the best.

        Of values per clip that is the mean badness over the clips that were judged; None for a row
        that lacks some of these: it can't be ranked with those that have all. Where nothing is
        judged clip by clip it is the badness of the value.
        """
        value, means = row.scores[metric.id].value, self.marks[metric.id].means
        if means:
            return means.get(row.id)
        return None if math.isnan(value) else badness(metric, value)

    def n_of_more(self, row: Row, metric: MetricRow) -> int | None:
        """Return in how many clips another row has a value, where this row's is made from fewer."""
        score = row.scores[metric.id]
        found = (other.scores[metric.id] for other in self.rows)
        most = max(other.n_clips + other.n_infinite for other in found)
        return most if score.n_clips < most and math.isfinite(score.value) else None

    def mark(self, row_id: str, metric_id: str) -> Mark | None:
        """Return whether a row is best at a metric, or as good as the best."""
        marks = self.marks[metric_id]
        if row_id in marks.best:
            return "best"
        return "tied" if row_id in marks.tied else None


def marks_of(metric: MetricRow, rows: Sequence[Row], identities: Mapping[str, str | None]) -> Marks:
    """Return which rows are best at a metric, and which are not significantly worse.

    Anchors take no part, nor do rows without all clips, nor those that lack the metric in more than
    a tenth of the clips in which another has it: those they lack may be the hard ones. The others
    are judged on the clips of which all of them have a value (see `judging`), and best is who has
    the best mean over these. A row is as good unless some other is better by more than chance
    makes, among all pairs at once (`joint_test.worse_than_some`).

    Args:
        metric: the metric.
        rows: all of the table.
        identities: by clip; None for a clip of which it is not known.
    """
    if metric.direction == "none":
        return Marks(reason="it judges nothing: there is no better or worse")
    fit = [row for row in rows if row.kind == "measured" and row.complete]
    fit = [row for row in fit if not math.isnan(row.scores[metric.id].value)]
    if metric.reduction == "set":
        return _marks_of_sets(metric, fit)
    measured = {row.id: with_value(row.badness[metric.id]) for row in fit}
    anywhere = set().union(*measured.values())
    apart = {
        row.id: f"{row.display_name} is not judged: a value in only {len(measured[row.id])} of "
        f"{len(anywhere)} clips, and those it lacks may be the hard ones"
        for row in fit
        if len(measured[row.id]) < MIN_SHARE * len(anywhere)
    }
    fit = [row for row in fit if row.id not in apart]
    common = set.intersection(*(measured[row.id] for row in fit)) if fit else set()
    notes = list(apart.values())
    if fit and len(common) < len(anywhere):
        notes.append(f"judged on the {len(common)} of {len(anywhere)} clips that all judged have")
    best, tied, reason = _judged(metric, fit, common, identities)
    if not fit:
        common = set().union(*(with_value(row.badness[metric.id]) for row in rows))
    if len(common) < MIN_COMMON_SHARE * len(anywhere):
        best, tied, reason = (), (), "too few clips have a value of all models"
    return Marks(
        best=best,
        tied=tied,
        reason=reason,
        notes=tuple(notes),
        means=_means(metric, rows, common),
    )


def _means(metric: MetricRow, rows: Sequence[Row], clips: AbstractSet[str]) -> dict[str, float]:
    """Return the mean badness over these clips of the rows that have all of them."""
    return {
        row.id: math.fsum(row.badness[metric.id][clip] for clip in clips) / len(clips)
        for row in rows
        if clips and clips <= with_value(row.badness[metric.id])
    }


def _marks_of_sets(metric: MetricRow, fit: Sequence[Row]) -> Marks:
    """Return who has the best value of all clips together; ties can't be judged."""
    most = max((row.scores[metric.id].n_clips for row in fit), default=0)
    notes = tuple(
        f"{row.display_name} is not judged: made from {row.scores[metric.id].n_clips} clips, and "
        f"others from {most}"
        for row in fit
        if row.scores[metric.id].n_clips < most
    )
    whole = [row for row in fit if row.scores[metric.id].n_clips == most]
    if len(whole) < 2:
        return Marks(reason=_NOBODY_ELSE, notes=notes)
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
    """Return who is best on these clips, who is tied, and why that can't be told."""
    if len(fit) < 2:
        return (), (), _NOBODY_ELSE
    means = _means(metric, fit, clips)
    best = tuple(name for name, value in means.items() if value == min(means.values()))
    if not means or len(best) == len(fit):
        return best, (), None
    known = {clip: name for clip in clips if (name := identities[clip]) is not None}
    n_identities = len(set(known.values()))
    others = tuple(name for name in means if name not in best)
    if len(known) < len(clips):
        return best, others, f"the identities of the clips are not known: {_NOBODY_WORSE}"
    if n_identities < MIN_IDENTITIES:
        reason = f"{n_identities} identities, and {MIN_IDENTITIES} are needed to rule out luck"
        return best, others, f"{reason}: {_NOBODY_WORSE}"
    worse = worse_than_some(identity_sums([row.badness[metric.id] for row in fit], clips, known))
    tied = (row.id for row, is_worse in zip(fit, worse, strict=True) if not is_worse)
    return best, tuple(name for name in tied if name not in best), None
