"""`tpbench fetch`, and the options that `extract --fetch` shares with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tpbench.cli import options as opt
from tpbench.cli.output import console, counted, new_table, print_json, print_table, size
from tpbench.cli.progress import failed, progress_bar

if TYPE_CHECKING:
    from tpbench.fetching.request import FetchResult
    from tpbench.work import Progress, ProgressListener

IdListName = Annotated[
    str,
    typer.Argument(
        metavar="LIST",
        help="List of YouTube ids or addresses: CSV, TSV, TXT or Parquet, a file or an http(s) "
        "address; of a dataset or a pack, its sources.",
        show_default=False,
    ),
]
ListSha256 = Annotated[
    str | None, typer.Option(help="Expected sha256 of the list, as its publisher names it.")
]
MaxHeight = Annotated[
    int, typer.Option(metavar="PX", help="Larger pictures are not fetched if there are smaller.")
]
RateLimit = Annotated[
    float | None, typer.Option(metavar="MB/S", help="Greatest speed. Default: no limit.")
]
Pause = Annotated[float, typer.Option(metavar="SECONDS", help="Wait between two videos.")]
CookiesFile = Annotated[
    Path | None,
    typer.Option(
        "--cookies",
        help="cookies.txt of a signed-in browser, for videos that ask for it. They are neither "
        "logged nor stored.",
    ),
]
OnlyLicence = Annotated[
    Literal["cc-by"] | None,
    typer.Option("--licence", help="Only videos under this licence, as the host states it."),
]
Exclude = Annotated[
    Path | None, typer.Option(help="List of ids or addresses that are never fetched.")
]
Removals = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="DATASET", help="Fetch nothing that was removed from it; may be repeated."
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Also retry videos that could not be had.")
]
Limit = Annotated[int | None, typer.Option(help="Only the first N videos of the list.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Read the list and say what is left; fetch nothing.")
]


def fetch(
    id_list: IdListName,
    out: Annotated[Path, opt.out_option("the videos, new or to be continued")],
    max_height: MaxHeight = 1080,
    rate_limit: RateLimit = None,
    pause: Pause = 5.0,
    cookies: CookiesFile = None,
    licence: OnlyLicence = None,
    exclude: Exclude = None,
    removals: Removals = None,
    list_sha256: ListSha256 = None,
    retry_failed: RetryFailed = False,
    limit: Limit = None,
    dry_run: DryRun = False,
    as_json: opt.AsJson = False,
) -> None:
    """Fetch the videos of an id list, politely. An interrupted run is resumed."""
    from tpbench.fetching.request import FetchRequest
    from tpbench.fetching.run import preview_fetch, run_fetch
    from tpbench.fetching.selection import require_datasets
    from tpbench.work import terminate_as_interrupt

    require_datasets(removals or ())
    request = FetchRequest(
        id_list=list_address(id_list),
        out=out,
        list_sha256=list_sha256,
        max_height_px=max_height,
        rate_limit_mb_s=rate_limit,
        pause_s=pause,
        cookies=cookies,
        licence=licence,
        exclude=exclude,
        datasets=removals or (),
        retry_failed=retry_failed,
        limit=limit,
    )
    if dry_run:
        print_fetched(preview_fetch(request), as_json=as_json, is_preview=True)
        return
    with terminate_as_interrupt(), _progress_bar() as listener:
        result = run_fetch(request, listener)
    print_fetched(result, as_json=as_json)
    if not result.is_complete:
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def list_address(given: Path | str) -> str:
    """Return a list's path or address; a path object has made one slash of two."""
    return re.sub(r"^(https?):/(?!/)", r"\1://", str(given))


def print_fetched(result: FetchResult, *, as_json: bool, is_preview: bool = False) -> None:
    """Print what became of a list."""
    if as_json:
        print_json(result.to_json(), indent=1)
    else:
        for line in fetched_lines(result, is_preview=is_preview):
            typer.echo(line)
        _print_outcomes(result)
        if not is_preview:
            typer.echo(f"table: {result.table}")
    for line in fetch_warnings(result):
        typer.echo(line, err=True)


def fetched_lines(result: FetchResult, *, is_preview: bool = False) -> Sequence[str]:
    """Return what the list holds, and what this run fetched of it."""
    found = result.id_list
    surplus = f", {counted(found.repeated, 'row')} of them repeated" if found.repeated else ""
    rows = f"{counted(found.rows, 'row')}{surplus}"
    lines = [f"{found.name}: {counted(len(found.videos), 'video')} in {rows}"]
    if not is_preview:
        amount = f" ({size(result.fetched_bytes)})" if result.fetched else ""
        lines.append(f"fetched in this run: {counted(result.fetched, 'video')}{amount}")
    return lines


def fetch_warnings(result: FetchResult) -> Sequence[str]:
    """Return what the user has to know or do."""
    lines = []
    if result.stopped is not None:
        left = result.outcomes.get("pending", 0)
        lines.append(f"stopped with {counted(left, 'video')} pending: {result.stopped}")
    if result.left_files:
        lines.append(
            f"files of excluded videos, fetched earlier: {len(result.left_files)}, such as "
            f"{result.left_files[0]}; delete them if they must not stay"
        )
    return lines


def _print_outcomes(result: FetchResult) -> None:
    from tpbench.fetching.outcomes import MEANINGS

    table = new_table("outcome", "videos", "", right=["videos"], whole=["outcome"])
    for outcome, number in result.outcomes.items():
        table.add_row(outcome, f"{number:,}", MEANINGS[outcome])
    print_table(table, console())


@contextmanager
def _progress_bar() -> Iterator[ProgressListener]:
    with progress_bar("videos") as show:

        def listener(state: Progress) -> None:
            fetched = state.counts.get("fetched", 0)
            news = [f"{fetched:,} fetched in this run", *filter(None, [failed(state)])]
            show(state, step="fetch", news=", ".join(news))

        yield listener
