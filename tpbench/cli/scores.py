"""`tpbench score`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tpbench.cli import options as opt
from tpbench.cli.numbers import print_numbers
from tpbench.cli.output import (
    counted,
    echo_some,
    print_json,
)
from tpbench.cli.progress import named_scoring_bar, scoring_bar
from tpbench.errors import ConfigError
from tpbench.foreign import printable

if TYPE_CHECKING:
    from tpbench.benchmark.markup import Format
    from tpbench.metrics.scoring.report import ScoreReport
    from tpbench.metrics.scoring.request import ScoreRequest


Real = Annotated[Path, typer.Option(help="Dataset folder, or any folder of videos.")]
Generated = Annotated[
    list[str],
    typer.Option(
        metavar="[NAME=]DIR",
        help="Folder of generated videos, or of folders of numbered pictures. Given several times, "
        "the methods are compared: one folder of results each, a table and a page. A method that "
        "comes later joins the table with the same --out.",
    ),
]
RealSplit = Annotated[
    str | None,
    typer.Option(
        help="Only this split of the dataset: test, train, or a frozen test split such as test-v1."
    ),
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
    executor: opt.Executor = "local",
    ray_address: opt.RayAddress = None,
    item_timeout: opt.ItemTimeout = 1800,
    retry_failed: opt.RetryFailed = False,
    offline: opt.Offline = False,
    strict: opt.Strict = False,
    no_page: Annotated[
        bool, typer.Option("--no-page", help="Of several methods: no index.html, tables only.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check which videos fit, without scoring any.")
    ] = False,
    every: opt.AllMetrics = False,
    form: opt.Format = "table",
    as_json: opt.AsJson = False,
) -> None:
    """Score generated videos against real ones. An interrupted run is resumed."""
    from tpbench.benchmark.scored import methods_in
    from tpbench.dataset.remote import local_dataset
    from tpbench.metrics.scoring.request import ScoreRequest

    request = ScoreRequest(
        real=local_dataset(real, with_clips=True),
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
        engine=opt.engine(executor, ray_address),
        item_timeout_s=item_timeout,
        retry_failed=retry_failed,
    )
    folders = _named_folders(generated)
    if dry_run:
        _try(request, folders, as_json=as_json)
    elif len(folders) == 1 and not methods_in(out):
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
        elif not name.strip() or not folder.strip():
            raise ConfigError(f"--generated wants DIR or NAME=DIR, got '{text}'")
        if name in found:
            raise ConfigError(
                f"--generated: {found[name]} and {folder} are both called '{name}'; give names: "
                f"--generated 'A={found[name]}' --generated 'B={folder}'"
            )
        found[name] = Path(folder)
    return found


def _try(request: ScoreRequest, folders: Mapping[str, Path], *, as_json: bool) -> None:
    from tpbench.metrics.scoring.request import open_real, pair_folder
    from tpbench.metrics.scoring.trial import try_scoring

    setting, real = request.setting(), open_real(request, hashed=False)
    found = {
        name: try_scoring(pair_folder(real, folder, request.identities), setting)
        for name, folder in folders.items()
    }
    if as_json:
        print_json({name: trial.to_json() for name, trial in found.items()}, indent=1)
    else:
        for name, trial in found.items():
            fitting = f"{trial.n_fitting} of {trial.n_expected} clips can be scored"
            typer.echo(f"{printable(name)}: {fitting}, {counted(trial.n_frames, 'frame')}")
            for line in trial.notes:
                typer.echo(f"  {line}")
        for name, reason in next(iter(found.values())).not_measured.items():
            typer.echo(f"not measured: {name}: {reason}")
    for name, trial in found.items():
        lines = [f"{name}: {clip}: {error}" for clip, error in trial.failed.items()]
        lines += [f"{name}: {clip}: {_no_video(trial.hints.get(clip))}" for clip in trial.missing]
        if left := echo_some([_escaped(line) for line in lines]):
            typer.echo(f"... and {left} more; --json lists them all", err=True)
    if not all(trial.complete for trial in found.values()):
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _no_video(hint: str | None) -> str:
    return "no generated video" + (f": {hint}" if hint else "")


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
    if found.earlier:
        names = ", ".join(map(printable, found.earlier))
        typer.echo(f"also in the table, as scored into {out} before: {names}", err=True)
    for name, reason in found.left_out.items():
        typer.echo(f"not in the table: {_escaped(f'{name}: {reason}')}", err=True)
    for name, report in found.reports.items():
        if not report.complete:
            typer.echo(f"{name}:", err=True)
            _print_missing(report, found.folders[name])
    if not found.complete:
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _print_missing(report: ScoreReport, out: Path) -> None:
    coverage = report.coverage
    lines = [f"{clip}: {error}" for clip, error in coverage.failed.items()]
    lines += [f"{clip}: {_no_video(coverage.hints.get(clip))}" for clip in coverage.missing]
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
