"""`tpbench models`: what can be run, what it needs, and whether it is what it should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tpbench.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from tpbench.baselines.model_row import ModelRow
    from tpbench.baselines.reported import ReportedValue

FAILED_EXIT_CODE = 3

_WITH_PARITY_CASES = ("talkingpose",)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Models: list, show, install, check.",
)

Name = Annotated[str, typer.Argument(help="A model, as `list` shows it.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """Show all models and variants, one line on each; --json adds all that `show` says."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from tpbench.baselines.registry import MODELS

    if as_json:
        _echo_json([_as_json(row) for row in MODELS.values()])
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", no_wrap=True)  # names are what has to be typed
    table.add_column("kind")
    table.add_column("what it is")
    for row in MODELS.values():
        names = [row.id, *(f"{row.id}:{variant}" for variant in row.variants)]
        table.add_row("\n".join(names), row.kind, row.description)
    Console(highlight=False).print(table)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show what a model needs, its licences, variants, installation and published numbers."""
    from tpbench.baselines.registry import find
    from tpbench.baselines.reported import reported_for

    row, _variant = find(name)
    published = reported_for(row.id)
    if as_json:
        _echo_json({**_as_json(row), "reported": [_value_as_json(value) for value in published]})
        return
    for line in _lines(row):
        typer.echo(line)
    if published:
        typer.echo("published by others, on their own test sets (not comparable with ours):")
        for line in _published(published):
            typer.echo(line)


@app.command()
def install(name: Name) -> None:
    """Print the steps that get a model onto this machine; lines with `#` are only to be read."""
    from tpbench.baselines.registry import find

    row, _variant = find(name)
    for line in row.install or (f"# {row.id} needs no installation: it comes with tpbench",):
        typer.echo(line)


@app.command()
def check(
    name: Name,
    golden: Annotated[
        Path | None,
        typer.Option(help="A parity case or a folder of cases. Default: the one in the package."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or auto.")] = "cpu",
    dtype: Annotated[
        Literal["fp32", "fp16", "bf16"],
        typer.Option(help="fp16 and bf16 show how far they are off; they miss the tolerance."),
    ] = "fp32",
) -> None:
    """Compute a known case on this machine and compare; exits with 3 if it is too far off."""
    if name not in _WITH_PARITY_CASES:
        msg = f"no parity cases for '{name}'{did_you_mean(name, _WITH_PARITY_CASES)}"
        raise ConfigError(msg)
    from tpbench.baselines.talkingpose.parity import find_parity_cases, run_parity_case

    failed = False
    for folder in find_parity_cases(golden):
        report = run_parity_case(folder, device=device, dtype=dtype)
        verdict = "passed" if report.passed else "FAILED"
        typer.echo(
            f"{report.case}: {verdict} (largest error {report.max_error:.1e}, tolerance "
            f"{report.tolerance:.0e}, {report.dtype} on {report.device})"
        )
        for clip in report.clips:
            errors = f"latents {clip.latents_error:.1e}, frames {clip.frames_error:.1e}"
            typer.echo(f"  {clip.clip_id}: {errors}")
        failed |= not report.passed
    if failed:
        raise typer.Exit(FAILED_EXIT_CODE)


def _lines(row: ModelRow) -> list[str]:
    """Return what a row says, one fact a line."""
    facts = {
        "kind": row.kind,
        "licence of the code": row.licence_code,
        "licence of the weights": row.licence_weights,
        "parameters": f"{row.params_b:g} billion" if row.params_b is not None else "",
        "home": row.url,
    }
    lines = [f"{row.id}: {row.display_name}", f"  {row.description}"]
    lines += [f"  {name}: {value}" for name, value in facts.items() if value]
    for variant, options in row.variants.items():
        said = ", ".join(f"{key}={value}" for key, value in options.items())
        lines.append(f"  variant {row.id}:{variant}: {said}")
    lines += [f"  needs: {line}" for line in row.needs]
    if row.install:
        lines.append(f"  how to get it: tpbench models install {row.id}")
    return lines


def _published(values: tuple[ReportedValue, ...]) -> list[str]:
    """Return two lines for each test set of each source: the numbers, and who says so."""
    from itertools import groupby

    lines = []
    for (test_set, source, second_hand), group in groupby(
        values, key=lambda value: (value.test_set, value.source_title, value.secondary)
    ):
        numbers = [
            f"{value.metric} {value.value:g}"
            + (" (of the family with the uint8 overflow)" if value.overflow_psnr else "")
            for value in group
        ]
        lines.append(f"  {test_set or 'test set not named'}: {', '.join(numbers)}")
        lines.append(f"    {source}" + (" (second-hand)" if second_hand else ""))
    return lines


def _as_json(row: ModelRow) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(row), "variants": {name: dict(v) for name, v in row.variants.items()}}


def _value_as_json(value: ReportedValue) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(value)


def _echo_json(content: object) -> None:
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
