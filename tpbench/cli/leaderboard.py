"""`tpbench leaderboard`: runs side by side, as files to publish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tpbench.benchmark.leaderboard.build import BuiltLeaderboard

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The leaderboard: tables and a page of finished runs.",
)


@app.callback()
def _group() -> None:
    """Keep `build` a command of its own, although it is the only one."""


@app.command()
def build(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Runs, or folders with runs somewhere below; of one task, protocol and dataset.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the tables and the page.")
    ] = Path("leaderboard"),
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the dataset that the runs were made on: the page then has its clips "
            "and poses. Where a run says that it lies is never looked at.",
            show_default=False,
        ),
    ] = None,
    no_page: Annotated[
        bool, typer.Option("--no-page", help="Tables only: no index.html, no videos.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was built as JSON.")] = False,
) -> None:
    """Put finished runs into one table: CSV with its schema, Markdown, and a page.

    Partial runs and runs without scores are left out and named; that is no failure. So are runs
    that are broken or were changed after they were made, with exit code 3. Runs that can't stand in
    one table are refused with exit code 2.
    """
    from tpbench.benchmark.leaderboard.build import build_leaderboard

    built = build_leaderboard(runs, out, data=data, page=not no_page)
    if as_json:
        typer.echo(json.dumps(_as_json(built), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        board = built.leaderboard
        measured = sum(row.kind == "measured" for row in board.rows)
        typer.echo(
            f"{measured} models and {len(board.rows) - measured} anchors on {board.dataset.split} "
            f"of {board.dataset.name}: {board.dataset.n_clips} clips, {len(board.metrics)} metrics"
        )
        for path in built.files:
            typer.echo(str(path))
    for line in _remarks(built):
        typer.echo(line, err=True)
    if any(left_out.refused for left_out in built.leaderboard.left_out):
        raise typer.Exit(3)


def _remarks(built: BuiltLeaderboard) -> Iterator[str]:
    board = built.leaderboard
    for left_out in board.left_out:
        what = "refused, left out" if left_out.refused else "left out"
        yield f"{what}: {left_out.folder}: {left_out.reason}"
    for note in board.notes:
        yield f"note: {note}"
    for anchor, command in built.missing_anchors.items():
        yield f"warning: the anchor '{anchor}' is missing; make it: {command}"


def _as_json(built: BuiltLeaderboard) -> dict[str, Any]:
    board = built.leaderboard
    return {
        "files": [str(path) for path in built.files],
        "page": None if built.page is None else str(built.page),
        "task": board.task.id,
        "protocol": {"id": board.protocol.id, "digest": board.protocol.digest},
        "dataset": {
            "name": board.dataset.name,
            "digest": board.dataset.digest,
            "split": board.dataset.split,
        },
        "rows": [
            {
                "model": row.id,
                "display_name": row.display_name,
                "kind": row.kind,
                "coverage": row.coverage,
                "seeds": list(row.seeds),
                "runs": [str(run.folder) for run in row.runs],
                "run_digest": row.run_digest,
                "verified": row.verified,
                "verified_by_maker": row.claimed,
                "spread_over_seeds": {
                    name: cell.spread for name, cell in row.cells.items() if cell.spread is not None
                },
            }
            for row in board.rows
        ],
        "metrics": [metric.id for metric in board.metrics],
        "best": {name: list(marks.best) for name, marks in board.marks.items()},
        "tied": {name: list(marks.tied) for name, marks in board.marks.items()},
        "missing_anchors": dict(built.missing_anchors),
        "left_out": [
            {
                "run": str(left_out.folder),
                "reason": left_out.reason,
                "refused": left_out.refused,
            }
            for left_out in board.left_out
        ],
        "notes": list(board.notes),
    }
