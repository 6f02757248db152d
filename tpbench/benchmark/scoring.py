"""Scoring a run in its own folder: what is held against what, and by which rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tpbench.errors import ConfigError, did_you_mean
from tpbench.metrics.protocols import protocol as protocol_named
from tpbench.metrics.registry import metric
from tpbench.metrics.scoring.pairing import Pair, Pairing
from tpbench.metrics.scoring.policies import Policies
from tpbench.metrics.scoring.run import ScoringSetting, score_pairs

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from tpbench.benchmark.bookkeeping import RunPlan
    from tpbench.benchmark.records import ClipRecord
    from tpbench.benchmark.run_folder import RunFolder
    from tpbench.benchmark.tasks import TaskClip, TaskRule
    from tpbench.dataset import Dataset
    from tpbench.metrics.protocols import Protocol
    from tpbench.metrics.scoring.driver import ProgressListener
    from tpbench.metrics.scoring.report import ScoreReport


def scoring_protocol(rule: TaskRule, name: str, metrics: Sequence[str] | None) -> Protocol:
    """Return a protocol, narrowed to the metrics asked for and to those that fit the task.

    Without a choice of metrics it keeps its name: what a task leaves out is part of the task.

    Raises:
        ConfigError: no such protocol or metric, a metric does not fit the task, or none is left.
    """
    whole = protocol_named(name)
    if metrics is not None:
        for metric_id in metrics:
            _require_fit(rule, metric_id)
        return whole.with_metrics(metrics)
    if rule.metrics is None:
        return whole
    fitting = tuple(name for name in whole.metrics if name in rule.metrics)
    if not fitting:
        msg = f"protocol '{whole.id}' has no metric for the task '{rule.id}', which has no ground "
        msg += f"truth; it allows {', '.join(rule.metrics)}"
        raise ConfigError(msg)
    return replace(whole, metrics=fitting)


def policies_of(rule: TaskRule, protocol: Protocol) -> Policies:
    """Return what becomes of clips that don't fit their real ones, and what is not scored."""
    return Policies(
        length=protocol.length,
        resize=protocol.resize,
        rate=protocol.rate,
        first_frame=rule.first_frame,
        shape="any" if protocol.squashes else "same",
    )


def pair_run(
    clips: Sequence[TaskClip],
    records: Mapping[str, ClipRecord],
    dataset: Dataset,
    folder: RunFolder,
    *,
    wanted: Collection[str],
) -> Pairing:
    """Lay the generated clips of a run beside the real ones.

    Expected are the clips that were asked for now, and all that were ever tried: of a partial run,
    coverage tells what failed, and not what nobody wanted yet.

    Args:
        clips: all of the run.
        records: by clip.
        dataset: has the real ones.
        folder: has the generated ones.
        wanted: ids that were asked for now.
    """
    expected = [clip for clip in clips if clip.clip_id in records or clip.clip_id in wanted]
    done = {name for name, record in records.items() if record.status == "done"}
    pairing = pair_clips([clip for clip in expected if clip.clip_id in done], dataset, folder)
    missing = tuple(clip.clip_id for clip in expected if clip.clip_id not in done)
    return replace(pairing, missing=missing)


def pair_clips(clips: Sequence[TaskClip], dataset: Dataset, folder: RunFolder) -> Pairing:
    """Lay the generated files of these clips beside the real ones."""
    return Pairing(
        pairs=tuple(
            Pair(
                clip_id=clip.clip_id,
                real=dataset.clip_path(clip.driving),
                generated=folder.generated(clip.clip_id),
                identity=clip.identity,
            )
            for clip in clips
        ),
        missing=(),
        extra=(),
    )


def score_run(
    plan: RunPlan,
    pairing: Pairing,
    *,
    out: Path,
    scoring: ScoringSetting,
    on_progress: ProgressListener | None = None,
) -> ScoreReport:
    """Score a run, and write `scores.json` and `frames.parquet` into `out`.

    Raises:
        ConfigError: another process scores into the folder, or no metric can be measured.
    """
    return score_pairs(
        pairing,
        out=out,
        setting=scoring,
        real=_about(plan),
        on_progress=on_progress,
    )


def same_conditions(report: ScoreReport, scoring: ScoringSetting) -> bool:
    """Whether a report was made by this protocol with these policies."""
    return (
        report.protocol.get("digest") == scoring.protocol.digest
        and dict(report.policies) == scoring.policies.to_json()
    )


def _require_fit(rule: TaskRule, metric_id: str) -> None:
    metric(metric_id)
    if rule.metrics is not None and metric_id not in rule.metrics:
        msg = (
            f"metric '{metric_id}' needs a ground truth, and the task '{rule.id}' has none"
            f"{did_you_mean(metric_id, rule.metrics)}"
        )
        raise ConfigError(msg)


def _about(plan: RunPlan) -> dict[str, Any]:
    return {
        "kind": "dataset",
        "name": plan.dataset.info.name,
        "digest": plan.dataset.digest,
        "split": plan.selection.split,
        "clips": plan.selection.digest,
        "task": plan.task,
    }
