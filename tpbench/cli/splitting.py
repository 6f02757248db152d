"""`tpbench split`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpbench.cli import options as opt
from tpbench.cli.output import console, counted, new_table, print_json, print_table
from tpbench.cli.progress import progress_bar

if TYPE_CHECKING:
    from rich.table import Table

    from tpbench.dataset import SplitResult
    from tpbench.dataset.strata import ClassBalance
    from tpbench.work import Progress


def split(
    dataset: opt.DatasetFolder,
    test: Annotated[
        float | None,
        typer.Option(
            help="Share of identities in the test split. Default: as before, at first 0.1."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Random seed. Default: as before, at first 0.")
    ] = None,
    join: Annotated[
        list[str] | None,
        typer.Option(
            help="Join identities: by uploader, of however many sources (default: of at most 20); "
            "by near-duplicates, which decodes all clips once; none: keep all apart, and undo all "
            "joins of before. May be repeated.",
            metavar="uploader|near-duplicates|none",
        ),
    ] = None,
    identities: Annotated[
        Path | None,
        typer.Option(help="Table of who is who: source_id, clip_id or url, and identity."),
    ] = None,
    from_: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            help="List of sides: clip_id, source_id, url or identity, and side (or named train.csv "
            "or test.csv). Who is on no list is for training. May be repeated.",
            metavar="<path>",
        ),
    ] = None,
    version_name: Annotated[
        str | None,
        typer.Option(help="Freeze the test split under this name, such as test-v1, for good."),
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Split a dataset into train and test by identity.

    The test split resembles the whole. Identities keep their side when clips are added, and until
    another share or seed is asked for.
    """
    from tpbench.dataset import SplitRequest, make_split
    from tpbench.work import terminate_as_interrupt

    request = SplitRequest(
        test_share=test,
        seed=seed,
        joins=tuple(join or ()),
        identities=identities,
        lists=tuple(from_ or ()),
        version_name=version_name,
    )
    with terminate_as_interrupt(), progress_bar("clips", several_steps=True) as show:

        def listener(state: Progress) -> None:
            show(state, step=state.step)

        result = make_split(dataset, request, listener=listener)
    _renew_report(dataset)
    if as_json:
        print_json(split_json(result), indent=1)
        return
    _print_sides(result)
    print_table(balance_table(result), console())
    for line in (*_summary(result), *result.notes):
        typer.echo(line)
    typer.echo(f"lists: {dataset / 'splits'}")


def _renew_report(dataset: Path) -> None:
    """Write the report anew where there is one: it shows the sides."""
    from tpbench.extraction.report import REPORT_NAME, write_report

    if (dataset / REPORT_NAME).is_file():
        write_report(dataset)


def split_json(result: SplitResult) -> dict[str, Any]:
    """Return the split, the joins, the share of each class of clips, and what is to be known."""
    return {
        **result.info.model_dump(mode="json"),
        "balance": [
            {**row.model_dump(mode="json"), "difference": row.difference} for row in result.balance
        ],
        "joined": [
            {"source_id": row.source_id, "identity": row.identity, "why": row.why}
            for row in result.members
        ],
        "notes": list(result.notes),
    }


def balance_table(result: SplitResult) -> Table:
    """Return the share of each class of clips in the whole and on both sides."""
    heads = ("clips by", "class", "whole", "train", "test", "test - whole")
    table = new_table(*heads, right=heads[2:])
    before = ""
    for row in result.balance:
        title = row.title if row.unit in {"", "share"} else f"{row.title} ({row.unit})"
        difference = "" if row.difference is None else _points(row.difference, digits=1)
        shares = (row.whole_share, row.train_share, row.test_share)
        table.add_row(
            "" if row.trait == before else title, row.range_text, *map(_percent, shares), difference
        )
        before = row.trait
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _print_sides(result: SplitResult) -> None:
    info = result.info
    for side, clips, identities in (
        ("train:", info.train_clips, info.train_identities),
        ("test: ", info.test_clips, info.test_identities),
    ):
        typer.echo(f"{side} {counted(clips, 'clip')} of {counted(identities, 'identity')}")


def _summary(result: SplitResult) -> list[str]:
    from tpbench.dataset.strata import largest_difference

    lines = []
    widest = largest_difference(result.balance)
    if widest is not None:
        lines.append(f"largest difference: {_difference(widest)}")
    if result.members:
        kinds = Counter(row.kind for row in result.members)
        reasons = ("table", "near-duplicate", "uploader")
        by = ", ".join(f"{kinds[kind]} by {kind}" for kind in reasons if kinds[kind])
        people = len({row.identity for row in result.members})
        sources = counted(len({row.source_id for row in result.members}), "source")
        lines.append(f"{sources} joined into {counted(people, 'identity')} ({by}): identities.csv")
    for name, version in result.info.versions.items():
        clips = counted(version.clips, "clip")
        lines.append(f"frozen: {name}, {clips}, digest {version.digest[:12]}")
    return lines


def _difference(row: ClassBalance) -> str:
    points = _points(row.difference or 0.0, digits=2)
    return f"{points} percentage points ({row.title.lower()}, {row.range_text})"


def _points(difference: float, *, digits: int) -> str:
    """Return a difference of shares in percentage points, without a sign if it rounds to 0."""
    rounded = round(100 * difference, digits)
    return f"{rounded:+.{digits}f}" if rounded else f"{0:.{digits}f}"
