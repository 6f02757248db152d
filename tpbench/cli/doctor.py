"""`tpbench doctor`: what this machine has."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tpbench.doctor import Check

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only what is essential and missing.")
    ] = False,
) -> None:
    """Say what this machine has. Exits with 3 if something essential is missing."""
    from tpbench.doctor import examine

    checks = examine()
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    elif not quiet:
        _print(checks)
    else:
        for check in checks:
            if check.status == "fail":
                remedy = f"; {check.remedy}" if check.remedy else ""
                typer.echo(f"{check.name}: {check.detail}{remedy}", err=True)
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(3)


def _print(checks: list[Check]) -> None:
    from rich.text import Text

    from tpbench.cli.console import CleanConsole

    console = CleanConsole(highlight=False, soft_wrap=True)
    area = ""
    for check in checks:
        if check.area != area:
            area = check.area
            console.print(Text(area, style="bold"))
        line = Text("  ")
        line.append(f"{check.status:<5}", style=_STYLES[check.status])
        line.append(f"{check.name}: {check.detail}")
        console.print(line)
        if check.remedy:
            console.print(Text(f"         -> {check.remedy}"))
    counts = [f"{sum(check.status == s for check in checks)} {s}" for s in _STYLES]
    console.print(Text(", ".join(counts)))
