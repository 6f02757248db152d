"""`tpbench check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from tpbench.cli import options as opt
from tpbench.cli.output import console, counted, new_table, print_json, print_table
from tpbench.cli.progress import progress_bar

if TYPE_CHECKING:
    from rich.table import Table

    from tpbench.dataset.checking import CheckReport
    from tpbench.work import Progress

_MOST_ROWS: Final = 40


def check(
    dataset: opt.DatasetFolder,
    workers: opt.Workers = None,
    as_json: opt.AsJson = False,
) -> None:
    """Find what is wrong in a dataset, and who is in both splits.

    Clips on different sides of the split are compared by their pictures, also in a mirror. Exit
    code 3 if anything is wrong.
    """
    from tpbench.dataset.checking import check_dataset
    from tpbench.dataset.remote import local_dataset
    from tpbench.work import terminate_as_interrupt

    folder = local_dataset(dataset, with_clips=True)
    with terminate_as_interrupt(), progress_bar("clips", several_steps=True) as show:

        def listener(state: Progress) -> None:
            show(state, step=state.step)

        report = check_dataset(folder, workers=workers, listener=listener)
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
    if report.problems:
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _print(report: CheckReport) -> None:
    if report.problems:
        print_table(_table(report), console())
        if (more := len(report.problems) - _MOST_ROWS) > 0:
            typer.echo(f"and {counted(more, 'other problem')}; --json lists all")
    for note in report.notes:
        typer.echo(f"note: {note}", err=True)
    looked = f"{counted(report.n_clips, 'clip')} of {counted(report.n_identities, 'identity')}"
    compared = f", {report.n_compared:,} compared across the split" if report.n_compared else ""
    found = counted(len(report.problems), "problem") if report.problems else "nothing is wrong"
    typer.echo(f"checked {looked}{compared}: {found}")


def _table(report: CheckReport) -> Table:
    table = new_table("where", "what is wrong", "what to do")
    for problem in report.problems[:_MOST_ROWS]:
        table.add_row(problem.where, problem.what, problem.remedy)
    return table
