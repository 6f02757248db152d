"""`tpbench weights`: the model files on this machine."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpbench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.table import Table

    from tpbench.weights import WeightFile, WeightState

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Model files: list, pull, check, find.",
)

Names = Annotated[list[str] | None, typer.Argument(help="Names, as `list` shows them.")]


@app.command("list")
def list_weights(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with URLs.")] = False,
) -> None:
    """Show all model files: state, size, source, licence; --json adds sha256 and URLs."""
    from tpbench.cli.console import CleanConsole
    from tpbench.weights import WEIGHTS, state, weights_dir

    states = [state(row.name) for row in WEIGHTS]
    if as_json:
        rows = [_as_json(row, found) for row, found in zip(WEIGHTS, states, strict=True)]
        typer.echo(json.dumps(rows, indent=2))
        return
    console = CleanConsole(highlight=False)
    console.print(_table(list(zip(WEIGHTS, states, strict=True))))
    console.print(f"in {weights_dir()}", markup=False, soft_wrap=True)


@app.command()
def pull(
    names: Names = None,
    from_path: Annotated[
        Path | None,
        typer.Option("--from", help="Take this file (model, zip or wheel) instead of fetching."),
    ] = None,
) -> None:
    """Get model files. What was cut off goes on where it stopped."""
    from tpbench import weights

    if not names:
        known = ", ".join(row.name for row in weights.WEIGHTS)
        msg = f"name at least one model file to pull; known: {known}"
        raise ConfigError(msg)
    with _progress() as show:
        states = weights.pull(names, from_path=from_path, on_progress=show)
    for found in states:
        typer.echo(f"{found.name}: {found.status}, {found.path}")


@app.command()
def check(names: Names = None) -> None:
    """Read model files and compare their sha256.

    Exits with 3 if one is damaged, or if one that was named is missing.
    """
    from tpbench import weights

    states = weights.check(names)
    for found in states:
        typer.echo(f"{found.name}: {found.status}" + (f", {found.path}" if found.sha256 else ""))
    wrong = [found for found in states if found.status == "changed"]
    # Files nobody asked for may well be missing; those that were named should be there.
    absent = [found for found in states if names and found.status == "missing"]
    for found in (*wrong, *absent):
        typer.echo(
            f"{found.name} is {found.status}; run: tpbench weights pull {found.name}", err=True
        )
    if wrong or absent:
        raise typer.Exit(3)


@app.command()
def path(
    name: Annotated[str, typer.Argument(help="A name, as `list` shows it.")],
    offline: Annotated[bool, typer.Option("--offline", help="Never fetch it.")] = False,
) -> None:
    """Print where a model file is, once its checksum is known to be right."""
    from tpbench.weights import resolve

    typer.echo(resolve(name, offline=offline))


def _as_json(row: WeightFile, found: WeightState) -> dict[str, object]:
    return {
        "name": row.name,
        "state": found.status,
        "path": str(found.path),
        "source": _source(row),
        "size_bytes": row.size_bytes,
        "size_on_disk_bytes": found.size_bytes,
        "licence": row.licence,
        "sha256": row.sha256,
        "sha256_on_disk": found.sha256,
        "used_for": row.used_for,
    }


def _source(row: WeightFile) -> str:
    from tpbench.weights import UrlSource, WheelSource

    if isinstance(row.source, UrlSource):
        return row.source.url
    if isinstance(row.source, WheelSource):
        return f"{row.source.requirement}:{row.source.member}"
    return str(row.source.path)


def _table(rows: list[tuple[WeightFile, WeightState]]) -> Table:
    from urllib.parse import urlsplit

    from rich.table import Table

    from tpbench.weights import WheelSource

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "state", "MB", "source", "licence"):
        # Names are what has to be typed: they are never cut.
        table.add_column(
            title, justify="right" if title == "MB" else "left", no_wrap=title == "name"
        )
    for row, found in rows:
        size_bytes = row.size_bytes or found.size_bytes
        source = _source(row)
        table.add_row(
            row.name,
            found.status,
            f"{size_bytes / 1e6:.1f}" if size_bytes else "?",
            row.source.requirement
            if isinstance(row.source, WheelSource)
            else urlsplit(source).netloc,
            row.licence,
        )
    return table


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int | None], None]]:
    from rich import progress as bars

    from tpbench.cli.console import CleanConsole

    with bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
        console=CleanConsole(stderr=True),
        disable=not sys.stderr.isatty(),
    ) as shown:
        tasks: dict[str, bars.TaskID] = {}

        def show(name: str, done_bytes: int, total_bytes: int | None) -> None:
            if name not in tasks:
                tasks[name] = shown.add_task(name, total=total_bytes)
            shown.update(tasks[name], completed=done_bytes, total=total_bytes)

        yield show
