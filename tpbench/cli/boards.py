"""`tpbench leaderboard`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpbench.cli import options as opt
from tpbench.cli.output import counted, print_json, side_of

if TYPE_CHECKING:
    from tpbench.benchmark.leaderboard.tables import BuiltLeaderboard


leaderboard_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The leaderboard: tables and a page from finished runs.",
)


@leaderboard_app.callback()
def _group() -> None:
    """Keep `build` as a subcommand, although it is the only one."""


@leaderboard_app.command()
def build(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of runs or of `tpbench score`, or folders to search for them: one task, "
            "protocol and dataset.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, opt.out_option("the tables and the page")] = Path("leaderboard"),
    data: Annotated[
        Path | None,
        typer.Option(
            help="Only runs on this dataset; adds its clips and poses to the page. The place that "
            "a run recorded for it is never used.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Only runs of this split: test, train, all, test-v1 ...")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Only runs of this task: self, cross, score.")
    ] = None,
    no_page: Annotated[
        bool, typer.Option("--no-page", help="Tables only, without index.html and videos.")
    ] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Build a leaderboard from finished runs.

    Writes CSV with a schema, Markdown, and a page.

    Partial runs and runs without scores are left out and listed. Broken runs, and runs modified
    after they were made, are left out too, with exit code 3. Runs that cannot share a table are
    refused with exit code 2.
    """
    from tpbench.benchmark.leaderboard.tables import build_leaderboard

    built = build_leaderboard(runs, out, data=data, split=split, task=task, page=not no_page)
    if as_json:
        print_json(_as_json(built), indent=1)
    else:
        board = built.leaderboard
        measured = sum(row.kind == "measured" for row in board.rows)
        anchors = counted(len(board.rows) - measured, "anchor")
        also = f" and {anchors}" if measured < len(board.rows) else ""
        where = side_of(board.dataset.name, board.dataset.split)
        typer.echo(
            f"{counted(measured, 'model')}{also} on {where}: "
            f"{counted(board.dataset.n_clips, 'clip')}, {counted(len(board.metrics), 'metric')}"
        )
        for path in built.files:
            typer.echo(str(path))
    for line in _board_remarks(built):
        typer.echo(line, err=True)
    if any(left_out.refused for left_out in built.leaderboard.left_out):
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _board_remarks(built: BuiltLeaderboard) -> Iterator[str]:
    board = built.leaderboard
    for left_out in board.left_out:
        what = "refused, left out" if left_out.refused else "left out"
        yield f"{what}: {left_out.folder}: {left_out.reason}"
    for note in board.notes:
        yield f"note: {note}"
    for anchor, command in built.missing_anchors.items():
        yield f"warning: anchor '{anchor}' is missing; run: {command}"


def _as_json(built: BuiltLeaderboard) -> dict[str, Any]:
    board = built.leaderboard
    return {
        "files": [str(path) for path in built.files],
        "page": None if built.page is None else str(built.page),
        "task": board.task.id,
        "protocol": {"id": board.protocol["id"], "digest": board.protocol["digest"]},
        "dataset": board.dataset.model_dump(include={"name", "digest", "split"}),
        "rows": [
            {
                "model": row.id,
                "display_name": row.display_name,
                "kind": row.kind,
                "coverage": row.coverage,
                "seeds": row.seeds,
                "runs": [str(run.folder) for run in row.runs],
                "run_digest": row.run_digest,
                "verified": row.verified,
                "verified_by_maker": row.claimed,
                "spread_over_seeds": {
                    name: spread for name in row.scores if (spread := row.spread(name)) is not None
                },
            }
            for row in board.rows
        ],
        "metrics": [metric.id for metric in board.metrics],
        "best": {name: marks.best for name, marks in board.marks.items()},
        "tied": {name: marks.tied for name, marks in board.marks.items()},
        "missing_anchors": built.missing_anchors,
        "left_out": [
            {"run": str(one.folder), "reason": one.reason, "refused": one.refused}
            for one in board.left_out
        ],
        "notes": board.notes,
    }
