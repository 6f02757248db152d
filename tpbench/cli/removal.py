"""`tpbench remove`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpbench.cli import options as opt
from tpbench.cli.output import counted, print_json

if TYPE_CHECKING:
    from tpbench.extraction.forgetting import Removed

ClipIds = Annotated[list[str] | None, typer.Option("--clip", help="Id of a clip; may be repeated.")]
SourceIds = Annotated[
    list[str] | None,
    typer.Option("--source", help="Id of a source, all of which goes; may be repeated."),
]
IdentityNames = Annotated[
    list[str] | None,
    typer.Option("--identity", help="A person, in all sources; may be repeated."),
]
IdFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        help="List with one kind and id a line, such as `clip ID`; or the removals.json of another "
        "copy of the dataset.",
    ),
]
Reason = Annotated[str, typer.Option(help="Published beside the id; name nobody in it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would go; write nothing.")]


def remove(
    dataset: opt.DatasetFolder,
    clip: ClipIds = None,
    source: SourceIds = None,
    identity: IdentityNames = None,
    file: IdFile = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    as_json: opt.AsJson = False,
) -> None:
    """Take clips, sources or people out of a dataset for good.

    Nothing of them is left but an id, a date and the reason in removals.json, and no later command
    brings them back. A removal that was interrupted is finished by the same command.
    """
    from tpbench.dataset.removal import Removals
    from tpbench.extraction.forgetting import remove as remove_from
    from tpbench.extraction.naming import read_wanted, wanted_by_options

    given = wanted_by_options(clips=clip or (), sources=source or (), identities=identity or ())
    elsewhere = Removals()
    if file is not None and file.suffix.lower() == ".json":
        elsewhere = Removals.read_file(file)
    elif file is not None:
        given += read_wanted(file)
    removed = remove_from(dataset, given, elsewhere=elsewhere, reason=reason, dry_run=dry_run)
    if as_json:
        print_json({**removed.to_json(), "dry_run": dry_run}, indent=1)
    else:
        _print(removed, dataset, dry_run=dry_run)


def _print(removed: Removed, dataset: Path, *, dry_run: bool) -> None:
    for stone in removed.before:
        typer.echo(f"{stone.kind} {stone.id} was removed on {stone.date}")
    for stone in removed.tombstones:
        typer.echo(f"{'would remove' if dry_run else 'removed'} {stone.kind} {stone.id}")
    typer.echo(
        f"{'would delete' if dry_run else 'deleted'}: {counted(removed.kept_clips, 'clip')}, "
        f"{counted(removed.other_rows, 'row')} of rejected or failed stretches, "
        f"{counted(removed.files, 'file')}"
    )
    if dry_run:
        return
    typer.echo(
        f"version {removed.version}, digest {removed.digest[:8]}: "
        f"{counted(removed.clips_left, 'clip')} left"
    )
    typer.echo(f"publish {dataset / 'removals.json'} with the dataset: it keeps them out of copies")
    if removed.warning:
        typer.echo(f"warning: {removed.warning}", err=True)
