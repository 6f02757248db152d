"""The page `index.html`: one file with data, style and script inlined, usable offline."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, Final

from tpbench import __version__
from tpbench.benchmark.how_to_report import first_frame_rule
from tpbench.benchmark.leaderboard.board import ClipInfo, Leaderboard, Row
from tpbench.benchmark.leaderboard.tables import PAGE_NAME
from tpbench.benchmark.page.curves import Curves, make_curves
from tpbench.benchmark.page.media import ClipMedia, place_media
from tpbench.benchmark.site import Site
from tpbench.benchmark.tasks import TASKS
from tpbench.canonical import encoded
from tpbench.metrics.registry import FAMILIES, MetricRow
from tpbench.metrics.scoring.report import MetricScore

SCRIPTS: Final = (
    "dom", "numbers", "address", "models", "tips", "columns", "copying", "table", "axes", "frames",
    "scatter", "player", "screens", "panels", "cliptable", "clips", "prose", "start",
)  # fmt: skip
"""Files of the script, in the order of the page."""
FAMILY_TITLES: Final = {
    "pixels": "Pixels",
    "features": "Features",
    "motion": "Motion and colour",
    "regions": "Face and hands",
    "pose": "Pose",
    "drift": "Drift over the clip",
    "disco": "DisCo's variants",
}
_CLIP_DIGITS: Final = 6
_OF_ROWS: Final = (
    "url", "paper_url", "weights_url", "params_b", "gen_fps", "peak_gpu_gb", "hardware", "code",
    "licence_code", "licence_weights", "run_digest", "verified", "claimed", "date", "command",
)  # fmt: skip
"""Fields of a row that are copied to the page unchanged."""


def build_page(leaderboard: Leaderboard, site: Site) -> Path:
    """Write `index.html` and the videos that it shows, in `media`, into a site.

    Content from outside is embedded as data and displayed as text. A content security policy in the
    page allows its own style and script, by their hashes, and nothing from elsewhere.

    Args:
        leaderboard: content of the page.
        site: folder of the leaderboard; the user's own files are left unchanged.

    Returns:
        The path of the page.

    Raises:
        ConfigError: another file is in the way, or the dataset is not that of the runs.
        DatasetError: the dataset can't be read.
    """
    site.require_free([PAGE_NAME])
    curves = make_curves(leaderboard)
    data = page_data(leaderboard, curves, place_media(leaderboard, site))
    return site.write_text(PAGE_NAME, render(data))


def render(data: dict[str, Any]) -> str:
    """Return the page that shows the data."""
    style = _read("style.css")
    parts = "\n".join(_read(f"script/{name}.js") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{parts}\n}})();\n'
    return Template(_read("page.html")).substitute(
        title=escape(f"{data['dataset']['name']} \N{MIDDLE DOT} leaderboard"),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        data=as_script_data(data),
    )


def as_script_data(data: dict[str, Any]) -> str:
    """Return JSON that can't close its script element: `<`, `>` and `&` are escaped."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _read(name: str) -> str:
    return resources.files("tpbench.benchmark.page").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the hash of a text in the form of a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def page_data(
    leaderboard: Leaderboard, curves: Curves, media: Mapping[str, ClipMedia]
) -> dict[str, Any]:
    """Return all data of the page, unrounded but for clips; infinity is "inf", NaN is null."""
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
            "description": rule.description if rule else first_frame_rule(leaderboard.policies),
            "scored": rule is None,
        },
        "protocol": {
            "id": str(protocol["id"]),
            "version": int(protocol["version"]),
            "digest": str(protocol["digest"]),
            "title": str(protocol["title"]),
            "quirks": list(protocol.get("quirks", ())),
            "first_frame": first,
            "how_to_report": leaderboard.how_to_report,
        },
        "families": [
            {"id": name, "title": FAMILY_TITLES[name]} for name in FAMILIES if name in present
        ],
        "marks": leaderboard.marking,
        "has_marks": leaderboard.has_marks,
        "metrics": [_metric(row, leaderboard) for row in leaderboard.metrics],
        "models": [_model(row, leaderboard) for row in leaderboard.rows],
        "notices": _notices(leaderboard),
        "curves": {
            "metrics": [row.id for row in curves.metrics],
            "window": curves.window,
            "clips": list(curves.clips_per_window),
            "means": curves.means,
        },
        "clips": [_clip(clip, leaderboard, media[clip.id], curves) for clip in leaderboard.clips],
        "reported": _reported(leaderboard),
    }


def _clip(
    clip: ClipInfo, leaderboard: Leaderboard, media: ClipMedia, curves: Curves
) -> dict[str, Any]:
    """Return a clip. `values`: by metric that it has a value of, a list over the models."""
    first_frame = int(leaderboard.policies.get("first_frame", 0))
    values = {
        metric.id: [
            _rounded(row.values.get(metric.id, {}).get(clip.id)) for row in leaderboard.rows
        ]
        for metric in leaderboard.filled
    }
    return {
        "id": clip.id,
        "identity": clip.identity,
        "reference_clip": clip.reference_clip,
        "driving_clip": clip.driving_clip,
        "n_frames": clip.n_frames + first_frame,
        "fps": media.fps,
        "reference": media.reference,
        "pose": media.pose,
        "real": media.real,
        "generated": dict(media.generated),
        "thumb": media.thumb,
        "thumbs": dict(media.thumbs),
        "values": {
            name: found for name, found in values.items() if any(v is not None for v in found)
        },
        **curves.clips[clip.id],
    }


def _rounded(value: float | None) -> float | str | None:
    """Return a value of a clip in as many digits as any column shows; None: not measured."""
    if value is None or math.isnan(value):
        return None
    number: float | str = encoded(float(f"{value:.{_CLIP_DIGITS}g}"))
    return number


def _metric(row: MetricRow, leaderboard: Leaderboard) -> dict[str, Any]:
    names = ("id", "version", "title", "label", "family", "direction", "target", "unit")
    prose = ("definition", "formula", "source", "pitfalls")
    return {
        **{name: getattr(row, name) for name in (*names, *prose)},
        "headline": row in leaderboard.overview,
        "ties": leaderboard.marks[row.id].reason,
        "judged": list(leaderboard.marks[row.id].notes),
    }


def _model(row: Row, leaderboard: Leaderboard) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.display_name,
        "kind": row.kind,
        "description": row.description,
        "n_clips": row.n_clips,
        "coverage": row.coverage,
        "failed": _failed(row),
        "seeds": list(row.seeds),
        **{name: getattr(row, name) for name in _OF_ROWS},
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
    """Return a cell without its blank fields.

    `rank` is the sort key of the column; `of` is set if another row has a value for more clips.
    """
    score, distance = row.scores[metric.id], row.distances.get(metric.id)
    content = {
        "value": encoded(score.value),
        "low": encoded(score.low),
        "high": encoded(score.high),
        "level": score.level,
        "distance": distance.mean if distance else None,
        "distance_low": distance.interval.low if distance else None,
        "distance_high": distance.interval.high if distance else None,
        "rank": encoded(leaderboard.rank(row, metric)),
        "n": score.n_clips,
        "of": leaderboard.n_of_more(row, metric),
        "mark": leaderboard.mark(row.id, metric.id),
        "notes": _notes(score, row.spread(metric.id)),
    }
    return {name: value for name, value in content.items() if value not in (None, [])}


def _notes(score: MetricScore, spread: float | None) -> list[str]:
    """Return remarks on a value, one per line."""
    if math.isnan(score.value):
        return [score.reason or "not measured"]
    notes = []
    if score.low is not None and score.n_identities:
        notes.append(f"interval over {score.n_identities} identities")
    if score.interval_reason:
        notes.append(f"no interval: {score.interval_reason}")
    if spread is not None:
        notes.append(f"standard deviation over seeds: {spread:.4g}")
    known = score.missing_reason
    left_out = (
        (score.n_infinite, "infinite"),
        (score.n_missing, f"without a value ({known})" if known else "with nothing to measure"),
        (score.n_too_short, "too short for it"),
    )
    if math.isfinite(score.value):
        notes += [
            f"left out: {number} clip{'' if number == 1 else 's'} {why}"
            for number, why in left_out
            if number
        ]
    if score.warning:
        notes.append(score.warning)
    return notes


def _notices(leaderboard: Leaderboard) -> list[dict[str, str]]:
    """Return the notices shown above the table."""
    said = [{"text": note, "kind": "note"} for note in leaderboard.notes]
    shows_real = any(run.real_previews for row in leaderboard.rows for run in row.runs)
    if leaderboard.data is None and not shows_real:
        text = "real clips and poses are shown only if built with `leaderboard build --data"
        said.append({"text": f"{text} DATASET`", "kind": "note"})
    said += [
        {"text": f"anchor {name} is missing; generate it with", "kind": "anchor", "command": line}
        for name, line in leaderboard.missing_anchors.items()
    ]
    left_out = leaderboard.left_out
    return said + [{"text": f"{out.name}: {out.reason}", "kind": "left out"} for out in left_out]


def _reported(leaderboard: Leaderboard) -> list[dict[str, Any]]:
    """Return published numbers, one table per place in a source, test set and note."""
    tables: dict[tuple[str, ...], dict[str, Any]] = {}
    for item in leaderboard.reported:
        key = (item.source_url, item.where, item.test_set, item.note)
        table = tables.setdefault(
            key,
            {
                "title": item.source_title,
                "url": item.source_url,
                "where": item.where,
                "test_set": item.test_set,
                "note": item.note,
                "secondary": item.secondary,
                "suspect": False,
                "columns": [],
                "rows": {},
            },
        )
        column = {"id": item.metric, "direction": item.direction, "unit": item.unit}
        if item.metric not in [known["id"] for known in table["columns"]]:
            table["columns"].append(column)
        table["suspect"] = table["suspect"] or item.overflow_psnr
        table["rows"].setdefault(item.method, {})[item.metric] = encoded(item.value)
    return list(tables.values())
