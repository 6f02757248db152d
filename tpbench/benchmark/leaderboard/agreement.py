"""What runs must have in common to stand in one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tpbench.benchmark.leaderboard.collect import ScoredRun
from tpbench.errors import SubmissionError
from tpbench.metrics.registry import METRICS, RETIRED_PROTOCOLS, metric_at

_SHOWN = 3


def require_agreement(runs: Sequence[ScoredRun]) -> None:
    """Refuse runs of which no common table can be made.

    Raises:
        SubmissionError: two differ in task, protocol, dataset, split, or versions of metrics; a
            metric has another version than this tpbench's; or one model comes in two forms, or
            twice with one seed. The line names two runs and what differs.
    """
    first = runs[0]
    for other in runs[1:]:
        _require_same_conditions(first, other)
    _require_known_metrics(first)
    by_model: dict[str, ScoredRun] = {}
    by_seed: dict[tuple[str, int], ScoredRun] = {}
    for run in runs:
        name, seed = run.info.model.name, run.info.seed
        _require_same_form(by_model.setdefault(name, run), run)
        if (twin := by_seed.setdefault((name, seed), run)) is not run:
            raise SubmissionError(
                f"{twin.path} and {run.path} are both '{name}' with seed {seed}, and their results "
                "differ: leave one out"
            )


def _require_same_conditions(one: ScoredRun, other: ScoredRun) -> None:
    ours, theirs = _conditions(one), _conditions(other)
    differences = [
        f"{what} ({ours[what]} and {theirs[what]})" for what in ours if ours[what] != theirs[what]
    ]
    # Other protocols have other metrics in other versions: that need not be told one by one.
    if ours["protocol"] == theirs["protocol"]:
        differences += _metric_differences(one, other)
    if differences:
        raise SubmissionError(
            f"{one.path} and {other.path} can't stand in one table: they differ in "
            f"{'; '.join(differences)}{what_to_do(one.report.protocol, other.report.protocol)}"
        )


def _conditions(run: ScoredRun) -> Mapping[str, str]:
    """Return what has to be equal, in words; short, but telling apart what differs."""
    info, report = run.info, run.report
    task, dataset, protocol = info.task, info.dataset, report.protocol
    policies = ", ".join(f"{name} {value}" for name, value in sorted(report.policies.items()))
    return {
        "task": f"{task.id} v{task.version}, {task.min_frames} frames or more",
        "protocol": f"{protocol.get('id')} {_short(protocol.get('digest'))}",
        "policies": policies,
        "dataset": f"{dataset.name} {_short(dataset.digest)}",
        "split": dataset.split,
        "clips": f"{dataset.n_clips} clips {_short(dataset.clips_digest)}",
    }


def what_to_do(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return what to type where two runs were scored by two versions of a protocol, else nothing.

    Args:
        one: protocol of a run, as its scores have it.
        other: that of the other run.
    """
    (first, v1), (second, v2) = (
        (str(protocol.get("id")).partition("+")[0], protocol.get("version"))
        for protocol in (one, other)
    )
    now = RETIRED_PROTOCOLS.get(first, first)
    if (first, v1) == (second, v2) or now != RETIRED_PROTOCOLS.get(second, second):
        return ""
    return f": score the older one anew by protocol '{now}', or keep the two kinds apart"


def _metric_differences(one: ScoredRun, other: ScoredRun) -> Iterator[str]:
    """Yield versions that differ, and metrics that only one has."""
    ours = {name: score.version for name, score in one.report.metrics.items()}
    theirs = {name: score.version for name, score in other.report.metrics.items()}
    for name in sorted(ours.keys() & theirs.keys()):
        if ours[name] != theirs[name]:
            yield f"the version of {name} ({ours[name]} and {theirs[name]})"
    if alone := sorted(ours.keys() ^ theirs.keys()):
        more = f" and {len(alone) - _SHOWN} more" if len(alone) > _SHOWN else ""
        yield f"their metrics (only one has {', '.join(alone[:_SHOWN])}{more})"


def _require_known_metrics(run: ScoredRun) -> None:
    for name, score in run.report.metrics.items():
        if metric_at(name, score.version) is None:
            row = METRICS.get(name)
            known = "has no such metric" if row is None else f"has version {row.version}"
            raise SubmissionError(
                f"{run.path}: {name} was scored by version {score.version}, and this tpbench "
                f"{known}; score the run again"
            )


def _require_same_form(one: ScoredRun, other: ScoredRun) -> None:
    ours, theirs = one.info.model.configuration, other.info.model.configuration
    if ours == theirs:
        return
    keys = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
    raise SubmissionError(
        f"{one.path} and {other.path} are both '{one.info.model.name}', but differ in "
        f"{', '.join(keys)}: leave one out"
    )


def _short(digest: object) -> str:
    return str(digest)[:12]
