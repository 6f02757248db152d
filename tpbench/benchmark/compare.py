"""`compare_runs`: two runs on the same clips, metric by metric and clip by clip."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from tpbench.benchmark.evaluation import json_numbers
from tpbench.benchmark.leaderboard.agreement import what_to_do
from tpbench.benchmark.leaderboard.model import HEADLINE
from tpbench.benchmark.leaderboard.scores import load_report
from tpbench.benchmark.run_folder import Run
from tpbench.errors import SubmissionError
from tpbench.metrics.bootstrap import paired_difference
from tpbench.metrics.protocols import as_pooled
from tpbench.metrics.registry import METRICS, metric_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from tpbench.metrics.registry import MetricRow
    from tpbench.metrics.scoring.report import ScoreReport

WORST: Final = 3
"""Clips that are named for a metric."""

Better = Literal["a", "b"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison:
    """One metric of two runs."""

    metric: str
    direction: str
    unit: str

    a: float
    """Value of the first run, of all clips it has; NaN: not measured."""

    b: float

    difference: float
    """First minus second: mean over the clips that both have; of what all clips give together, the
    difference of the two values, and NaN if the two are of different clips."""

    low: float | None
    """Lower end of the difference's 95 % interval over identities; None: `reason` says why."""

    high: float | None

    better: Better | None
    """The run that is better by more than chance makes; None: neither, or it can't be told."""

    n_clips: int
    """Clips that the difference is made from."""

    n_identities: int
    reason: str | None
    """Why there is no difference, or no interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipLoss:
    """A clip on which the first run is worse than the second."""

    metric: str
    clip_id: str
    a: float
    b: float

    loss: float
    """By how much it is worse; above 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs, side by side."""

    a: Run
    b: Run
    metrics: Mapping[str, MetricComparison]
    """In the protocol's order."""

    worst: Mapping[str, tuple[ClipLoss, ...]]
    """By headline metric: the clips on which the first run loses most, the greatest loss first."""

    n_common: int
    """Clips that both have scores of."""

    n_unpaired: int
    """Clips that only one has scores of; they are in no difference."""

    def table(self) -> pd.DataFrame:
        """Return one row per metric."""
        import pandas as pd

        rows = [asdict(found) for found in self.metrics.values()]
        table = pd.DataFrame(rows).set_index("metric")
        return table.astype(dict.fromkeys(("low", "high"), "float64"))

    def to_json(self) -> dict[str, Any]:
        """Return all as JSON: NaN is null, infinity is "inf"."""
        content = {
            "a": _about(self.a),
            "b": _about(self.b),
            "n_common": self.n_common,
            "n_unpaired": self.n_unpaired,
            "metrics": {name: asdict(found) for name, found in self.metrics.items()},
            "worst": {name: [asdict(loss) for loss in found] for name, found in self.worst.items()},
        }
        found: dict[str, Any] = json_numbers(content)
        return found


def compare_runs(a: Path | str, b: Path | str) -> Comparison:
    """Compare two scored runs of one task, protocol and dataset.

    What makes one clip harder than another is in both runs and cancels: they can differ surely
    although their own intervals overlap. With a target, better is what is nearer to it, clip by
    clip.

    Args:
        a: folder of a run.
        b: folder of the other.

    Raises:
        SubmissionError: there is no scored run, it was tampered with, the two are one, or they
            differ in task, protocol, dataset, split, or a metric's version; the line says which.
    """
    first, second = Run.open(Path(a)), Run.open(Path(b))
    if first.folder.path.resolve() == second.folder.path.resolve():
        msg = f"{a} and {b} are the same run: nothing to compare"
        raise SubmissionError(msg)
    reports = load_report(first.folder.path)[0], load_report(second.folder.path)[0]
    if first.info.identity() == second.info.identity():
        msg = f"{a} and {b} are copies of the same run, or the same run made twice: model, options "
        msg += "and seed are equal"
        raise SubmissionError(msg)
    _require_same_conditions((first, second), reports)
    names = [name for name in reports[0].metrics if name in reports[1].metrics]
    clips = [set(report.clips) for report in reports]
    return Comparison(
        a=first,
        b=second,
        metrics={
            name: _compared(as_pooled(METRICS[name], reports[0].protocol), *reports)
            for name in names
        },
        worst={name: _worst(METRICS[name], *reports) for name in names if _is_headline(name)},
        n_common=len(clips[0] & clips[1]),
        n_unpaired=len(clips[0] ^ clips[1]),
    )


def _require_same_conditions(
    runs: tuple[Run, Run], reports: tuple[ScoreReport, ScoreReport]
) -> None:
    ours, theirs = (_conditions(run, report) for run, report in zip(runs, reports, strict=True))
    apart = [
        f"{what} ({ours.get(what, 'none')} and {theirs.get(what, 'none')})"
        for what in {**ours, **theirs}
        if ours.get(what) != theirs.get(what)
    ]
    if apart:
        more = f" and {len(apart) - WORST} more" if len(apart) > WORST else ""
        one, other = (run.folder.path for run in runs)
        msg = f"{one} and {other} can't be compared: they differ in "
        msg += "; ".join(apart[:WORST]) + more
        msg += what_to_do(reports[0].protocol, reports[1].protocol)
        raise SubmissionError(msg)
    for name, score in reports[0].metrics.items():
        if metric_at(name, score.version) is None:
            msg = f"{runs[0].folder.path}: {name} was scored by version {score.version}, which "
            msg += "this tpbench does not have; score both runs again"
            raise SubmissionError(msg)


def _conditions(run: Run, report: ScoreReport) -> dict[str, str]:
    """Return what has to be equal, in words."""
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
    ours, theirs = a.metrics[row.id], b.metrics[row.id]
    difference, low, high = math.nan, None, None
    n_clips, n_identities = 0, 0
    better: Better | None = None
    reason = ours.reason or theirs.reason
    measured = ours.status == theirs.status == "measured"
    if measured and row.reduction == "set" and a.clips.keys() != b.clips.keys():
        reason = "all clips together give one value, and the runs have scores of different clips"
    elif measured and row.reduction == "set":
        difference = _apart(ours.value, theirs.value)
        n_clips = min(ours.n_clips, theirs.n_clips)
        reason = reason or "all clips together give one value: no interval"
    elif measured:
        identities = _identities(a, b)
        values = _values(row, a), _values(row, b)
        found = paired_difference(*values, identities).difference
        difference, low, high = found.mean, found.interval.low, found.interval.high
        n_clips, n_identities = found.n_used, found.interval.n_identities
        reason = found.interval.reason
        better = _better(row, values, identities)
    return MetricComparison(
        metric=row.id,
        direction=row.direction,
        unit=row.unit,
        a=ours.value,
        b=theirs.value,
        difference=difference,
        low=low,
        high=high,
        better=better,
        n_clips=n_clips,
        n_identities=n_identities,
        reason=reason,
    )


def _better(
    row: MetricRow,
    values: tuple[Mapping[str, float], Mapping[str, float]],
    identities: Mapping[str, str] | None,
) -> Better | None:
    """Return which run's values are better, if 0 is outside the interval of the difference."""
    if row.direction == "none":
        return None
    losses = [{clip: _badness(row, value) for clip, value in each.items()} for each in values]
    interval = paired_difference(losses[0], losses[1], identities).difference.interval
    if interval.low is None or interval.high is None or interval.low <= 0 <= interval.high:
        return None
    return "a" if interval.high < 0 else "b"


def _worst(row: MetricRow, a: ScoreReport, b: ScoreReport) -> tuple[ClipLoss, ...]:
    ours, theirs = _values(row, a), _values(row, b)
    losses = [
        ClipLoss(
            metric=row.id,
            clip_id=clip,
            a=ours[clip],
            b=theirs[clip],
            loss=_apart(_badness(row, ours[clip]), _badness(row, theirs[clip])),
        )
        for clip in sorted(ours.keys() & theirs.keys())
    ]
    real = [found for found in losses if found.loss > 0]
    return tuple(sorted(real, key=lambda found: -found.loss)[:WORST])


def _is_headline(name: str) -> bool:
    row = METRICS[name]
    return name in HEADLINE and row.reduction != "set" and row.direction != "none"


def _values(row: MetricRow, report: ScoreReport) -> dict[str, float]:
    return {
        clip_id: clip.values[row.id]
        for clip_id, clip in report.clips.items()
        if row.id in clip.values
    }


def _identities(a: ScoreReport, b: ScoreReport) -> dict[str, str] | None:
    """Return who is seen in the common clips; None if that is not known of all."""
    common = {clip: a.clips[clip].identity for clip in a.clips.keys() & b.clips.keys()}
    known = {clip: name for clip, name in common.items() if name is not None}
    return known if len(known) == len(common) else None


def _badness(row: MetricRow, value: float) -> float:
    """Return a number that is the greater the worse a value is."""
    if row.direction == "target":
        return abs(value - (row.target or 0.0))
    return value if row.direction == "lower" else -value


def _apart(one: float, other: float) -> float:
    """Return one minus other; 0 for equal infinities."""
    return 0.0 if one == other else one - other


def _about(run: Run) -> dict[str, Any]:
    return {"run": str(run.folder.path), "model": run.info.model.name, "seed": run.info.seed}
