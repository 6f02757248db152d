"""`tpbench rebuild`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tpbench.cli import options as opt
from tpbench.cli.output import console, counted, echo_some, new_table, print_json
from tpbench.cli.progress import progress_bar
from tpbench.errors import ConfigError

if TYPE_CHECKING:
    from tpbench.extraction.rebuilding import RebuildResult
    from tpbench.work import Progress, ProgressListener

PackFolder = Annotated[
    Path, typer.Argument(help="Pack, as `tpbench export --to pack` writes it.", show_default=False)
]
Raw = Annotated[
    list[Path] | None,
    typer.Option(
        "--raw",
        help="Videos, or folders to search for them; may be repeated. With --fetch, one folder. "
        "Default of --fetch: OUT-raw.",
    ),
]
Fetch = Annotated[
    bool,
    typer.Option(
        "--fetch",
        help="First fetch what is not in --raw; see `tpbench fetch`.",
    ),
]
RemovalsFile = Annotated[
    Path | None,
    typer.Option(
        "--removals",
        help="Another copy of the dataset, or its removals.json, where more was removed since the "
        "pack was made: what it lists is not made.",
        show_default=False,
    ),
]
_MEANINGS: Final = {
    "identical": "the same bytes",
    "re-encoded": "the same pictures, from a source that was encoded again",
    "other pictures": "a video of the right name shows something else: left out",
    "source gone": "no such video: left out",
    "unreadable": "the video or the keypoints can't be read: left out",
    "not processed": "run the same command again",
}
_STEPS: Final = {"fetch": "fetch", "read": "reading raw files", "rebuild": "rebuild"}


def rebuild(
    pack: PackFolder,
    out: Annotated[Path, opt.out_option("the dataset")],
    raw: Raw = None,
    fetch: Fetch = False,
    removals: RemovalsFile = None,
    workers: opt.Workers = None,
    as_json: opt.AsJson = False,
) -> None:
    """Make a dataset again from a pack and its videos.

    Videos are recognised by their bytes, else by video id or file name. Of every clip it is said
    whether it has the same bytes, or shows the same pictures; others are left out. An interrupted
    run is resumed, and more videos can be added later.
    """
    from tpbench.extraction.rebuilding import rebuild as run
    from tpbench.work import terminate_as_interrupt

    inputs = _inputs(raw, out, fetch=fetch)
    with terminate_as_interrupt(), _progress() as listener:
        if fetch:
            _fetch(pack, inputs[0], out, removals, listener)
        result = run(pack, inputs, out, removals=removals, workers=workers, on_progress=listener)
    if as_json:
        print_json(_as_json(result), indent=1)
    else:
        _print(result)
    if not result.rebuilt.complete:
        lines = [
            f"{clip.clip_id}: {clip.outcome}: {clip.error}" for clip in result.clips if clip.error
        ]
        if left := echo_some(lines):
            typer.echo(f"... and {left} more in {out / 'rebuild.parquet'}", err=True)
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _inputs(raw: list[Path] | None, out: Path, *, fetch: bool) -> list[Path]:
    if not raw and not fetch:
        raise ConfigError("name the folder of the raw videos (--raw), or fetch them (--fetch)")
    if fetch and len(raw or ()) > 1:
        raise ConfigError("--fetch wants one folder to fetch into: give --raw once")
    return raw or [out.absolute().with_name(f"{out.absolute().name}-raw")]


def _fetch(
    pack: Path, raw: Path, out: Path, removals: Path | None, listener: ProgressListener
) -> None:
    from tpbench.cli.fetch import fetch_warnings
    from tpbench.dataset.pack import Pack
    from tpbench.extraction.pack_sources import fetch_sources
    from tpbench.extraction.rebuilding import later_removals

    fetched = fetch_sources(
        Pack.open(pack), raw, out, removals=later_removals(removals), on_progress=listener
    )
    for line in () if fetched is None else fetch_warnings(fetched):
        typer.echo(line, err=True)


def _as_json(result: RebuildResult) -> dict[str, object]:
    from dataclasses import asdict

    return {
        **result.rebuilt.model_dump(mode="json"),
        "complete": result.rebuilt.complete,
        "original": result.rebuilt.is_original,
        "clips": [asdict(clip) for clip in result.clips],
    }


def _print(result: RebuildResult) -> None:
    rebuilt = result.rebuilt
    table = new_table("clips", "number", "distance", "", right=("number",))
    for name, number in rebuilt.outcomes.items():
        if not number:
            continue
        distances = [
            clip.distance
            for clip in result.clips
            if clip.outcome == name and clip.distance is not None
        ]
        span = f"{min(distances):.3f} to {max(distances):.3f}" if distances else ""
        table.add_row(name, f"{number:,}", span, _MEANINGS[name])
    console().print(table)
    if removed := rebuilt.sides["all"].n_removed:
        typer.echo(f"removed for good, and not looked for: {counted(removed, 'clip')}")
    typer.echo(f"up to a distance of {rebuilt.limit:g}, pictures are the same")
    for side, found in rebuilt.sides.items():
        if side != "all":
            has = found.clips - found.n_lacking
            typer.echo(f"{side} split: {has:,} of {counted(found.clips, 'clip')}")
    if rebuilt.is_original:
        typer.echo(f"digest {rebuilt.digest}: that of the original")
    else:
        typer.echo(f"digest {rebuilt.digest}; the original's is {rebuilt.original_digest}")
    typer.echo(f"dataset: {result.dataset.folder}")


@contextmanager
def _progress() -> Iterator[ProgressListener]:
    with progress_bar("files", several_steps=True) as show:

        def listener(state: Progress) -> None:
            parts = [f"{number:,} {name}" for name, number in state.counts.items() if number]
            show(state, step=_STEPS.get(state.step, state.step), news=", ".join(parts))

        yield listener
