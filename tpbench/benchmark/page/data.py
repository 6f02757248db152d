"""What the page shows, as JSON values: the leaderboard, its curves, and where its videos lie."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from tpbench import __version__
from tpbench.baselines.reported import ReportedValue
from tpbench.benchmark.leaderboard.model import HEADLINE, Cell, Leaderboard, Row
from tpbench.benchmark.leaderboard.ties import METHOD
from tpbench.benchmark.page.curves import Curves
from tpbench.benchmark.page.media import ClipMedia
from tpbench.metrics.registry import FAMILIES, MetricRow

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
    first = int(leaderboard.protocol.policies.get("first_frame", 0))
    return {
        "tool": __version__,
        "dataset": {
            "name": leaderboard.dataset.name,
            "digest": leaderboard.dataset.digest,
            "split": leaderboard.dataset.split,
            "n_clips": leaderboard.dataset.n_clips,
            "n_identities": leaderboard.dataset.n_identities,
            "n_too_short": leaderboard.dataset.n_too_short,
        },
        "task": {
            "id": leaderboard.task.id,
            "version": leaderboard.task.version,
            "description": leaderboard.task.description,
        },
        "protocol": {
            "id": leaderboard.protocol.id,
            "version": leaderboard.protocol.version,
            "digest": leaderboard.protocol.digest,
            "title": leaderboard.protocol.title,
            "quirks": list(leaderboard.protocol.settings.get("quirks", ())),
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
    cell, most = row.cells[metric.id], leaderboard.most_clips(metric)
    content = {
        "value": _number(cell.value),
        "low": cell.low if cell.low is None else _number(cell.low),
        "high": cell.high if cell.high is None else _number(cell.high),
        "level": cell.level,
        "distance": cell.distance,
        "distance_low": cell.distance_low,
        "distance_high": cell.distance_high,
        "rank": _number_or_none(leaderboard.rank(row, metric)),
        "n": cell.n_clips,
        "of": most if cell.n_clips < most and math.isfinite(cell.value) else None,
        "mark": leaderboard.mark(row.id, metric.id),
        "notes": _notes(cell),
    }
    return {name: value for name, value in content.items() if value not in (None, [])}


def _notes(cell: Cell) -> list[str]:
    """Say what belongs to a value, a line each."""
    if math.isnan(cell.value):
        return [cell.reason or "not measured"]
    notes = []
    if cell.low is not None and cell.n_identities:
        notes.append(f"interval over {cell.n_identities} identities")
    if cell.interval_reason:
        notes.append(f"no interval: {cell.interval_reason}")
    if cell.spread is not None:
        notes.append(f"standard deviation over seeds: {cell.spread:.4g}")
    # With the reason, where one is known for all of them.
    cell_missing = "with nothing to measure"
    if cell.missing_reason is not None:
        cell_missing = f"without a value ({cell.missing_reason})"
    left_out = (
        (cell.n_infinite, "infinite"),
        (cell.n_missing, cell_missing),
        (cell.n_too_short, "too short for it"),
    )
    if math.isfinite(cell.value):
        notes += [f"left out: {_clips(number)} {why}" for number, why in left_out if number]
    if cell.warning:
        notes.append(cell.warning)
    return notes


def _notices(leaderboard: Leaderboard) -> list[dict[str, str]]:
    """Say what a reader must know before the table."""
    said = [{"text": note, "kind": "note"} for note in leaderboard.notes]
    if leaderboard.dataset.folder is None:
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
