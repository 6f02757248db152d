"""`compare_runs`: two runs on the same clips, metric by metric and clip by clip."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from tpbench.benchmark.how_to_report import how_to_report
from tpbench.benchmark.judging import (
    badness,
    counted,
    identity_sums,
    judged,
    quantity,
    with_value,
)
from tpbench.benchmark.leaderboard.collect import how_to_agree
from tpbench.benchmark.run_folder import Run
from tpbench.canonical import encoded
from tpbench.errors import SubmissionError, number_of
from tpbench.metrics.bootstrap import paired_difference
from tpbench.metrics.joint_test import MIN_IDENTITIES, differ
from tpbench.metrics.registry import MetricRow, as_pooled, headline_of, metric_at
from tpbench.metrics.scoring.report import MetricScore, ScoreReport, load_report
from tpbench.short_table import ShortTable, short_interval, short_number

if TYPE_CHECKING:
    import pandas as pd

WORST: Final = 3
"""Clips that are listed per metric."""
Better = Literal["a", "b"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison:
    """One metric of two runs."""

    metric: str
    label: str
    """Its name in papers."""
    direction: str
    arrow: str
    """Which values are better: "↑", "↓", "→ 1" (nearest to 1), or "" for neither."""
    unit: str
    quantity: str
    """What is compared: "value", or, for a metric with a target, the "distance to" it."""
    a: float
    """First run: mean of the quantity over the clips for which both runs have a value, or the value
    of all clips together. NaN: not measured in both runs, or from other clips: see `reason`."""
    b: float
    difference: float = math.nan
    """a minus b, of the same clips and the same quantity."""
    low: float | None = None
    """Lower end of the difference's 95 % interval over identities; None: see `reason`."""
    high: float | None = None
    value_a: float
    """First run: mean value over the same clips, also if `quantity` is the distance to a target."""
    value_b: float
    better: Better | None = None
    """The significantly better run, by the joint test of all judged metrics; None: neither, or not
    judged."""
    n_clips: int = 0
    """Clips behind a, b and the difference."""
    n_lacking_a: int = 0
    """Clips left out because only the first run has no value for them."""
    n_lacking_b: int = 0
    n_infinite: int = 0
    """Infinite values of both runs: in a, b and the difference they count as 100 dB (`judging`)."""
    n_identities: int = 0
    reason: str | None
    """Why there is no difference, or no interval."""

    @property
    def blank(self) -> bool:
        """Whether there is nothing to compare; `reason` says why."""
        return math.isnan(self.difference)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipLoss:
    """A clip on which the first run is worse than the second."""

    metric: str
    clip_id: str
    a: float
    b: float
    loss: float
    """How much worse it is; above 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs, metric by metric."""

    a: Run
    b: Run
    metrics: Mapping[str, MetricComparison]
    """In the protocol's order."""
    worst: Mapping[str, tuple[ClipLoss, ...]]
    """By headline metric: the clips on which the first run loses most, the greatest loss first."""
    n_common: int
    """Clips with scores in both runs."""
    n_unpaired: int
    """Clips with scores in one run only; they are in no mean and no difference."""
    n_judged: int
    """Metrics in the joint test for significance; 0: see `unjudged`."""
    unjudged: str | None
    """Why no metric was judged."""
    protocol: Mapping[str, Any]
    """The settings by which both were scored."""
    how_to_report: str
    """What a paper has to say of these numbers."""

    @property
    def names(self) -> tuple[str, str]:
        """Display names of the runs, with their seeds if the names are equal; not to be trusted."""
        names = self.a.info.model.full_name, self.b.info.model.full_name
        if names[0] != names[1]:
            return names
        seeds = self.a.info.seed, self.b.info.seed
        if seeds[0] != seeds[1]:
            return f"{names[0]}, seed {seeds[0]}", f"{names[1]}, seed {seeds[1]}"
        return f"{names[0]} (A)", f"{names[1]} (B)"

    def __repr__(self) -> str:
        """Return a few lines: the two runs, and the headline metrics of both."""
        return self._short().text()

    def _repr_html_(self) -> str:
        """Return the same as a table, for notebooks."""
        return self._short().html()

    def _short(self) -> ShortTable:
        shown = [
            (name, self.metrics[name])
            for name in headline_of(self.protocol)
            if name in self.metrics and not self.metrics[name].blank
        ]
        a, b = self.names
        return ShortTable(
            title=f"Comparison: A = {a}, B = {b}, {self.n_common} common clips",
            heads=("metric", "A", "B", "A - B", "95 % interval", "unit", "better"),
            rows=tuple(
                (
                    name if found.quantity == "value" else f"{name}, {found.quantity}",
                    short_number(found.a),
                    short_number(found.b),
                    short_number(found.difference),
                    short_interval(found.low, found.high),
                    found.unit,
                    (found.better or "").upper(),
                )
                for name, found in shown
            ),
            more=f"{len(shown)} of {len(self.metrics)} metrics; all metrics: .table()",
        )

    def table(self) -> pd.DataFrame:
        """Return one row per metric."""
        import pandas as pd

        rows = [asdict(found) for found in self.metrics.values()]
        table = pd.DataFrame(rows).set_index("metric")
        return table.astype(dict.fromkeys(("low", "high"), "float64"))

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON: NaN is null, infinity is "inf"."""
        content = {
            "a": _about(self.a),
            "b": _about(self.b),
            "n_common": self.n_common,
            "n_unpaired": self.n_unpaired,
            "n_judged": self.n_judged,
            "unjudged": self.unjudged,
            "how_to_report": self.how_to_report,
            "metrics": {name: asdict(found) for name, found in self.metrics.items()},
            "worst": {name: [asdict(loss) for loss in found] for name, found in self.worst.items()},
        }
        found: dict[str, Any] = encoded(content)
        return found


def compare_runs(a: Path | str, b: Path | str) -> Comparison:
    """Compare two scored runs of one task, protocol and dataset.

    Differences are taken clip by clip, so the difficulty of the clips cancels: runs can differ
    significantly although their own intervals overlap. A metric is compared over the clips for
    which both runs have a value, by the rules in `judging`: with a target, each clip's distance to
    it; an infinite PSNR as 100 dB.

    To allow for multiple comparisons, one test judges all metrics jointly. A run is better at a
    metric if its difference is significant by the distribution of the greatest difference of all
    metrics (`joint_test.differ`), and its interval excludes 0.

    Args:
        a: folder of a run.
        b: folder of the other.

    Raises:
        SubmissionError: a run is missing, not scored or tampered with, the two are the same run, or
            they differ in task, protocol, dataset, split, or a metric's version.
    """
    first, second = Run.open(Path(a)), Run.open(Path(b))
    if first.folder.path.resolve() == second.folder.path.resolve():
        raise SubmissionError(f"{a} and {b} are the same run: nothing to compare")
    loaded = load_report(first.folder.path), load_report(second.folder.path)
    reports = loaded[0][0], loaded[1][0]
    if first.info.identity() == second.info.identity():
        msg = f"{a} and {b} are copies of the same run, or the same run generated twice: model, "
        msg += "options and seed are equal"
        raise SubmissionError(msg)
    _require_same_conditions((first, second), reports)
    rows = [
        as_pooled(row, reports[0].protocol)
        for name, score in reports[0].metrics.items()
        if name in reports[1].metrics and (row := metric_at(name, score.version)) is not None
    ]
    clips = [set(report.clips) for report in reports]
    headline = headline_of(reports[0].protocol)
    compared = {row.id: _compared(row, *reports) for row in rows}
    better, unjudged = _better(rows, compared, reports)
    return Comparison(
        a=first,
        b=second,
        metrics={name: replace(one, better=better.get(name)) for name, one in compared.items()},
        worst={
            row.id: _worst(row, *reports)
            for row in rows
            if row.id in headline and row.reduction != "set" and row.direction != "none"
        },
        n_common=len(clips[0] & clips[1]),
        n_unpaired=len(clips[0] ^ clips[1]),
        n_judged=len(better),
        unjudged=unjudged,
        protocol=reports[0].protocol,
        how_to_report=how_to_report(
            reports,
            digests=[digest for _, digest in loaded],
            paired=True,
            has_intervals=any(one.low is not None for one in compared.values()),
        ),
    )


def _require_same_conditions(
    runs: tuple[Run, Run], reports: tuple[ScoreReport, ScoreReport]
) -> None:
    ours, theirs = (_conditions(run, report) for run, report in zip(runs, reports, strict=True))
    # Different protocols have different metrics; listing these adds nothing.
    same = ours["protocol"] == theirs["protocol"]
    apart = [
        f"{what} ({ours.get(what, 'none')} and {theirs.get(what, 'none')})"
        for what in {**ours, **theirs}
        if ours.get(what) != theirs.get(what) and (same or (what in ours and what in theirs))
    ]
    if apart:
        more = f" and {len(apart) - WORST} more" if len(apart) > WORST else ""
        one, other = (run.folder.path for run in runs)
        msg = f"{one} and {other} can't be compared: they differ in "
        msg += "; ".join(apart[:WORST]) + more
        msg += how_to_agree((runs[0], reports[0]), (runs[1], reports[1]))
        raise SubmissionError(msg)
    for name, score in reports[0].metrics.items():
        if metric_at(name, score.version) is None:
            msg = f"{runs[0].folder.path}: {name} was scored by version {score.version}, which "
            msg += "this tpbench does not have; score both runs again"
            raise SubmissionError(msg)


def _conditions(run: Run, report: ScoreReport) -> dict[str, str]:
    """Return the conditions that must be equal, as text."""
    task, dataset = run.info.task, run.info.dataset
    versions = {
        f"the version of {name}": str(score.version) for name, score in report.metrics.items()
    }
    return {
        "task": f"{task.id} v{task.version}",
        "dataset": f"{dataset.name} {dataset.digest[:12]}",
        "split": dataset.split,
        "clips": dataset.clips_digest[:12],
        "protocol": f"{report.protocol['id']} {report.protocol['digest'][:12]}",
        "policies": str(dict(report.policies)),
        **versions,
    }


def _compared(row: MetricRow, a: ScoreReport, b: ScoreReport) -> MetricComparison:
    """Return one metric of both runs; `better` is filled in later, by the joint test."""
    ours, theirs = a.metrics[row.id], b.metrics[row.id]
    found = MetricComparison(
        metric=row.id,
        label=row.label,
        direction=row.direction,
        arrow=row.arrow,
        unit=row.unit,
        quantity="value" if row.reduction == "set" else quantity(row),
        a=math.nan,
        b=math.nan,
        value_a=math.nan,
        value_b=math.nan,
        reason=_lacking(ours, theirs),
    )
    if not ours.status == theirs.status == "measured":
        return found
    if row.reduction != "set":
        return _of_clips(row, (_values(row, a), _values(row, b)), _identities(a, b), found)
    if math.isnan(ours.value) or math.isnan(theirs.value):
        return found
    if not _of_same_clips(row, a, b):
        reason = "all clips together give one value, and the runs have values of different clips"
        return replace(found, reason=reason)
    values = counted(ours.value), counted(theirs.value)
    return replace(
        found,
        a=values[0],
        b=values[1],
        value_a=values[0],
        value_b=values[1],
        difference=values[0] - values[1],
        n_clips=ours.n_clips,
        n_infinite=math.isinf(ours.value) + math.isinf(theirs.value),
        reason=found.reason or "all clips together give one value: no interval",
    )


def _lacking(ours: MetricScore, theirs: MetricScore) -> str | None:
    """Return why a run has no value, with its letter if the other one has a value."""
    if ours.reason and theirs.reason:
        return ours.reason
    for letter, score in (("A", ours), ("B", theirs)):
        if score.reason:
            return f"no value in {letter}: {score.reason}"
    return None


def _of_same_clips(row: MetricRow, a: ScoreReport, b: ScoreReport) -> bool:
    """Whether the values of all clips together are of the same clips in both runs."""
    if a.clips.keys() != b.clips.keys() or a.metrics[row.id].n_clips != b.metrics[row.id].n_clips:
        return False
    # Means over all frames have values per clip as well; those without one are in no mean.
    return with_value(_values(row, a)) == with_value(_values(row, b))


def _of_clips(
    row: MetricRow,
    values: tuple[Mapping[str, float], Mapping[str, float]],
    identities: Mapping[str, str] | None,
    empty: MetricComparison,
) -> MetricComparison:
    """Fill in the comparison over the clips for which both runs have a value."""
    has = with_value(values[0]), with_value(values[1])
    clips = sorted(has[0] & has[1])
    columns = [{clip: judged(row, each[clip]) for clip in clips} for each in values]
    interval = paired_difference(columns[0], columns[1], identities).interval
    a, b = (_mean(column.values()) for column in columns)
    plain = [_mean(counted(each[clip]) for clip in clips) for each in values]
    return replace(
        empty,
        a=a,
        b=b,
        difference=a - b,
        low=interval.low,
        high=interval.high,
        value_a=plain[0],
        value_b=plain[1],
        n_clips=len(clips),
        n_lacking_a=len(has[1] - has[0]),
        n_lacking_b=len(has[0] - has[1]),
        n_infinite=sum(math.isinf(each[clip]) for each in values for clip in clips),
        n_identities=interval.n_identities,
        reason=interval.reason if clips else "no clip has a value in both runs",
    )


def _mean(values: Iterable[float]) -> float:
    column = list(values)
    return math.fsum(column) / len(column) if column else math.nan


def _better(
    rows: Sequence[MetricRow],
    compared: Mapping[str, MetricComparison],
    reports: tuple[ScoreReport, ScoreReport],
) -> tuple[dict[str, Better | None], str | None]:
    """Return the better run by judged metric, or the reason why no metric is judged."""
    judged_rows = [
        row
        for row in rows
        if row.direction != "none" and row.reduction != "set" and compared[row.id].n_clips
    ]
    identities = _identities(*reports)
    if identities is None:
        return {}, "the identities of the clips are not known"
    n_identities = len(set(identities.values()))
    if n_identities < MIN_IDENTITIES:
        few = number_of(n_identities, "identity")
        return {}, f"{few}: at least {MIN_IDENTITIES} are needed to rule out luck"
    if not judged_rows:
        return {}, "no metric has a value per clip in both runs"
    losses = [_losses(row, *reports) for row in judged_rows]
    surely = differ(identity_sums(losses, identities, identities))
    better: dict[str, Better | None] = {}
    for row, is_sure in zip(judged_rows, surely, strict=True):
        one = compared[row.id]
        leaves_out_0 = one.low is None or one.high is None or not one.low <= 0 <= one.high
        a_is_less = (one.difference < 0) != (row.direction == "higher")
        better[row.id] = ("a" if a_is_less else "b") if is_sure and leaves_out_0 else None
    return better, None


def _losses(row: MetricRow, a: ScoreReport, b: ScoreReport) -> dict[str, float]:
    """Return how much worse the first run is, by clip for which both runs have a value."""
    ours, theirs = _values(row, a), _values(row, b)
    return {
        clip: badness(row, ours[clip]) - badness(row, theirs[clip])
        for clip in with_value(ours) & with_value(theirs)
    }


def _worst(row: MetricRow, a: ScoreReport, b: ScoreReport) -> tuple[ClipLoss, ...]:
    ours, theirs = _values(row, a), _values(row, b)
    losses = [
        ClipLoss(
            metric=row.id,
            clip_id=clip,
            a=counted(ours[clip]),
            b=counted(theirs[clip]),
            loss=loss,
        )
        for clip, loss in sorted(_losses(row, a, b).items())
        if loss > 0
    ]
    return tuple(sorted(losses, key=lambda found: -found.loss)[:WORST])


def _values(row: MetricRow, report: ScoreReport) -> dict[str, float]:
    return {
        clip_id: clip.values[row.id]
        for clip_id, clip in report.clips.items()
        if row.id in clip.values
    }


def _identities(a: ScoreReport, b: ScoreReport) -> dict[str, str] | None:
    """Return the identities of the common clips; None if not all are known."""
    common = {clip: a.clips[clip].identity for clip in a.clips.keys() & b.clips.keys()}
    known = {clip: name for clip, name in common.items() if name is not None}
    return known if len(known) == len(common) else None


def _about(run: Run) -> dict[str, Any]:
    return {"run": str(run.folder.path), "model": run.info.model.row_name, "seed": run.info.seed}
