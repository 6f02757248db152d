"""What commands print: tables, summaries, progress bars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import ProgressColumn
    from rich.table import Table

    from tpbench.dataset import Clip, DatasetInfo, RunStats
    from tpbench.metrics.scoring.driver import ProgressListener, ScoringProgress
    from tpbench.metrics.scoring.report import MetricScore


class Show(Protocol):
    """Draws the progress of a command."""

    def __call__(self, *, done: int, total: int, news: str) -> None:
        """Draw `done` of `total`, with a short text."""
        ...


def stalled_column() -> ProgressColumn:
    """Return a column that names items without progress for a minute; empty if there are none."""
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    from tpbench.work import IN_WORK

    class StalledColumn(ProgressColumn):
        """Updates at every refresh, also while the main thread works on the item itself."""

        def render(self, task: Task) -> Text:
            stalls = [] if task.finished else IN_WORK.stalls()
            more = f" and {len(stalls) - 1} more" if len(stalls) > 1 else ""
            return Text(f"{stalls[0]}{more}" if stalls else "", style="yellow")

    return StalledColumn()


@contextmanager
def progress_bar(unit: str) -> Iterator[Show]:
    """Show a progress bar until the block ends; yields the function that updates it.

    Args:
        unit: what is counted, in the plural.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from tpbench.cli.console import CleanConsole

    console = CleanConsole(stderr=True)
    bar = Progress(
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TextColumn(f"{unit}  {{task.fields[news]}}", markup=False),
        stalled_column(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    task = bar.add_task(unit, total=None, news="")

    def show(*, done: int, total: int, news: str) -> None:
        bar.update(task, total=total, completed=done, news=news)
        bar.start()  # not before there is something to show; harmless when repeated

    try:
        yield show
    finally:
        bar.stop()


@contextmanager
def scoring_bar() -> Iterator[ProgressListener]:
    """Show a progress bar of a scoring; yields its listener."""
    with progress_bar("clips") as show:

        def listener(state: ScoringProgress) -> None:
            show(done=state.clips_done, total=state.clips_total, news=f"{state.frames:,} frames")

        yield listener


ARROWS: Final = {"higher": "↑", "lower": "↓", "target": "◎", "none": ""}
"""Direction of improvement; target: closer to it is better."""
_SPREAD: Final = "spread"


def score_table(metrics: Mapping[str, MetricScore]) -> Table:
    """Return the measured metrics, one per line, with interval and number of clips.

    Where several seeds were scored, their spread (one standard deviation) has a column.
    """
    seeded = any(_SPREAD in found.details for found in metrics.values())
    left = {"metric", "", "unit"}
    headers = ["metric", "", "value", "95 % interval", "unit", "clips"]
    table = plain_table({name: name in left for name in headers})
    if seeded:
        table.add_column("± over seeds", justify="right")
    for name, found in metrics.items():
        if found.status != "measured":
            continue
        cells = [name, ARROWS[found.direction], shown(found.value)]
        cells += [interval(found.low, found.high), found.unit, str(found.n_clips)]
        if seeded:
            spread = found.details.get(_SPREAD)
            cells.append("" if spread is None else shown(spread))
        table.add_row(*cells)
    return table


def plain_table(headers: Mapping[str, bool]) -> Table:
    """Return an empty table.

    Args:
        headers: by name: whether the column is flushed left.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, left in headers.items():
        table.add_column(name, justify="left" if left else "right", no_wrap=left)
    return table


def print_whole(table: Table, console: Console) -> None:
    """Print a table without cutting numbers, wider than the terminal if needed."""
    free = console.options.update(max_width=10_000)
    console.width = max(console.width, console.measure(table, options=free).maximum)
    console.print(table)


def remarks(metrics: Mapping[str, MetricScore], *, both_means: bool = False) -> Iterator[str]:
    """Yield the remarks below the table: blanks, warnings, means, missing intervals.

    Args:
        metrics: the scores.
        both_means: whether to show the mean over all frames beside that over clips.
    """
    lacking: dict[str, list[str]] = {}
    missing: dict[str, list[str]] = {}
    for name, found in metrics.items():
        if found.status == "not_measured":
            lacking.setdefault(found.reason or "", []).append(name)
        elif found.reason:
            yield f"{name}: {found.reason}"
        if found.warning:
            yield f"{name}: {found.warning}"
        if found.missing_reason:
            said = f"no value in {counted(found.n_missing, 'clip')} ({found.missing_reason})"
            missing.setdefault(said, []).append(name)
        yield from _means(name, found, both=both_means)
        if found.n_infinite and found.n_clips:
            yield f"{name}: infinite in {found.n_infinite} more clips, which the mean leaves out"
    for said, names in missing.items():
        yield f"{', '.join(names)}: {said}"
    for reason, names in lacking.items():
        yield f"not measured: {', '.join(names)}: {reason}"
    yield from _missing_intervals(metrics)


def _means(name: str, found: MetricScore, *, both: bool) -> Iterator[str]:
    """Say which mean a value is, where that is not the mean over clips or both are wanted."""
    if found.pooling == "mean_of_frames" and not math.isnan(found.value):
        yield (
            f"{name}: mean over all {found.n_values} frames; the mean over clips is "
            f"{shown(found.mean_of_clips)}"
        )
    elif both and not math.isnan(found.mean_of_frames):
        yield (
            f"{name}: mean over clips; the mean over all {found.n_values} frames or terms is "
            f"{shown(found.mean_of_frames)}"
        )


def _missing_intervals(metrics: Mapping[str, MetricScore]) -> Iterator[str]:
    """Yield why values have no interval: the most common reason first, others with names."""
    reasons: dict[str, list[str]] = {}
    for name, found in metrics.items():
        # What has no value has said why.
        told = found.status == "measured" and found.interval_reason and not math.isnan(found.value)
        if told and found.interval_reason:
            reasons.setdefault(found.interval_reason, []).append(name)
    for at, reason in enumerate(sorted(reasons, key=lambda reason: -len(reasons[reason]))):
        which = f" of {', '.join(reasons[reason])}" if at else ""
        yield f"no interval{which}: {reason}"


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: "1 clip", "2,000 clips"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def side_of(dataset: str, split: str) -> str:
    """Name the part of a dataset that a run is about."""
    return f"{dataset} ({'all clips' if split == 'all' else f'{split} split'})"


def shown(value: float) -> str:
    """Return a value with four digits; empty if it was not measured."""
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.4g}"


def interval(low: float | None, high: float | None) -> str:
    """Return both ends of an interval; empty if there is none."""
    return "" if low is None or high is None else f"{shown(low)} … {shown(high)}"


def render_summary(info: DatasetInfo) -> RenderableType:
    """Return counts by status, the reject table, speed and split of a dataset."""
    from rich.console import Group
    from rich.text import Text

    counts = info.counts
    head = Text.assemble(
        (f"{info.name} {info.version}", "bold"),
        f"  digest {info.digest[:8]}\n",
        f"{counts.kept:,} clips, {counts.kept_frames:,} frames, {counts.kept_hours:.2f} h of "
        f"{counts.identities:,} identities kept, from {counts.sources:,} sources",
    )
    parts: list[RenderableType] = [head]
    if info.sources_pending:
        todo = f"not finished: {counted(info.sources_pending, 'source')} pending; run the same"
        parts.append(Text(f"{todo} `tpbench extract` again", style="bold yellow"))
    parts.append(_status_table(info))
    if counts.reject_codes:
        parts.append(_reject_table(info))
    if skeleton := info.config.get("skeleton"):
        # Datasets from before it was settled at all say nothing of it.
        visibility = info.config.get("visibility", "as found, frame by frame")
        parts.append(Text(f"skeletons: {skeleton}, visibility {visibility}"))
    if info.run is not None:
        parts.append(Text(speed_line(info.run)))
    if info.split is not None:
        split = info.split
        parts.append(
            Text(
                f"split: {split.train_clips:,} train, {split.test_clips:,} test clips "
                f"(share {split.test_share:g}, seed {split.seed})"
            )
        )
    return Group(*parts)


def render_failures(clips: Iterable[Clip]) -> RenderableType:
    """Return one line per source that failed or was quarantined, with its reason."""
    from rich.text import Text

    table = _table("status", "error")
    for clip in clips:
        table.add_row(clip.status, Text(clip.error or ""))
    return table


def render_clip(info: DatasetInfo, clip: Clip, paths: dict[str, str]) -> RenderableType:
    """Return everything known about a clip: provenance, paths, measurements, thresholds."""
    from rich.console import Group
    from rich.text import Text

    colour = "green" if clip.status == "kept" else "red"
    head = Text.assemble((clip.clip_id, "bold"), "  ", (clip.status, colour))
    if clip.reject_codes:
        head.append(f"  {', '.join(clip.reject_codes)}")
    facts = _table("", "")
    row = clip.to_json()
    for name, value in [*_provenance(clip), *paths.items()]:
        facts.add_row(name, Text(value))
    for name in _FACTS:
        if row[name] is not None:
            facts.add_row(name, Text(str(row[name])))
    if not clip.measurements:
        return Group(head, facts)
    return Group(head, facts, _measurement_table(info, clip))


_FACTS = (
    "url",
    "licence",
    "uploader",
    "identity",
    "split",
    "pose_source",
    "tool_version",
    "error",
)


def speed_line(run: RunStats) -> str:
    """Return one line with the time an extraction took."""
    frames, hours = run.frames_per_s, run.video_hours_per_core_hour
    line = f"{run.workers} worker{'' if run.workers == 1 else 's'}, {run.wall_s:,.0f} s"
    if frames is not None:
        line += f": {frames:,.1f} source frames/s"
    if hours is not None:
        line += f", {hours:.2f} h of video per core-hour"
    total = sum(run.stage_s.values())
    if total:
        shares = ", ".join(f"{stage} {s / total:.0%}" for stage, s in run.stage_s.items())
        line += f" ({shares})"
    return line


def verdicts(info: DatasetInfo, clip: Clip) -> list[dict[str, object]]:
    """Return one row per measurement: name, title, unit, measured, limit, verdict, code.

    The verdict is "ok", "reject", "" where there is no limit, or "not measured": an earlier filter
    had refused the clip, or there was nothing to measure.
    """
    known = {item.name: item for item in info.measurements}
    names = [*known, *sorted((clip.measurements.keys() | clip.thresholds.keys()) - known.keys())]
    rows: list[dict[str, object]] = []
    for name in names:
        meaning = known.get(name)
        value, limit = clip.measurements.get(name), clip.thresholds.get(name)
        if value is None:
            verdict = "not measured"
        elif meaning is None or limit is None or meaning.direction == "none":
            verdict = ""
        else:
            verdict = "ok" if meaning.passes(value, limit) else "reject"
        rows.append(
            {
                "name": name,
                "title": meaning.title if meaning else name,
                "unit": meaning.unit if meaning else "",
                "direction": meaning.direction if meaning else "none",
                "measured": value,
                "threshold": limit,
                "verdict": verdict,
                "code": meaning.code if meaning else "",
            }
        )
    return rows


def _status_table(info: DatasetInfo) -> Table:
    counts = info.counts
    table = _table("candidates", "rows", "share", right=("rows", "share"))
    for status in ("kept", "rejected", "failed", "quarantined"):
        number = getattr(counts, status)
        share = f"{number / counts.candidates:.1%}" if counts.candidates else ""
        table.add_row(status, f"{number:,}", share)
    return table


def _reject_table(info: DatasetInfo) -> Table:
    from rich.text import Text

    from tpbench.extraction.pipeline import OTHER_CODES

    titles = OTHER_CODES | {item.code: item.title for item in info.measurements if item.code}
    table = _table("rejected for", "rows", "share", "measured", right=("rows", "share"))
    for code, number in info.counts.reject_codes.items():
        share = f"{number / info.counts.rejected:.1%}" if info.counts.rejected else ""
        table.add_row(Text(code), f"{number:,}", share, Text(titles.get(code, "")))
    return table


def _measurement_table(info: DatasetInfo, clip: Clip) -> Table:
    from rich.text import Text

    heads = ("measurement", "measured", "limit", "verdict")
    table = _table(*heads, right=("measured",))
    signs = {"at_least": "\N{GREATER-THAN OR EQUAL TO}", "at_most": "\N{LESS-THAN OR EQUAL TO}"}
    styles = {"ok": "green", "reject": "red", "not measured": "dim"}
    for row in verdicts(info, clip):
        sign = signs.get(str(row["direction"]), "")
        limit = f"{sign} {_number(row['threshold'])} {row['unit']}".strip()
        verdict = str(row["verdict"])
        said = f"{verdict}: {row['code']}" if verdict == "reject" else verdict
        table.add_row(
            Text(str(row["title"])),
            _number(row["measured"]),
            Text(limit if row["threshold"] is not None else str(row["unit"])),
            Text(said, style=styles.get(verdict, "")),
        )
    return table


def _provenance(clip: Clip) -> list[tuple[str, str]]:
    facts = [("source", clip.source_path)]
    if clip.start_s is not None and clip.end_s is not None:
        frames = f"frames {clip.start_frame} to {clip.end_frame} (exclusive)"
        facts.append(("span", f"{clip.start_s:.3f} to {clip.end_s:.3f} s, {frames}"))
    if clip.fps is not None:
        facts.append(("frames", f"{clip.n_frames} at {clip.fps:g} frames/s"))
    corners = (clip.crop_x0, clip.crop_y0, clip.crop_x1, clip.crop_y1)
    if None not in corners:
        box = ", ".join(f"{value:.4f}" for value in corners if value is not None)
        size = f"{clip.source_width_px}x{clip.source_height_px} px"
        facts.append(("crop", f"x0, y0, x1, y1 = {box} as shares of {size}"))
    return facts


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else ""


def _table(*heads: str, right: tuple[str, ...] = ()) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_header=any(heads))
    for head in heads:
        table.add_column(head, justify="right" if head in right else "left", overflow="fold")
    return table
