"""`tpbench score`: a folder of generated videos against real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from tpbench.cli.progress import scoring_bar
from tpbench.cli.score_table import print_whole, remarks, score_table

if TYPE_CHECKING:
    from tpbench.metrics.scoring.report import ScoreReport

INCOMPLETE_EXIT_CODE: Final = 3

_LISTED: Final = 5


def score(
    real: Annotated[Path, typer.Option(help="A dataset, or any folder of videos.")],
    generated: Annotated[
        Path, typer.Option(help="Folder of generated videos, or of folders of pictures.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for scores.json and frames.parquet.")
    ] = Path("scores"),
    protocol: Annotated[
        str, typer.Option(help="`tpbench metrics list` shows them.")
    ] = "tpbench-v2",
    metrics: Annotated[
        str | None, typer.Option(help="Only these, with commas between: psnr,ssim,tje_d2.")
    ] = None,
    split: Annotated[
        Literal["train", "test"] | None, typer.Option(help="Only this split of a dataset.")
    ] = None,
    length: Annotated[
        Literal["fail", "truncate"] | None,
        typer.Option(help="Other numbers of frames: an error, or compare till one ends."),
    ] = None,
    resize: Annotated[
        Literal["fail", "area"] | None,
        typer.Option(help="Another size, same shape: an error, or resize generated frames."),
    ] = None,
    rate: Annotated[
        Literal["fail", "ignore"] | None,
        typer.Option(help="Another frame rate: an error, or compare frames by number."),
    ] = None,
    first_frame: Annotated[
        int, typer.Option(help="Frames before it are not scored; 1 if frame 0 is the reference.")
    ] = 0,
    identities: Annotated[
        Path | None,
        typer.Option(help="CSV table clip,identity: 95 % intervals are over identities."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(help="Processes, a core each. Default: all cores.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never fetch model files.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="A metric that can't be measured is an error.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print scores.json.")] = False,
) -> None:
    """Score generated videos; go on where an earlier run stopped."""
    from tpbench.execution import terminate_as_interrupt
    from tpbench.metrics.scoring.api import score as score_folders

    wanted = None if metrics is None else [name.strip() for name in metrics.split(",")]
    with terminate_as_interrupt(), scoring_bar() as listener:
        report = score_folders(
            real,
            generated,
            out=out,
            protocol=protocol,
            metrics=None if wanted is None else [name for name in wanted if name],
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
            on_progress=listener,
        )
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=1, allow_nan=False, ensure_ascii=False))
    else:
        _print(report, out)
    if not report.complete:
        _tell_what_lacks(report, out)
        raise typer.Exit(INCOMPLETE_EXIT_CODE)


def _print(report: ScoreReport, out: Path) -> None:
    from tpbench.cli.console import CleanConsole

    console = CleanConsole(highlight=False, markup=False, emoji=False)
    print_whole(score_table(report.metrics), console)
    both = report.protocol["told_beside"] == "mean_of_frames"
    for warning in dict.fromkeys(remarks(report.metrics, both_means=both)):
        console.print(warning, soft_wrap=True)
    for note in report.notes:
        console.print(note, soft_wrap=True)
    coverage = report.coverage
    typer.echo(f"scored {coverage.n_scored} of {coverage.n_expected} clips: {out / 'scores.json'}")


def _tell_what_lacks(report: ScoreReport, out: Path) -> None:
    coverage = report.coverage
    lines = [f"{clip}: {error}" for clip, error in coverage.failed.items()]
    for clip in coverage.missing:
        hint = coverage.hints.get(clip)
        lines.append(f"{clip}: nothing was generated for it" + (f": {hint}" if hint else ""))
    for line in lines[:_LISTED]:
        typer.echo(_harmless(line), err=True)
    if len(lines) > _LISTED:
        typer.echo(f"... and {len(lines) - _LISTED} more in {out / 'scores.json'}", err=True)
    others = "; the values are those of the others" if coverage.n_scored else ""
    typer.echo(
        f"coverage {coverage.share:.3f}: {len(coverage.failed)} clips failed, "
        f"{len(coverage.missing)} are missing{others}",
        err=True,
    )


def _harmless(line: str) -> str:
    """Return a line with file names in it, of which none can break it or steer the terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in line
    )
