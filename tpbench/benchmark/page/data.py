"""What the page shows, as JSON values: the leaderboard, its curves, and where its videos lie."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from tpbench import __version__
from tpbench.baselines.registry import ReportedValue
from tpbench.benchmark.leaderboard.board import HEADLINE, Leaderboard, Row
from tpbench.benchmark.leaderboard.ties import METHOD
from tpbench.benchmark.page.curves import Curves
from tpbench.benchmark.page.media import ClipMedia
from tpbench.benchmark.tasks import TASKS
from tpbench.metrics.registry import FAMILIES, MetricRow
from tpbench.metrics.scoring.report import MetricScore

FAMILY_TITLES: Final = {
    "pixels": "Pixels",
    "features": "Features",
    "motion": "Motion and colour",
    "regions": "Face and hands",
    "pose": "Pose",
    "drift": "Drift over the clip",
    "disco": "DisCo's variants",
}


def page_data(
    leaderboard: Leaderboard, curves: Curves, media: Mapping[str, ClipMedia]
) -> dict[str, Any]:
    """Return all that the page shows. Numbers are unrounded; infinity is "inf", NaN is null."""
    present = {row.family for row in leaderboard.metrics}
    protocol = leaderboard.protocol
    rule = TASKS.get(leaderboard.task.id.partition(".")[0])
    first = int(leaderboard.policies.get("first_frame", 0))
    return {
        "tool": __version__,
        "dataset": {
            "name": leaderboard.dataset.name,
            "digest": leaderboard.dataset.digest,
            "split": leaderboard.dataset.split,
            "n_clips": leaderboard.dataset.n_clips,
            "n_identities": leaderboard.dataset.n_identities,
            "n_too_short": len(leaderboard.dataset.left_out),
        },
        "task": {
            "id": leaderboard.task.id,
            "version": leaderboard.task.version,
            "description": rule.description if rule else "",
        },
        "protocol": {
            "id": str(protocol["id"]),
            "version": int(protocol["version"]),
            "digest": str(protocol["digest"]),
            "title": str(protocol["title"]),
            "quirks": list(protocol.get("quirks", ())),
            "first_frame": first,
        },
        "families": [
            {"id": name, "title": FAMILY_TITLES[name]} for name in FAMILIES if name in present
        ],
        "marks": METHOD,
        "metrics": [_metric(row, leaderboard) for row in leaderboard.metrics],
        "models": [_model(row, leaderboard) for row in leaderboard.rows],
        "notices": _notices(leaderboard),
        "curves": {
            "metrics": [row.id for row in curves.metrics],
            "window": curves.window,
            "clips": list(curves.clips_per_window),
            "means": curves.means,
        },
        "clips": [
            {
                "id": clip.id,
                "identity": clip.identity,
                "reference_clip": clip.reference_clip,
                "driving_clip": clip.driving_clip,
                "n_frames": clip.n_frames + first,
                "fps": media[clip.id].fps,
                "reference": media[clip.id].reference,
                "pose": media[clip.id].pose,
                "real": media[clip.id].real,
                "generated": dict(media[clip.id].generated),
                **curves.clips[clip.id],
            }
            for clip in leaderboard.clips
        ],
        "reported": _reported(leaderboard),
    }


def _metric(row: MetricRow, leaderboard: Leaderboard) -> dict[str, Any]:
    names = ("id", "version", "title", "family", "direction", "target", "unit")
    prose = ("definition", "formula", "source", "pitfalls")
    return {
        **{name: getattr(row, name) for name in (*names, *prose)},
        "headline": row.id in HEADLINE,
        "ties": leaderboard.marks[row.id].reason,
        "judged": list(leaderboard.marks[row.id].notes),
    }


def _model(row: Row, leaderboard: Leaderboard) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.display_name,
        "kind": row.kind,
        "description": row.description,
        "url": row.url,
        "n_clips": row.n_clips,
        "coverage": row.coverage,
        "failed": _failed(row),
        "seeds": list(row.seeds),
        "params_b": row.params_b,
        "gen_fps": row.gen_fps,
        "peak_gpu_gb": row.peak_gpu_gb,
        "hardware": row.hardware,
        "code": row.code,
        "licence_code": row.licence_code,
        "licence_weights": row.licence_weights,
        "run_digest": row.run_digest,
        "verified": row.verified,
        "claimed": row.claimed,
        "date": row.date,
        "command": row.command,
        "cells": {metric.id: _cell(leaderboard, row, metric) for metric in leaderboard.metrics},
    }


def _failed(row: Row) -> list[str]:
    many = len(row.runs) > 1
    return [
        f"{clip}{f' (seed {run.seed})' if many else ''}: {reason}"
        for run in row.runs
        for clip, reason in sorted(run.failed.items())
    ]


def _cell(leaderboard: Leaderboard, row: Row, metric: MetricRow) -> dict[str, Any]:
    """Return a cell without what is blank in it.

    `rank` is what the column is sorted by; `of` stands beside n where another row has more clips.
    """
    score, distance = row.scores[metric.id], row.distances.get(metric.id)
    content = {
        "value": _number(score.value),
        "low": _number_or_none(score.low),
        "high": _number_or_none(score.high),
        "level": score.level,
        "distance": distance.mean if distance else None,
        "distance_low": distance.interval.low if distance else None,
        "distance_high": distance.interval.high if distance else None,
        "rank": _number_or_none(leaderboard.rank(row, metric)),
        "n": score.n_clips,
        "of": leaderboard.n_of_more(row, metric),
        "mark": leaderboard.mark(row.id, metric.id),
        "notes": _notes(score, row.spread(metric.id)),
    }
    return {name: value for name, value in content.items() if value not in (None, [])}


def _notes(score: MetricScore, spread: float | None) -> list[str]:
    """Say what belongs to a value, a line each."""
    if math.isnan(score.value):
        return [score.reason or "not measured"]
    notes = []
    if score.low is not None and score.n_identities:
        notes.append(f"interval over {score.n_identities} identities")
    if score.interval_reason:
        notes.append(f"no interval: {score.interval_reason}")
    if spread is not None:
        notes.append(f"standard deviation over seeds: {spread:.4g}")
    # With the reason, where one is known for all of them.
    missing = "with nothing to measure"
    if score.missing_reason is not None:
        missing = f"without a value ({score.missing_reason})"
    left_out = (
        (score.n_infinite, "infinite"),
        (score.n_missing, missing),
        (score.n_too_short, "too short for it"),
    )
    if math.isfinite(score.value):
        notes += [f"left out: {_clips(number)} {why}" for number, why in left_out if number]
    if score.warning:
        notes.append(score.warning)
    return notes


def _notices(leaderboard: Leaderboard) -> list[dict[str, str]]:
    """Say what a reader must know before the table."""
    said = [{"text": note, "kind": "note"} for note in leaderboard.notes]
    if leaderboard.data is None:
        text = (
            "real clips and poses are not shown: they are with `leaderboard build --data DATASET`"
        )
        said.append({"text": text, "kind": "note"})
    said += [
        {"text": f"the anchor {name} is missing; make it with", "kind": "anchor", "command": line}
        for name, line in leaderboard.missing_anchors.items()
    ]
    return said + [
        {
            "text": f"{out.name}: {out.reason}",
            "kind": "left out",
        }
        for out in leaderboard.left_out
    ]


def _reported(leaderboard: Leaderboard) -> list[dict[str, Any]]:
    """Return published numbers, one table per place of a source and test set."""
    tables: dict[tuple[str, ...], dict[str, Any]] = {}
    for item in leaderboard.reported:
        key = (item.source_url, item.where, item.test_set, item.note)
        table = tables.setdefault(key, _reported_table(item))
        if item.metric not in [column["id"] for column in table["columns"]]:
            table["columns"].append(
                {"id": item.metric, "direction": item.direction, "unit": item.unit}
            )
        table["suspect"] = table["suspect"] or item.overflow_psnr
        table["rows"].setdefault(item.method, {})[item.metric] = _number(item.value)
    return list(tables.values())


def _reported_table(item: ReportedValue) -> dict[str, Any]:
    return {
        "title": item.source_title,
        "url": item.source_url,
        "where": item.where,
        "test_set": item.test_set,
        "note": item.note,
        "secondary": item.secondary,
        "suspect": False,
        "columns": [],
        "rows": {},
    }


def _clips(number: int) -> str:
    return f"{number} clip{'' if number == 1 else 's'}"


def _number_or_none(value: float | None) -> float | str | None:
    return None if value is None else _number(value)


def _number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")
