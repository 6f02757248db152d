"""The page itself: what each section shows, and the file that holds them."""

from __future__ import annotations

import json
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.dataset import Dataset
from tpbench.extraction.report.bars import Bar, bar_rows, share_bar
from tpbench.extraction.report.histogram import Values, histogram_svg, short
from tpbench.extraction.report.samples import sample_frames
from tpbench.extraction.report.tables import rejected_table, unreadable_table
from tpbench.extraction.rows import OTHER_CODES
from tpbench.files import write_text_aside

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tpbench.dataset import Clip, DatasetInfo, Measurement

REPORT_NAME: Final = "report.html"


def write_report(folder: Path) -> Path:
    """Write `folder/report.html` from a finished dataset: one file, no script, nothing fetched.

    Everything that came from outside (names, addresses, errors) is escaped, and a content policy in
    the page forbids whatever would still slip through.

    Raises:
        DatasetError: there is no finished dataset in `folder`.
    """
    dataset = Dataset.open(folder)
    clips = dataset.clips(None)
    sections = (
        _header(dataset.info),
        _tiles(dataset.info),
        _outcome(dataset.info),
        _gallery(dataset, [clip for clip in clips if clip.status == "kept"]),
        _reasons(dataset.info),
        _measurements(dataset.info, clips),
        rejected_table(dataset.info, clips),
        unreadable_table(clips),
        _speed(dataset.info),
        _settings(dataset.info),
        _footer(dataset.info),
    )
    files = resources.files("tpbench.extraction.report")
    page = Template(files.joinpath("template.html").read_text(encoding="utf-8")).substitute(
        title=escape(f"{dataset.info.name} \N{MIDDLE DOT} dataset report"),
        style=files.joinpath("style.css").read_text(encoding="utf-8").strip(),
        body="\n".join(section for section in sections if section),
    )
    path = folder / REPORT_NAME
    write_text_aside(path, page)
    return path


def _header(info: DatasetInfo) -> str:
    preset = info.config.get("name")
    chips = [("version", info.version), ("digest", info.digest[:8]), ("tpbench", info.tool_version)]
    if isinstance(preset, str):
        chips.insert(1, ("preset", preset))
    drawn = "".join(f"<span>{label} <b>{escape(text)}</b></span>" for label, text in chips)
    return (
        f"<header><h1>{escape(info.name)}</h1>"
        '<p class="lead">Upper-body clips of one talking person each, with whole-body keypoints '
        "and DWPose drawings, and the reason for every clip that was not taken.</p>"
        f'<div class="chips">{drawn}</div></header>'
    )


def _tiles(info: DatasetInfo) -> str:
    counts = info.counts
    seconds = round(counts.kept_s)
    length = (
        f"{counts.kept_hours:,.1f} h" if seconds >= 3600 else f"{seconds // 60}:{seconds % 60:02}"
    )
    tiles = (
        (f"{counts.kept:,}", "clips kept"),
        (length, "of video" if seconds >= 3600 else "minutes of video"),
        (f"{counts.kept_frames:,}", "frames"),
        (f"{counts.identities:,}", "identities"),
        (f"{counts.sources:,}", "source videos"),
        (f"{counts.candidates:,}", "candidates"),
    )
    drawn = "".join(
        f'<div class="card tile"><b>{value}</b><span>{label}</span></div>' for value, label in tiles
    )
    return f'<section class="tiles">{drawn}</section>'


def _outcome(info: DatasetInfo) -> str:
    counts = info.counts
    parts = (
        ("kept", "kept", counts.kept),
        ("refused", "rejected", counts.rejected),
        ("failed", "not readable", counts.failed),
        ("quarantined", "given up", counts.quarantined),
    )
    return f'<section class="card">{share_bar(parts)}</section>'


def _gallery(dataset: Dataset, kept: Sequence[Clip]) -> str:
    figures = []
    for sample in sample_frames(dataset, kept):
        clip = sample.clip
        said = f"frame {sample.frame_index} of {clip.clip_id}"
        figures.append(
            f'<figure><div class="photo"><img src="{sample.picture}" alt="{said}">'
            f'<img class="pose" src="{sample.skeleton}" alt=""></div>'
            f'<figcaption><b title="{clip.clip_id}">{clip.clip_id}</b>'
            f"<span>frame {sample.frame_index:,} of {clip.n_frames:,}, "
            f"{clip.duration_s:.1f} s</span></figcaption></figure>"
        )
    if not figures:
        return ""
    return (
        "<section><h2>What was kept</h2>"
        '<p class="hint">Sample frames, spread evenly over the identities.</p>'
        '<input type="checkbox" id="skeleton" checked>'
        '<label class="switch" for="skeleton"><i></i>Skeleton</label>'
        f'<div class="gallery">{"".join(figures)}</div></section>'
    )


def _reasons(info: DatasetInfo) -> str:
    counts = info.counts
    if not counts.reject_codes:
        return ""
    titles = OTHER_CODES | {item.code: item.title for item in info.measurements if item.code}
    bars = [
        Bar(
            label=code,
            note=titles.get(code, ""),
            size=number,
            said=f"{number:,} \N{MIDDLE DOT} {number / max(counts.rejected, 1):.1%}",
        )
        for code, number in counts.reject_codes.items()
    ]
    return (
        "<section><h2>Why clips were rejected</h2>"
        f'<p class="hint">Shares of the {counts.rejected:,} rejected clips; one clip may bear '
        "several codes. Cheap filters judge first: what they reject is not measured further.</p>"
        f'<div class="card">{bar_rows(bars, "refused")}</div></section>'
    )


def _measurements(info: DatasetInfo, clips: Sequence[Clip]) -> str:
    plots = [plot for item in info.measurements if (plot := _plot(item, clips))]
    if not plots:
        return ""
    legend = "".join(
        f'<li><span class="key {kind}"></span>{label}</li>'
        for kind, label in (
            ("kept", "kept"),
            ("refused", "rejected for this"),
            ("elsewhere", "rejected for something else"),
        )
    )
    return (
        "<section><h2>What was measured</h2>"
        '<p class="hint">Clips by measured value. The dashed line is the threshold, its refused '
        "side is shaded. The number at the top belongs to the fullest bin; values far out are "
        f'counted at the edge.</p><ul class="legend">{legend}</ul>'
        f'<div class="plots">{"".join(plots)}</div></section>'
    )


def _plot(item: Measurement, clips: Sequence[Clip]) -> str:
    parts: dict[str, list[float]] = {"kept": [], "refused": [], "elsewhere": []}
    thresholds = {clip.thresholds[item.name] for clip in clips if item.name in clip.thresholds}
    for clip in clips:
        if (value := clip.measurements.get(item.name)) is not None:
            here = "refused" if item.code in clip.reject_codes else "elsewhere"
            parts["kept" if clip.status == "kept" else here].append(value)
    values = Values(**{name: np.array(part, dtype=np.float64) for name, part in parts.items()})
    if not len(values.all):
        return ""
    svg = histogram_svg(values, item, min(thresholds) if len(thresholds) == 1 else None)
    unit = f' <span class="quiet">{escape(item.unit)}</span>' if item.unit else ""
    facts = f"{len(values.refused):,} of {len(values.all):,} rejected"
    if len(values.kept):
        median = short(float(np.median(values.kept)))
        facts = f"median of kept <b>{median}</b> \N{MIDDLE DOT} {facts}"
    return (
        f'<article class="card"><h3>{escape(item.title)}{unit}</h3>'
        f'<p class="meaning">{escape(item.meaning)}</p>{svg}<p class="facts">{facts}</p></article>'
    )


def _speed(info: DatasetInfo) -> str:
    run = info.run
    if run is None or run.frames_per_s is None:
        return ""
    workers = f"{run.workers} worker{'' if run.workers == 1 else 's'}"
    said = [f"{run.frames_per_s:,.1f} source frames/s with {workers}"]
    if run.video_hours_per_core_hour is not None:
        said.append(f"{run.video_hours_per_core_hour:.2f} hours of video per core-hour")
    total = sum(run.stage_s.values())
    bars = [
        Bar(label=stage, size=seconds, said=f"{seconds / total:.0%}")
        for stage, seconds in run.stage_s.items()
        if total
    ]
    chart = f'<div class="card">{bar_rows(bars, "kept")}</div>' if bars else ""
    return f'<section><h2>What it took</h2><p class="hint">{", ".join(said)}.</p>{chart}</section>'


def _settings(info: DatasetInfo) -> str:
    config = escape(json.dumps(info.config, indent=2, ensure_ascii=False))
    models = "".join(
        f"<tr><td>{escape(role)}</td><td><code>{escape(digest)}</code></td></tr>"
        for role, digest in info.models.items()
    )
    table = (
        f'<div class="scroll"><table><tr><th>model</th><th>sha256</th></tr>{models}</table></div>'
        if models
        else ""
    )
    return (
        '<section><h2>How it was made</h2><p class="hint">The resolved configuration and the '
        "models; <code>dataset.json</code> holds the same for programs.</p>"
        f'<div class="card">{table}<details><summary>Configuration</summary><pre>{config}</pre>'
        "</details></div></section>"
    )


def _footer(info: DatasetInfo) -> str:
    return (
        f'<footer><p class="digest">Content digest {info.digest}</p>'
        "<p>The clips belong to whoever made the source videos, and show real people: share this "
        "page only where the frames in it may be shared.</p></footer>"
    )
