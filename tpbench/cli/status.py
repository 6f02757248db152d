"""`tpbench status`."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tpbench.cli import options as opt
from tpbench.cli.output import console, duration, new_table, print_json, print_table
from tpbench.errors import ConfigError

if TYPE_CHECKING:
    from tpbench.benchmark.status import FolderStatus, PartStatus

_ALWAYS: Final = {
    "dataset": ("kept", "rejected", "failed"),
    "run": ("done", "failed"),
    "scores": ("done", "failed"),
}
"""Outcomes that have a column even where there are none."""
_NAMED: Final = 8
"""Items in work that are named for each part, the oldest first."""

_LONGEST_S: Final = 86_400
"""Between two tellings: a day."""


def status(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Dataset (also its address), folder of a run, or of scores.", show_default=False
        ),
    ],
    watch: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=1,
            max=_LONGEST_S,
            help="Tell again every so many seconds while it goes on.",
        ),
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Tell how far a run is, from any machine."""
    from tpbench.benchmark.status import status_of

    if watch is not None and math.isnan(watch):
        raise ConfigError("--watch wants seconds, got nan")
    while True:
        found = status_of(folder)
        if as_json:
            print_json(_as_json(found), indent=1)
        else:
            _print(found)
        if watch is None or not found.is_working:
            return
        time.sleep(watch)


def _as_json(found: FolderStatus) -> dict[str, Any]:
    from tpbench.benchmark.status import figures_of, total_of

    return {
        "folder": found.folder,
        "kind": found.kind,
        "step": found.step,
        "parts": [figures_of(part) for part in found.parts],
        "total": total_of(found.parts),
        "notes": list(found.notes),
    }


def _print(found: FolderStatus) -> None:
    from tpbench.benchmark.status import figures_of, total_of

    to = console()
    step = f", {found.step}" if found.step else ""
    to.print(f"{found.folder}: {found.kind}{step}", soft_wrap=True)
    rows = [figures_of(part) for part in found.parts]
    if len(rows) > 1:
        rows.append(total_of(found.parts) | {"part": "total", "state": ""})
    if rows:
        _print_rows(rows, found, to.width)
    for part in found.parts:
        if line := _in_work(part):
            to.print(line, soft_wrap=True)
        if part.state == "silent":
            to.print(
                f"{part.part or 'its driver'}: no sign of life, it was killed, halted or cut off; "
                "the same command goes on",
                soft_wrap=True,
            )
    for note in found.notes:
        to.print(note, soft_wrap=True)


def _print_rows(rows: list[dict[str, Any]], found: FolderStatus, width: int) -> None:
    names = list(_ALWAYS[found.kind])
    names += sorted({n for row in rows for n, count in row["counts"].items() if count} - {*names})
    heads = [*names, "in work", "left", f"{found.unit}s/h", "frames/s", "hours", "time left"]
    table = new_table("part", "state", *heads, right=heads, whole=["part", "state"])
    for row in rows:
        counts = [_number(row["counts"].get(name)) for name in names]
        if not row["counts"]:
            counts = ["" for _ in names]
        table.add_row(
            row["part"] or "all",
            row["state"],
            *counts,
            _number(row["in_work"]),
            _number(row["left"]),
            _number(row["items_per_h"]),
            _number(row["frames_per_s"]),
            _hours(row),
            "" if row["left_s"] is None else duration(row["left_s"]),
        )
    to = console()
    to.width = max(width, 1)
    print_table(table, to, spare=["frames/s", "hours"])


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.1f}" if 0 < value < 10 and isinstance(value, float) else f"{value:,.0f}"


def _hours(row: dict[str, Any]) -> str:
    """Return the hours of video done, of all where that is known."""
    done_s, left_s = row["media_done_s"], row["media_left_s"]
    if done_s is None:
        return ""
    if left_s is None:
        return f"{done_s / 3600:.2f}"
    about = "about " if row["is_guessed"] and left_s else ""
    return f"{done_s / 3600:.2f} of {about}{(done_s + left_s) / 3600:.2f}"


def _in_work(part: PartStatus) -> str:
    """Name what is in work, and for how long."""
    if not part.is_working or part.driver is None or not part.driver.in_work:
        return ""
    named = [f"{one.item} ({duration(one.for_s)})" for one in part.driver.in_work[:_NAMED]]
    more = part.driver.n_in_work - len(named)
    return f"{part.part or 'now'}: {', '.join(named)}{f' and {more} more' if more > 0 else ''}"
