"""`tpbench cache`: what is kept of real clips between scorings."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpbench.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tpbench.metrics.scoring.real_cache import CacheEntry

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Features and skeletons of real clips, kept for the next model: show, trim, clear.",
)


@app.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how much is kept, by kind, and when it was last used."""
    from rich.console import Console
    from rich.table import Table

    from tpbench.metrics.scoring.real_cache import entries, real_cache_dir

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
        typer.echo(json.dumps({"folder": str(real_cache_dir()), "kinds": rows}, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("kind", "files", "MB", "oldest use", "latest use"):
        table.add_column(title, justify="right" if title in {"files", "MB"} else "left")
    for row, found in zip(rows, (by_kind[str(row["kind"])] for row in rows), strict=True):
        size_mb = sum(entry.size_bytes for entry in found) / 1e6
        table.add_row(
            str(row["kind"]),
            str(row["files"]),
            f"{size_mb:.1f}",
            str(row["oldest_use"]),
            str(row["latest_use"]),
        )
    console = Console(highlight=False)
    if rows:
        console.print(table)
    total_mb = sum(entry.size_bytes for found in by_kind.values() for entry in found) / 1e6
    console.print(f"{total_mb:.1f} MB in {real_cache_dir()}", markup=False, soft_wrap=True)


@app.command()
def trim(
    max_gb: Annotated[
        float | None, typer.Option(min=0, help="Keep at most this much, the latest used.")
    ] = None,
    max_days: Annotated[
        float | None, typer.Option(min=0, help="Keep only what was used in the last so many days.")
    ] = None,
) -> None:
    """Remove what was not used for longest. Later scorings measure it again."""
    from tpbench.metrics.scoring.real_cache import real_cache_dir
    from tpbench.metrics.scoring.real_cache import trim as trim_cache

    if max_gb is None and max_days is None:
        msg = "say what may stay: --max-gb, --max-days or both; `tpbench cache clear` removes all"
        raise ConfigError(msg)
    removed = trim_cache(
        real_cache_dir(),
        max_bytes=None if max_gb is None else round(max_gb * 1e9),
        max_age_s=None if max_days is None else max_days * 24 * 3600,
    )
    _tell(removed)


@app.command()
def clear(
    clips: Annotated[
        list[Path] | None,
        typer.Argument(help="Only what is kept of these videos (or folders of pictures)."),
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only this kind, as `show` names it; may be repeated.")
    ] = None,
) -> None:
    """Remove what is kept of real clips: of all, or of those that are named.

    Removing by clip also removes entries of versions that did not record which clip they belong to.
    Results of `score` and `eval` stay as they are. Later scorings measure it again.
    """
    from tpbench.metrics.scoring.real_cache import clear as clear_cache
    from tpbench.metrics.scoring.real_cache import entries, real_cache_dir
    from tpbench.video import content_sha256

    known = {entry.kind for entry in entries(real_cache_dir())}
    for name in kind or ():
        if name not in known:
            msg = f"the cache holds nothing of kind '{name}'{did_you_mean(name, known)}"
            raise ConfigError(msg)
    contents = [content_sha256(path) for path in clips or ()]
    _tell(clear_cache(real_cache_dir(), kinds=kind or (), contents=contents))


def _tell(removed: Sequence[CacheEntry]) -> None:
    size_mb = sum(entry.size_bytes for entry in removed) / 1e6
    typer.echo(f"removed {len(removed)} files, {size_mb:.1f} MB")


def _day(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, tz=UTC).date().isoformat()
