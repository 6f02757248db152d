"""From runs that agree to the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tpbench.baselines.reported import load_reported
from tpbench.benchmark.leaderboard.agreement import require_agreement
from tpbench.benchmark.leaderboard.collect import Collection, ScoredRun
from tpbench.benchmark.leaderboard.command import DATASET, anchor_command
from tpbench.benchmark.leaderboard.model import (
    ANCHORS,
    ClipInfo,
    DatasetInfo,
    Leaderboard,
    ProtocolInfo,
    Row,
    TaskInfo,
)
from tpbench.benchmark.leaderboard.rows import rows_of
from tpbench.benchmark.leaderboard.seeds import identities_of
from tpbench.benchmark.leaderboard.ties import marks_of
from tpbench.benchmark.tasks import TASKS
from tpbench.metrics.registry import METRICS, RETIRED_PROTOCOLS, MetricRow, as_pooled, metric_at

_PAIR: Final = "__from__"
"""In the clip id of a pair of the task `cross`: `<driving>__from__<reference>`."""


def assemble(collection: Collection, *, data: Path | None = None) -> Leaderboard:
    """Return the leaderboard of the runs that were found.

    Args:
        collection: the runs.
        data: folder of their dataset, as the leaderboard's keeper names it.

    Raises:
        SubmissionError: the runs can't stand in one table.
    """
    runs = collection.runs
    require_agreement(runs)
    metrics = _metrics(runs[0])
    rows = rows_of(runs, metrics)
    identities = identities_of([run.report for run in runs])
    return Leaderboard(
        task=_task(runs[0]),
        protocol=_protocol(runs[0]),
        dataset=_dataset(runs[0], data),
        metrics=metrics,
        rows=rows,
        marks={metric.id: marks_of(metric, rows, identities) for metric in metrics},
        clips=_clips(runs),
        missing_anchors={
            anchor: anchor_command(anchor, runs[0]) for anchor in _missing_anchors(runs[0], rows)
        },
        reported=load_reported(),
        left_out=collection.left_out,
        notes=(*collection.notes, *_remarks(rows)),
    )


def commands_of_missing_anchors(collection: Collection, board: Leaderboard) -> dict[str, str]:
    """Return what to type on this machine to make the anchors that are not there."""
    folder = board.dataset.folder
    data = DATASET if folder is None else str(folder)
    like = collection.runs[0]
    return {anchor: anchor_command(anchor, like, data=data) for anchor in board.missing_anchors}


def _metrics(run: ScoredRun) -> tuple[MetricRow, ...]:
    """Return the columns: in the protocol's order, or the registry's if they were chosen.

    Each as it was in the version that the run was scored by, and as its protocol pools it.
    """
    scores = run.report.metrics
    chosen = "+" in str(run.report.protocol["id"])
    rows = (metric_at(name, scores[name].version) for name in scores)
    settings = run.report.protocol
    found = {row.id: as_pooled(row, settings) for row in rows if row is not None}
    order = [name for name in METRICS if name in found] if chosen else list(found)
    return tuple(found[name] for name in order)


def _missing_anchors(run: ScoredRun, rows: Sequence[Row]) -> list[str]:
    """Return the anchors that are not there and can still be made."""
    if run.info.task.protocol in RETIRED_PROTOCOLS:
        return []
    there = {row.id for row in rows if row.kind == "anchor"}
    return [anchor for anchor in ANCHORS if anchor not in there]


def _remarks(rows: Sequence[Row]) -> list[str]:
    return [
        f"{row.id}: coverage {row.coverage:.3f}: values are those of the {row.n_clips} clips with "
        "scores, and it takes no part in who is best"
        for row in rows
        if not row.complete
    ]


def _task(run: ScoredRun) -> TaskInfo:
    task = run.info.task
    rule = TASKS.get(task.id.partition(".")[0])
    return TaskInfo(
        id=task.id,
        version=task.version,
        min_frames=task.min_frames,
        description="" if rule is None else rule.description,
    )


def _protocol(run: ScoredRun) -> ProtocolInfo:
    settings = run.report.protocol
    return ProtocolInfo(
        id=str(settings["id"]),
        version=int(settings["version"]),
        digest=str(settings["digest"]),
        title=str(settings["title"]),
        settings=settings,
        policies=run.report.policies,
    )


def _dataset(run: ScoredRun, data: Path | None) -> DatasetInfo:
    dataset = run.info.dataset
    return DatasetInfo(
        name=dataset.name,
        digest=dataset.digest,
        split=dataset.split,
        n_clips=dataset.n_clips,
        n_identities=dataset.n_identities,
        n_too_short=len(dataset.left_out),
        folder=data,
    )


def _clips(runs: Sequence[ScoredRun]) -> tuple[ClipInfo, ...]:
    crossed = runs[0].info.task.id.partition(".")[0] == "cross"
    found = {clip_id: scores for run in runs for clip_id, scores in run.report.clips.items()}
    clips = []
    for clip_id in sorted(found):
        driving, reference = clip_id, clip_id
        if crossed:
            driving, _, reference = clip_id.partition(_PAIR)
        clips.append(
            ClipInfo(
                id=clip_id,
                identity=found[clip_id].identity,
                n_frames=found[clip_id].n_frames,
                reference_clip=reference,
                driving_clip=driving,
            )
        )
    return tuple(clips)
