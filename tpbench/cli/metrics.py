"""`tpbench metrics`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tpbench.cli import options as opt
from tpbench.cli.output import console, counted, new_table, print_json, print_table
from tpbench.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from rich.table import Table

    from tpbench.benchmark.markup import Format
    from tpbench.metrics.reference_check import CheckRow
    from tpbench.metrics.registry import MetricRow, Protocol

metrics_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Metrics and protocols: list, show, check.",
)

_POLICIES: Final = {
    "fail": "an error",
    "truncate": "compared until the shorter clip ends",
    "area": "resized to the real clip's by averaging areas",
    "ignore": "ignored, frames are compared by index",
}


@metrics_app.command("list")
def list_metrics(
    protocol_id: Annotated[
        str | None, typer.Option("--protocol", help="All metrics of this protocol.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All metrics, not only the headline of the default.")
    ] = False,
    form: opt.Format = "table",
    as_json: opt.AsJson = False,
) -> None:
    """List the metrics with direction, unit and model files.

    The headline of a protocol, for the table of a paper, comes first and is marked.
    """
    from tpbench.metrics.registry import DEFAULT_PROTOCOL, METRICS, PROTOCOLS, metric, protocol

    chosen = protocol(protocol_id or DEFAULT_PROTOCOL)
    names = tuple(METRICS) if protocol_id is None else chosen.metrics
    if as_json:
        rows = [metric(name) for name in names]
        missing = _missing_weights(rows)
        print_json([_metric_as_json(row, missing) for row in rows], ascii_only=True)
        return
    short = protocol_id is None and not every
    shown = chosen.headline if short else dict.fromkeys([*chosen.headline, *names])
    rows = [metric(name) for name in shown]
    missing = _missing_weights(rows)
    if form != "table":
        typer.echo(_written(rows, form))
        return
    print_table(_table(rows, missing, marked=() if short else chosen.headline), console())
    if missing:
        from tpbench.weights import pull_command

        typer.echo(f"to download missing files: {pull_command(sorted(missing))}")
    if short:
        more = counted(len(METRICS) - len(shown), "more metric")
        typer.echo(f"the headline of {chosen.id}; {more}: --all")
    else:
        typer.echo(f"* the headline of {chosen.id}")
    if protocol_id is None:
        typer.echo(f"protocols: {', '.join(PROTOCOLS)}")


def _written(rows: Sequence[MetricRow], form: Format) -> str:
    """Return what the metrics are as a table for a paper's appendix."""
    from tpbench.benchmark.leaderboard.tables import csv_text
    from tpbench.benchmark.markup import LATEX, MARKDOWN, latex_table, markdown_table

    heads = ["Metric", "Id", "Better", "Unit", "Meaning"]
    lines = [[row.label, row.id, row.arrow, row.unit, row.title] for row in rows]
    if form == "csv":
        return csv_text([head.lower() for head in heads], lines).rstrip("\n")
    markup = LATEX if form == "latex" else MARKDOWN
    heads, *lines = [[markup.text(cell) for cell in line] for line in [heads, *lines]]
    return latex_table([heads], lines) if form == "latex" else markdown_table(heads, lines)


@metrics_app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="A metric or a protocol.")],
    as_json: opt.AsJson = False,
) -> None:
    """Explain a metric or a protocol.

    Shows definition, formula, source and pitfalls.
    """
    from tpbench.metrics.registry import METRICS, PROTOCOLS, RETIRED_PROTOCOLS, protocol

    if name in METRICS:
        row = METRICS[name]
        missing = _missing_weights([row])
        if as_json:
            print_json(_metric_as_json(row, missing), ascii_only=True)
        else:
            _print_metric(row, missing)
    elif name in PROTOCOLS or name in RETIRED_PROTOCOLS:
        found = protocol(name)  # raises for a retired one, and names its successor
        if as_json:
            print_json({**asdict(found), "digest": found.digest}, ascii_only=True)
        else:
            _print_protocol(found)
    else:
        raise ConfigError(
            f"no metric or protocol is called '{name}'{did_you_mean(name, [*METRICS, *PROTOCOLS])}"
        )


@metrics_app.command()
def check(
    clips: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[CLIP]...", help="Videos to check on, besides a made clip."),
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Compare numbers and decoded frames with other libraries.

    On this machine: PSNR and SSIM against scikit-image, LPIPS against lpips, FID's features against
    pytorch-fid, the Fréchet distance against SciPy, TJE against its plain formula, frames against
    decord and OpenCV.
    """
    from tpbench.metrics.reference_check import check_numbers

    rows = check_numbers(clips or [])
    if as_json:
        print_json([asdict(row) for row in rows], ascii_only=True)
    else:
        _print_checks(rows)
    if failed := sum(row.result == "fail" for row in rows):
        typer.echo(f"{failed} of {len(rows)} comparisons failed", err=True)
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _print_checks(rows: Sequence[CheckRow]) -> None:
    from rich.text import Text

    heads = ("clip", "what", "against", "largest difference", "allowed", "n", "result")
    table = new_table(*heads, whole=("result",), ruled=False)
    for row in rows:
        if row.largest_difference is not None:
            found = f"{row.largest_difference:.2g} {row.unit}".strip()
            allowed, n = f"{row.tolerance:.2g}", f"{row.n_values}"
            cells = (row.clip, row.what, row.against, found, allowed, n, row.result)
            table.add_row(*(Text(cell) for cell in cells))
    to = console()
    print_table(table, to)
    unchecked = [row for row in rows if row.result == "not checked"]
    reasons = dict.fromkeys((row.what, row.against, row.why) for row in unchecked)
    for what, against, why in reasons:
        to.print(f"not checked: {what} against {against}: {why}", soft_wrap=True)


def _missing_weights(rows: Iterable[MetricRow]) -> set[str]:
    from tpbench.weights import state

    names = {name for row in rows for name in row.weights}
    return {name for name in names if not state(name).usable}


def _metric_as_json(row: MetricRow, missing: set[str]) -> dict[str, Any]:
    from tpbench.metrics.registry import protocols_with

    return {
        **asdict(row),
        "weights_missing": [name for name in row.weights if name in missing],
        "protocols": protocols_with(row.id),
    }


def _better(row: MetricRow) -> str:
    if row.target is not None:
        return f"near {row.target:g}"
    return {"higher": "higher", "lower": "lower"}.get(row.direction, "neither")


def _range(row: MetricRow) -> str:
    if row.low is None and row.high is None:
        return "unbounded"
    low, high = ("unbounded" if end is None else f"{end:g}" for end in (row.low, row.high))
    return f"{low} to {high}"


def _weights(row: MetricRow, missing: set[str]) -> str:
    return ", ".join(f"{name} (missing)" if name in missing else name for name in row.weights)


def _table(rows: Sequence[MetricRow], missing: set[str], *, marked: Collection[str]) -> Table:
    """Return a row per metric; `marked`: a column marks these."""
    heads = ["id", *(["*"] if marked else []), "better", "unit", "weights", "title"]
    table = new_table(*heads, whole=("id", "*", "better"), ruled=False)
    for row in rows:
        mark = ["*" if row.id in marked else ""] if marked else []
        table.add_row(row.id, *mark, row.arrow, row.unit, _weights(row, missing), row.title)
    return table


def _print_metric(row: MetricRow, missing: set[str]) -> None:
    from tpbench.metrics.registry import REDUCTIONS, protocols_with

    _print_facts(
        f"{row.id}: {row.title} (version {row.version})",
        {
            "definition": row.definition,
            "formula": row.formula,
            "per clip": REDUCTIONS[row.reduction],
            "better": _better(row),
            "range": _range(row),
            "unit": row.unit or "none",
            "in tables": row.label,
            "compares": "frames with the clip's own real frames" if row.paired else "sets of clips",
            "columns": ", ".join(row.columns) or "none",
            "weights": _weights(row, missing) or "none",
            "needs": "skeletons" if "pose" in row.needs else "frames only",
            "source": row.source,
            "pitfalls": row.pitfalls,
            "protocols": ", ".join(protocols_with(row.id)) or "none; name it with --metrics",
        },
    )


def _print_protocol(found: Protocol) -> None:
    from tpbench.metrics.registry import POOLINGS, metric

    rows = [metric(name) for name in found.metrics]
    # Settings that none of its metrics uses are omitted.
    other_mean = "mean over all frames (or terms between frames) of all clips"
    settings = {
        "also shown": "" if found.told_beside == "none" else other_mean,
        "skeleton": found.skeleton if any("pose" in row.needs for row in rows) else "",
        "windows": f"{found.window_frames} frames for FVD, {found.fid_window_frames} for FID drift"
        if any(row.id.startswith("drift_") and row.reduction == "set" for row in rows)
        else "",
        "levels": ", ".join(f"{name} {level:g}" for name, level in found.levels.items()),
    }
    _print_facts(
        f"{found.id}: {found.title} (version {found.version})",
        {
            "purpose": found.description,
            "headline": ", ".join(found.headline),
            "metrics": ", ".join(found.metrics),
            "other length": _POLICIES[found.length],
            "other size": _POLICIES[found.resize],
            "other rate": _POLICIES[found.rate],
            "frames to clip": "each metric's own reduction, the mean over frames for most",
            "clips to set": POOLINGS[found.clips_to_set],
            **{name: value for name, value in settings.items() if value},
            "quirks": "\n".join(f"- {quirk}" for quirk in found.quirks),
            "digest": found.digest,
        },
    )


def _print_facts(headline: str, facts: dict[str, str]) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for name, fact in facts.items():
        grid.add_row(name, fact)
    to = console()
    to.print(Text(headline, style="bold"))
    to.print(grid)
