"""`tpbench verify`: whether a run's files and scores are what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from tpbench.cli.progress import scoring_bar

WRONG_EXIT_CODE: Final = 3


def verify(
    run: Annotated[Path, typer.Argument(help="Folder of the run.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of its dataset. Default: where it lay, or $TPBENCH_DATA."),
    ] = None,
    no_recompute: Annotated[
        bool, typer.Option("--no-recompute", help="Only digests: don't compute the scores again.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(help="Processes, a core each. Default: all cores.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never fetch model files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Check every sha256 of a run, and compute its scores again from the generated clips."""
    from tpbench.benchmark.verify import verify_run
    from tpbench.execution import terminate_as_interrupt

    with terminate_as_interrupt(), scoring_bar() as listener:
        found = verify_run(
            run,
            data=data,
            recompute=not no_recompute,
            device=device,
            workers=workers,
            offline=offline,
            on_progress=listener,
        )
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1, ensure_ascii=False))
    else:
        for note in found.notes:
            typer.echo(f"note: {note}")
        if found.ok:
            values = f", {found.n_values:,} values came out again" if found.n_values else ""
            typer.echo(f"verified ({found.level}): {found.n_files:,} files are right{values}")
    for problem in found.problems:
        typer.echo(problem, err=True)
    if not found.ok:
        typer.echo(f"{run}: not verified, {len(found.problems)} problems", err=True)
        raise typer.Exit(WRONG_EXIT_CODE)
