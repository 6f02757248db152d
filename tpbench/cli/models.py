"""`tpbench models`, `weights`, `cache` and `doctor`: models and the state of this machine."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tpbench.cli import options as opt
from tpbench.cli.output import console, new_table, print_json, print_table, size
from tpbench.errors import ConfigError, did_you_mean
from tpbench.foreign import printable

if TYPE_CHECKING:
    from tpbench.baselines.base import ModelRow, OptionRow, WeightPart
    from tpbench.baselines.registry import ReportedValue
    from tpbench.doctor import Check

_WITH_PARITY_CASES = ("talkingpose",)

models_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Models: list, show, install, check.",
)

Name = Annotated[
    str,
    typer.Argument(
        help="Model, as listed by `tpbench models list`, or a spec.yaml.", show_default=False
    ),
]


@models_app.command("list")
def list_models(as_json: opt.AsJson = False) -> None:
    """List all models and variants.

    --json includes everything that `show` prints.
    """
    from tpbench.baselines.registry import MODELS

    if as_json:
        print_json([_as_json(row, row.id) for row in MODELS.values()])
        return
    table = new_table("model", "kind", "description", whole=("model", "kind"))
    for row in MODELS.values():
        names = [row.id, *(f"{row.id}:{variant}" for variant in row.variants)]
        table.add_row("\n".join(names), row.kind, row.description)
    print_table(table, console())


@models_app.command()
def show(name: Name, as_json: opt.AsJson = False) -> None:
    """Show what a model needs, its options, licences and variants.

    Also shows how it is installed, its weights, and published numbers.
    """
    from tpbench.baselines.external.spec import is_spec_file
    from tpbench.baselines.registry import find, option_table, reported_for, weight_parts

    row, _variant = find(name)
    published = reported_for(row.id)
    if as_json:
        print_json(_as_json(row, name))
        return
    for line in _lines(row, name if is_spec_file(name) else row.id):
        typer.echo(printable(line))
    _print_options(option_table(name))
    _print_weights(row, weight_parts(name))
    if published:
        typer.echo("published by others, on their own test sets (not comparable with ours):")
        for line in _published(published):
            typer.echo(line)


@models_app.command()
def install(name: Name) -> None:
    """Print the steps that install a model on this machine.

    Lines with `#` are comments.
    """
    from tpbench.baselines.registry import find

    row, _variant = find(name)
    for line in row.install or (f"# {row.id} needs no installation: it comes with tpbench",):
        typer.echo(printable(line))


@models_app.command()
def check(
    name: Name,
    golden: Annotated[
        Path | None,
        typer.Option(help="A parity case or a folder of cases. Default: the bundled case."),
    ] = None,
    device: opt.Device = "cpu",
    dtype: Annotated[
        Literal["fp32", "fp16", "bf16"],
        typer.Option(help="fp16 and bf16 show their error; both miss the tolerance."),
    ] = "fp32",
) -> None:
    """Compare a model with its released code on a known case.

    Exit code 3 if they differ. For an external method: check that it is installed completely.
    """
    if name not in _WITH_PARITY_CASES:
        _check_installed(name, device=device)
        return
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
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _check_installed(name: str, *, device: str) -> None:
    """Check that an external method is installed completely."""
    from tpbench.baselines.external.method import find_installation
    from tpbench.baselines.external.spec import is_spec_file, load_spec, spec_ids
    from tpbench.devices import require_device

    if not is_spec_file(name) and name not in spec_ids():
        raise ConfigError(f"no parity cases for '{name}'{did_you_mean(name, _WITH_PARITY_CASES)}")
    require_device(device, library="driver")
    spec = load_spec(name)
    find_installation(spec)
    typer.echo(f"{spec.id}: its checkout, Python and weights are in place")


def _lines(row: ModelRow, name: str) -> list[str]:
    """Return the description of a model, one fact per line."""
    facts = {
        "kind": row.kind,
        "licence of the code": row.licence_code,
        "licence of the weights": row.licence_weights,
        "parameters": f"{row.params_b:g} billion" if row.params_b is not None else "",
        "home": row.url,
        "paper": row.paper_url,
        "page of the weights": row.weights_url,
    }
    lines = [f"{row.id}: {row.display_name}", f"  {row.description}"]
    lines += [f"  {name}: {value}" for name, value in facts.items() if value]
    for variant, options in row.variants.items():
        listed = ", ".join(f"{key}={value}" for key, value in options.items())
        lines.append(f"  variant {row.id}:{variant}: {listed}")
    lines += [f"  needs: {line}" for line in row.needs]
    if row.install:
        lines.append(f"  to install: tpbench models install {shlex.quote(name)}")
        lines += [f"    {line}" for line in row.install if not line.startswith("#")]
    return lines


def _as_json(row: ModelRow, name: str) -> dict[str, object]:
    from tpbench.baselines.registry import option_table, reported_for, weight_parts

    return {
        **row.model_dump(),
        "options": [option._asdict() for option in option_table(name)],
        "weights": [part._asdict() for part in weight_parts(name)],
        "reported": [asdict(value) for value in reported_for(row.id)],
    }


def _print_options(options: Sequence[OptionRow]) -> None:
    if not options:
        return
    typer.echo("options (--option NAME=VALUE):")
    table = new_table(
        "  name", "default", "values", "meaning", whole=("  name", "default"), ruled=False
    )
    for option in options:
        default = "required" if option.required else _shown_default(option.default)
        table.add_row(f"  {option.name}", default, option.type, option.meaning)
    print_table(table, console())


def _shown_default(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _print_weights(row: ModelRow, parts: Sequence[WeightPart]) -> None:
    if not parts:
        return
    typer.echo("weights:")
    table = new_table(
        "  name",
        "state",
        "size",
        "licence",
        right=("size",),
        whole=("  name", "state", "size"),
        ruled=False,
    )
    for part in parts:
        shown = size(part.size_bytes) if part.size_bytes else "?"
        table.add_row(f"  {part.name}", part.status, shown, part.licence)
    print_table(table, console())
    if row.weights and any(part.status in ("missing", "changed") for part in parts):
        typer.echo(f"  to download them: tpbench weights pull {row.weights}")


def _published(values: tuple[ReportedValue, ...]) -> list[str]:
    """Return two lines for each test set of each source: the numbers and the source."""
    from itertools import groupby

    lines = []
    for (test_set, source, second_hand), group in groupby(
        values, key=lambda value: (value.test_set, value.source_title, value.secondary)
    ):
        numbers = [
            f"{value.metric} {value.value:g}"
            + (" (may be inflated by a uint8 overflow)" if value.overflow_psnr else "")
            for value in group
        ]
        lines.append(f"  {test_set or 'test set not named'}: {', '.join(numbers)}")
        lines.append(f"    {source}" + (" (second-hand)" if second_hand else ""))
    return lines


_STYLES = {"ok": "green", "missing": "yellow", "warn": "yellow", "fail": "red"}


def doctor(
    as_json: opt.AsJson = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only essential things that are missing.")
    ] = False,
) -> None:
    """Check what this machine has. Exit code 3 if something essential is missing."""
    from tpbench.doctor import examine

    checks = examine()
    if as_json:
        print_json([asdict(check) for check in checks], ascii_only=True)
    elif not quiet:
        _print_checks(checks)
    else:
        for check in checks:
            if check.status == "fail":
                remedy = f"; {check.remedy}" if check.remedy else ""
                typer.echo(f"{check.name}: {check.detail}{remedy}", err=True)
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _print_checks(checks: list[Check]) -> None:
    from rich.text import Text

    to = console()
    area = ""
    for check, after in zip_longest(checks, checks[1:]):
        if check.area != area:
            area = check.area
            to.print(Text(area, style="bold"), soft_wrap=True)
        line = Text("  ")
        line.append(f"{check.status:<8}", style=_STYLES[check.status])
        line.append(f"{check.name}: {check.detail}")
        to.print(line, soft_wrap=True)
        # One command often gets several files: it stands below the last of them.
        if check.remedy and (after is None or after.remedy != check.remedy):
            to.print(f"          -> {check.remedy}", soft_wrap=True)
    counts = [f"{sum(check.status == s for check in checks)} {s}" for s in _STYLES]
    to.print(", ".join(counts), soft_wrap=True)
    _print_remedies(checks)


def _print_remedies(checks: list[Check]) -> None:
    """Print what to do: first what everything needs, then what some uses need."""
    from rich.text import Text

    from tpbench.doctor import remedies

    to = console()
    for status, heading in (("fail", "do this first:"), ("", "do this if you need it:")):
        found = remedies(checks, essential=status == "fail")
        if not found:
            continue
        to.print(heading, soft_wrap=True)
        table = new_table("", "", whole=("",), ruled=False)
        table.columns[1].no_wrap = False
        for remedy, purpose in found.items():
            table.add_row(Text(f"  {remedy}"), Text(purpose))
        print_table(table, to)
