"""`tpbench score` and `tpbench metrics`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from tpbench.cli import options as opt
from tpbench.cli.numbers import print_numbers
from tpbench.cli.output import (
    console,
    counted,
    echo_some,
    new_table,
    print_json,
    print_table,
)
from tpbench.cli.progress import named_scoring_bar, scoring_bar
from tpbench.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from rich.table import Table

    from tpbench.benchmark.markup import Format
    from tpbench.metrics.reference_check import CheckRow
    from tpbench.metrics.registry import MetricRow, Protocol
    from tpbench.metrics.scoring.report import ScoreReport
    from tpbench.metrics.scoring.run import ScoreRequest


Real = Annotated[Path, typer.Option(help="Dataset folder, or any folder of videos.")]
Generated = Annotated[
    list[str],
    typer.Option(
        metavar="[NAME=]DIR",
        help="Folder of generated videos, or of folders of numbered pictures. Given several times, "
        "the methods are compared: one folder of results each, a table and a page.",
    ),
]
RealSplit = Annotated[
    Literal["train", "test"] | None, typer.Option(help="Only this split of the dataset.")
]
Length = Annotated[
    Literal["fail", "truncate"] | None,
    typer.Option(help="If frame counts differ: fail, or truncate to the shorter clip."),
]
Resize = Annotated[
    Literal["fail", "area"] | None,
    typer.Option(help="If sizes differ at one aspect ratio: fail, or resize generated frames."),
]
Rate = Annotated[
    Literal["fail", "ignore"] | None,
    typer.Option(help="If frame rates differ: fail, or compare frames by number."),
]
FirstFrame = Annotated[
    int, typer.Option(help="First frame to score; 1 if frame 0 is the reference.")
]
Identities = Annotated[
    Path | None,
    typer.Option(
        help="CSV table clip,identity, or each-clip if no person is in two clips: 95 % intervals "
        "are over identities.",
    ),
]


def score(
    real: Real,
    generated: Generated,
    out: Annotated[Path, opt.out_option("the results")] = Path("scores"),
    protocol: opt.Protocol = "tpbench-v2",
    metrics: opt.Metrics = None,
    split: RealSplit = None,
    length: Length = None,
    resize: Resize = None,
    rate: Rate = None,
    first_frame: FirstFrame = 0,
    identities: Identities = None,
    device: opt.Device = "auto",
    workers: opt.Workers = None,
    offline: opt.Offline = False,
    strict: opt.Strict = False,
    no_page: Annotated[
        bool, typer.Option("--no-page", help="Of several methods: no index.html, tables only.")
    ] = False,
    every: opt.AllMetrics = False,
    form: opt.Format = "table",
    as_json: opt.AsJson = False,
) -> None:
    """Score generated videos against real ones. An interrupted run is resumed."""
    from tpbench.metrics.scoring.run import ScoreRequest

    request = ScoreRequest(
        real=real,
        protocol=protocol,
        metrics=opt.metric_names(metrics),
        split=split,
        length=length,
        resize=resize,
        rate=rate,
        first_frame=first_frame,
        identities=identities,
        device=device,
        workers=workers,
        offline=offline,
        strict=strict,
    )
    folders = _named_folders(generated)
    if len(folders) == 1:
        [(name, folder)] = folders.items()
        _score_one(request, name, folder, out, every=every, form=form, as_json=as_json)
    else:
        _score_several(
            request, folders, out, page=not no_page, every=every, form=form, as_json=as_json
        )


def _named_folders(texts: Sequence[str]) -> dict[str, Path]:
    """Return the folders by the names given, or by their own names."""
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals or Path(text).is_dir():  # a folder may have = in its name
            name, folder = Path(text).resolve().name, text
        if name in found:
            raise ConfigError(
                f"--generated: {found[name]} and {folder} are both called '{name}'; give names: "
                f"--generated 'A={found[name]}' --generated 'B={folder}'"
            )
        found[name] = Path(folder)
    return found


def _score_one(
    request: ScoreRequest,
    name: str,
    folder: Path,
    out: Path,
    *,
    every: bool,
    form: Format,
    as_json: bool,
) -> None:
    from tpbench.benchmark.how_to_report import how_to_report
    from tpbench.benchmark.paper_table import Method
    from tpbench.benchmark.scored import score_named
    from tpbench.work import terminate_as_interrupt

    with terminate_as_interrupt(), scoring_bar() as listener:
        report = score_named(request, name, folder, out=out, on_progress=listener)
    if as_json:
        print_json(report.to_json(), indent=1)
    else:
        print_numbers(
            [Method(name=name, scores=report.metrics)],
            report.protocol,
            how=how_to_report([report], digests=[str(report.to_json()["digest"])]),
            notes=report.notes,
            every=every,
            form=form,
        )
        found = report.coverage
        scored = f"scored {found.n_scored} of {found.n_expected} clips"
        typer.echo(f"{scored}: {out / 'scores.json'}", err=form != "table")
    if not report.complete:
        _print_missing(report, out)
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _score_several(
    request: ScoreRequest,
    folders: Mapping[str, Path],
    out: Path,
    *,
    page: bool,
    every: bool,
    form: Format,
    as_json: bool,
) -> None:
    from tpbench.benchmark.scored import score_methods
    from tpbench.cli.compare import print_comparison
    from tpbench.work import terminate_as_interrupt

    with terminate_as_interrupt(), named_scoring_bar() as listener:
        found = score_methods(request, folders, out=out, page=page, on_progress=listener)
    if as_json:
        print_json(found.to_json(), indent=1)
    else:
        reports = list(found.reports.values())
        print_numbers(
            found.methods,
            reports[0].protocol,
            how=found.how_to_report,
            notes=[note for report in reports for note in report.notes],
            every=every,
            form=form,
        )
        for comparison in found.comparisons if form == "table" else ():
            print_comparison(comparison, every=every, alone=False)
        for path in found.board.files if found.board else ():
            typer.echo(str(path), err=form != "table")
    for name, report in found.reports.items():
        if not report.complete:
            typer.echo(f"{name}:", err=True)
            _print_missing(report, found.folders[name])
    if not found.complete:
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _print_missing(report: ScoreReport, out: Path) -> None:
    coverage = report.coverage
    lines = [f"{clip}: {error}" for clip, error in coverage.failed.items()]
    for clip in coverage.missing:
        hint = coverage.hints.get(clip)
        lines.append(f"{clip}: no generated video" + (f": {hint}" if hint else ""))
    if left := echo_some([_escaped(line) for line in lines]):
        typer.echo(f"... and {left} more in {out / 'scores.json'}", err=True)
    others = "; the values are those of the other clips" if coverage.n_scored else ""
    typer.echo(
        f"coverage {coverage.share:.3f}: {counted(len(coverage.failed), 'clip')} failed, "
        f"{len(coverage.missing)} missing{others}",
        err=True,
    )


def _escaped(line: str) -> str:
    """Escape control characters, so that a file name cannot break the line or the terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in line
    )


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
        str | None, typer.Option("--protocol", help="Only the metrics of this protocol.")
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """List the metrics with direction, unit and model files."""
    from tpbench.metrics.registry import METRICS, PROTOCOLS, metric, protocol

    chosen = protocol(protocol_id).metrics if protocol_id is not None else tuple(METRICS)
    rows = [metric(metric_id) for metric_id in chosen]
    missing = _missing_weights(rows)
    if as_json:
        print_json([_metric_as_json(row, missing) for row in rows], ascii_only=True)
        return
    print_table(_table(rows, missing), console())
    if missing:
        typer.echo(f"to download missing files: tpbench weights pull {' '.join(sorted(missing))}")
    if protocol_id is None:
        typer.echo(f"protocols: {', '.join(PROTOCOLS)}")


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


def _arrow(row: MetricRow) -> str:
    if row.target is not None:
        return f"→ {row.target:g}"
    return {"higher": "↑", "lower": "↓"}.get(row.direction, "")


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


def _table(rows: Sequence[MetricRow], missing: set[str]) -> Table:
    table = new_table("id", "better", "unit", "weights", "title", whole=("id",), ruled=False)
    for row in rows:
        table.add_row(row.id, _arrow(row), row.unit, _weights(row, missing), row.title)
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
