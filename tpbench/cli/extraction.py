"""`tpbench extract`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from tpbench.cli import fetch as fetching
from tpbench.cli import options as opt
from tpbench.cli.dataset import dataset_json, render_summary, run_lines
from tpbench.cli.fetch import list_address, print_fetched
from tpbench.cli.output import console, counted, print_json, size
from tpbench.cli.progress import failed, progress_bar
from tpbench.errors import ConfigError
from tpbench.storage.addresses import Address, require_local

if TYPE_CHECKING:
    from tpbench.dataset import Dataset
    from tpbench.extraction.fetched import FetchedDataset
    from tpbench.extraction.run import ExtractionRequest
    from tpbench.fetching.request import FetchRequest
    from tpbench.work import Progress, ProgressListener
    from tpbench.work.records import Shard


Inputs = Annotated[
    list[Path],
    typer.Argument(help="Videos, or folders to search for videos; with --fetch: an id list."),
]
Preset = Annotated[str, typer.Option(help="talkingpose, demo, or the path of a .yaml file.")]
Skeleton = Annotated[
    Literal["dwpose", "mediapipe"],
    typer.Option(help="Skeleton detector; mediapipe needs no download beyond PyPI."),
]
PoseDevice = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="Device that DWPose runs on.")
]
Redo = Annotated[
    bool,
    typer.Option(
        "--redo",
        help="Reprocess everything with the current settings; old results stay until replaced.",
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Retry sources that failed or were quarantined.")
]
DatasetName = Annotated[
    str | None, typer.Option(help="Name of the dataset. Default: the folder's name.")
]
ExtractShard = Annotated[
    str | None,
    typer.Option(
        help="2/4 processes part 2 of 4 of the videos, beside the other parts; run again without "
        "--shard to write the manifest. At most 10,000 parts."
    ),
]
Fetch = Annotated[
    bool,
    typer.Option(
        "--fetch", help="The input is an id list: fetch its videos as `tpbench fetch` does."
    ),
]
Raw = Annotated[
    Path | None,
    typer.Option(help="With --fetch: folder for the raw videos. Default: beside OUT, OUT-raw."),
]
DeleteRaw = Annotated[
    bool,
    typer.Option(
        "--delete-raw",
        help="With --fetch: delete each raw video once it is extracted; few are there at a time.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Show how much is left to process and what would stop it; write nothing."
    ),
]
_SHARDS_LISTED: Final = 16


def extract(
    inputs: Inputs,
    out: Annotated[Path, opt.out_option("the dataset, new or to be extended")],
    preset: Preset = "talkingpose",
    skeleton: Skeleton = "dwpose",
    workers: opt.Workers = None,
    executor: opt.Executor = "local",
    ray_address: opt.RayAddress = None,
    gpu_share: opt.GpuShare = None,
    device: PoseDevice = "auto",
    offline: opt.Offline = False,
    redo: Redo = False,
    retry_failed: RetryFailed = False,
    name: DatasetName = None,
    shard: ExtractShard = None,
    item_timeout: opt.ItemTimeout = 1800,
    fetch: Fetch = False,
    raw: Raw = None,
    delete_raw: DeleteRaw = False,
    max_height: fetching.MaxHeight = 1080,
    rate_limit: fetching.RateLimit = None,
    pause: fetching.Pause = 5.0,
    cookies: fetching.CookiesFile = None,
    licence: fetching.OnlyLicence = None,
    exclude: fetching.Exclude = None,
    list_sha256: fetching.ListSha256 = None,
    limit: fetching.Limit = None,
    dry_run: DryRun = False,
    as_json: opt.AsJson = False,
) -> None:
    """Turn raw talk videos into an upper-body dataset. An interrupted run is resumed."""
    from tpbench.extraction.run import ExtractionRequest, run_extraction, run_shard
    from tpbench.work import terminate_as_interrupt
    from tpbench.work.records import Shard

    part = None if shard is None else Shard.parse(shard)
    request = ExtractionRequest(
        inputs=inputs,
        out=out,
        preset=preset,
        skeleton=skeleton,
        workers=workers,
        device=device,
        offline=offline,
        redo=redo,
        retry_failed=retry_failed,
        name=name,
        item_timeout_s=item_timeout,
        engine=opt.engine(executor, ray_address, gpu_share),
    )
    if fetch:
        from tpbench.extraction.fetched import raw_folder
        from tpbench.fetching.request import FetchRequest

        listed = FetchRequest(
            id_list=_only_list(inputs),
            out=raw or raw_folder(require_local(out, "--fetch")),
            list_sha256=list_sha256,
            max_height_px=max_height,
            rate_limit_mb_s=rate_limit,
            pause_s=pause,
            cookies=cookies,
            licence=licence,
            exclude=exclude,
            retry_failed=retry_failed,
            limit=limit,
        )
        _extract_list(
            request, listed, part, delete_raw=delete_raw, dry_run=dry_run, as_json=as_json
        )
        return
    _refuse_without_fetch(
        {
            "--raw": raw,
            "--delete-raw": delete_raw,
            "--rate-limit": rate_limit,
            "--cookies": cookies,
            "--licence": licence,
            "--exclude": exclude,
            "--list-sha256": list_sha256,
            "--limit": limit,
        }
    )
    if dry_run:
        _print_preview(request, part, as_json=as_json)
    elif part is not None:
        with terminate_as_interrupt(), _progress_bar() as listener:
            state = run_shard(request, part, listener)
        _print_shard(part, state, out, as_json=as_json)
    else:
        with terminate_as_interrupt(), _progress_bar() as listener:
            dataset = run_extraction(request, listener)
        _print_dataset(dataset, out, as_json=as_json)


def _only_list(inputs: list[Path]) -> str:
    if len(inputs) != 1:
        raise ConfigError(f"--fetch wants one id list, got {len(inputs)} inputs")
    return list_address(inputs[0])


def _refuse_without_fetch(options: dict[str, object]) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise ConfigError(f"{given[0]} goes with --fetch and an id list")


def _extract_list(
    request: ExtractionRequest,
    listed: FetchRequest,
    shard: Shard | None,
    *,
    delete_raw: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    from tpbench.extraction.fetched import extract_list, preview_list, refuse_shard
    from tpbench.work import terminate_as_interrupt

    refuse_shard(shard)
    if dry_run:
        found, problems = preview_list(request, listed)
        print_fetched(found, as_json=as_json, is_preview=True)
        for problem in problems:
            typer.echo(f"would stop: {problem}", err=True)
        if problems:
            raise typer.Exit(opt.STOPPED_EXIT_CODE)
        return
    with terminate_as_interrupt(), _progress_bar() as listener:
        made = extract_list(request, listed, listener, delete_raw=delete_raw)
    _print_fetched_dataset(made, Path(request.out), as_json=as_json)


def _print_fetched_dataset(made: FetchedDataset, out: Path, *, as_json: bool) -> None:
    if as_json:
        print_json(dataset_json(made.dataset) | {"fetch": made.fetch_json})
    else:
        print_fetched(made.fetch, as_json=False)
    if made.kept_raw:
        typer.echo(
            f"raw videos that stay, as no clips could be made of them: {len(made.kept_raw)}, such "
            f"as {made.kept_raw[0]}",
            err=True,
        )
    _print_dataset(made.dataset, out, as_json=None if as_json else False)
    if not made.fetch.is_complete:
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _print_preview(request: ExtractionRequest, shard: Shard | None, *, as_json: bool) -> None:
    from tpbench.extraction.preview import preview_extraction

    found = preview_extraction(request, shard)
    if as_json:
        print_json(found.to_json(), indent=1)
    else:
        done = found.videos - found.videos_left
        typer.echo(
            f"{counted(found.videos, 'video')}: {done:,} processed already, {found.videos_left:,} "
            f"left ({size(found.bytes_left)})"
        )
        typer.echo(
            f"preset {found.preset}, skeletons by {found.skeleton}, "
            f"{counted(found.workers, 'worker')}"
        )
        if found.shard_hours_left:
            typer.echo(_hours_line(found.shard_hours_left, shard))
        if found.models_missing:
            typer.echo(f"model files to download first: {', '.join(found.models_missing)}")
        typer.echo(f"dataset: {found.folder}")
    for problem in found.problems:
        typer.echo(f"would stop: {problem}", err=True)
    if found.problems:
        raise typer.Exit(opt.STOPPED_EXIT_CODE)


def _hours_line(hours: tuple[float, ...], shard: Shard | None) -> str:
    """Return the hours of video left to each shard; of many shards, the least and the most."""
    if len(hours) <= _SHARDS_LISTED:
        each = ", ".join(f"{number}: {one:.2f}" for number, one in enumerate(hours, start=1))
        return f"hours of video left to each shard: {each}"
    own = hours[shard.number - 1] if shard else 0.0
    return (
        f"hours of video left to this shard: {own:.2f}; to each of all {len(hours)}: "
        f"{min(hours):.2f} to {max(hours):.2f}"
    )


def _print_shard(shard: Shard, state: Progress, out: Path, *, as_json: bool) -> None:
    from tpbench.extraction.sources import plain_path
    from tpbench.extraction.speed import read_times, run_file

    lost, processed = state.counts.get("failed", 0), state.done - state.before
    # Of a dataset in a bucket, the final run tells.
    in_bucket = Address.of(out) is not None
    told = processed > lost and not in_bucket
    runs = read_times([run_file(plain_path(out), shard)]).runs if told else []
    if as_json:
        content = {"shard": str(shard), "processed": processed, "before": state.before}
        run = runs[-1].model_dump(mode="json") | runs[-1].rates() if runs else None
        print_json({**content, "counts": dict(state.counts), "run": run}, indent=1)
    else:
        for line in run_lines(runs[-1]) if runs else []:
            typer.echo(line)
        typer.echo(
            f"shard {shard}: {counted(processed, 'video')} processed"
            f"{f', {lost} failed' if lost else ''}"
            f"{f', {state.before:,} before' if state.before else ''}; when all shards are done, "
            "run the same command without --shard"
        )
    if lost:
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _print_dataset(dataset: Dataset, out: Path, *, as_json: bool | None) -> None:
    """Print a dataset; as neither (None) if its JSON has been printed with something else."""
    from tpbench.dataset import empty_side_warning

    if as_json:
        print_json(dataset_json(dataset))
    elif as_json is not None:
        console().print(render_summary(dataset.info))
        if not dataset.info.counts.kept:
            typer.echo(
                "No clips were kept. The table shows why; report.html shows how close each came."
            )
        address = Address.of(out)
        home = dataset.folder if address is None else address
        typer.echo(f"report: {home}/report.html")
    missing = dataset.missing()
    if missing:
        typer.echo(
            f"files of kept clips that are missing: {len(missing)}, such as {missing[0]}; "
            "pass their source videos too, to recreate them",
            err=True,
        )
    if dataset.info.split is not None and (warning := empty_side_warning(dataset.info.split)):
        typer.echo(f"warning: {warning}", err=True)
    counts = dataset.info.counts
    if counts.failed or counts.quarantined:
        typer.echo(
            f"sources failed: {counts.failed}, quarantined: {counts.quarantined}; "
            f"`tpbench inspect {shlex.quote(str(Address.of(out) or out))}` lists them, "
            "--retry-failed retries them",
            err=True,
        )
    if missing or counts.failed or counts.quarantined:
        raise typer.Exit(opt.FAILED_EXIT_CODE)


@contextmanager
def _progress_bar() -> Iterator[ProgressListener]:
    with progress_bar("videos") as show:

        def listener(state: Progress) -> None:
            kept, rejected = state.counts.get("kept", 0), state.counts.get("rejected", 0)
            news = [f"{kept:,} kept", f"{rejected:,} rejected", *filter(None, [failed(state)])]
            # The count of videos includes those of earlier runs.
            where = " in this run" if state.before else ""
            show(state, step="extract", news=", ".join(news) + where)

        yield listener
