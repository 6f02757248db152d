"""`tpbench compare`: two runs on the same clips."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpbench.cli.score_table import ARROWS, interval, plain_table, print_whole, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from tpbench.benchmark.compare import Comparison


def compare(
    run_a: Annotated[Path, typer.Argument(help="Folder of a scored run.", show_default=False)],
    run_b: Annotated[Path, typer.Argument(help="Folder of another.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print all as JSON.")] = False,
) -> None:
    """Compare two runs: differences on the clips that both have, and the worst clips."""
    from tpbench.benchmark.compare import compare_runs

    found = compare_runs(run_a, run_b)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1, allow_nan=False, ensure_ascii=False))
    else:
        _say(found)


def _say(found: Comparison) -> None:
    from tpbench.cli.console import CleanConsole

    console = CleanConsole(highlight=False, markup=False, emoji=False)
    for letter, run in (("A", found.a), ("B", found.b)):
        name, seed = run.info.model.name, run.info.seed
        console.print(f"{letter}: {name}, seed {seed}: {run.folder.path}", soft_wrap=True)
    print_whole(_table(found), console)
    lacking: dict[str, list[str]] = {}
    for name, one in found.metrics.items():
        if one.reason:
            what = "difference" if math.isnan(one.difference) else "interval"
            lacking.setdefault(f"no {what}: {one.reason}", []).append(name)
    for reason, names in lacking.items():
        console.print(f"{reason} ({', '.join(names)})", soft_wrap=True)
    for line in _remarks(found):
        console.print(line, soft_wrap=True)
    for name, losses in found.worst.items():
        worst = [f"{x.clip_id} ({shown(x.a)} against {shown(x.b)})" for x in losses]
        if worst:
            console.print(f"{name}: A loses most on {', '.join(worst)}", soft_wrap=True)


def _remarks(found: Comparison) -> Iterator[str]:
    """Yield which clips are in the table, how many comparisons it is, and what is judged how."""
    if found.n_unpaired:
        yield f"{found.n_unpaired} clips have scores in one run only: they count for nothing here"
    for name, one in found.metrics.items():
        if one.n_lacking_a or one.n_lacking_b:
            lacking = f"A has no value in {one.n_lacking_a} clips, B in {one.n_lacking_b}"
            yield f"{name}: {lacking} where the other has one; left out of A, B and A - B"
    if infinite := [name for name, one in found.metrics.items() if one.n_infinite]:
        yield f"infinite values count as 100 dB, in A, B and A - B alike ({', '.join(infinite)})"
    if found.unjudged:
        yield f"nothing is called better: {found.unjudged}"
    else:
        yield (
            f"better: {found.n_judged} comparisons, judged by one joint test (sign flips over "
            "identities, greatest of all metrics): of equal runs at most 5 % differ anywhere"
        )


def _table(found: Comparison) -> Table:
    left = {"metric", "", "unit", "better"}
    headers = ("metric", "", "A", "B", "A - B", "95 % interval", "unit", "clips", "better")
    table = plain_table({name: name in left for name in headers})
    for name, one in found.metrics.items():
        arrow = ARROWS[one.direction]
        if one.quantity != "value":
            # The values are shown; what is judged, and its interval, stand in a line of their own.
            values = shown(one.value_a), shown(one.value_b)
            table.add_row(name, arrow, *values, "", "", one.unit, str(one.n_clips), "")
            arrow = ARROWS["lower"]
        table.add_row(
            name if one.quantity == "value" else f"  {one.quantity}",
            arrow,
            shown(one.a),
            shown(one.b),
            shown(one.difference),
            interval(one.low, one.high),
            one.unit,
            str(one.n_clips),
            (one.better or "").upper(),
        )
    return table
