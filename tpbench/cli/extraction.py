"""`tpbench extract`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tpbench.cli import options as opt
from tpbench.cli.dataset import dataset_json, render_summary, run_lines
from tpbench.cli.output import console, counted, print_json, size
from tpbench.cli.progress import failed, progress_bar

if TYPE_CHECKING:
    from tpbench.dataset import Dataset
    from tpbench.extraction.run import ExtractionRequest
    from tpbench.work import Progress, ProgressListener
    from tpbench.work.records import Shard


Inputs = Annotated[list[Path], typer.Argument(help="Videos, or folders to search for videos.")]
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
        "--shard to write the manifest."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Show how much is left to process and what would stop it; write nothing."
    ),
]
ItemTimeout = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="Stop and retry a video that makes no progress for this long; 0: never.",
    ),
]


def extract(
    inputs: Inputs,
    out: Annotated[Path, opt.out_option("the dataset, new or to be extended")],
    preset: Preset = "talkingpose",
    skeleton: Skeleton = "dwpose",
    workers: opt.Workers = None,
    device: PoseDevice = "auto",
    offline: opt.Offline = False,
    redo: Redo = False,
    retry_failed: RetryFailed = False,
    name: DatasetName = None,
    shard: ExtractShard = None,
    item_timeout: ItemTimeout = 1800,
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
        if found.models_missing:
            typer.echo(f"model files to download first: {', '.join(found.models_missing)}")
        typer.echo(f"dataset: {found.folder}")
    for problem in found.problems:
        typer.echo(f"would stop: {problem}", err=True)
    if found.problems:
        raise typer.Exit(opt.STOPPED_EXIT_CODE)


def _print_shard(shard: Shard, state: Progress, out: Path, *, as_json: bool) -> None:
    from tpbench.extraction.sources import plain_path
    from tpbench.extraction.speed import read_times, run_file

    lost = state.counts.get("failed", 0)
    runs = read_times([run_file(plain_path(out), shard)]).runs
    if as_json:
        content = {"shard": f"{shard.number}/{shard.count}", "processed": state.done}
        run = runs[-1].model_dump(mode="json") | runs[-1].rates() if runs else None
        print_json({**content, "counts": dict(state.counts), "run": run}, indent=1)
    else:
        for line in run_lines(runs[-1]) if runs else []:
            typer.echo(line)
        typer.echo(
            f"shard {shard.number}/{shard.count}: {counted(state.done, 'video')} processed"
            f"{f', {lost} failed' if lost else ''}; when all shards are done, run the same command "
            "without --shard"
        )
    if lost:
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _print_dataset(dataset: Dataset, out: Path, *, as_json: bool) -> None:
    from tpbench.dataset import empty_side_warning

    if as_json:
        print_json(dataset_json(dataset))
    else:
        console().print(render_summary(dataset.info))
        if not dataset.info.counts.kept:
            typer.echo(
                "No clips were kept. The table shows why; report.html shows how close each came."
            )
        typer.echo(f"report: {dataset.folder / 'report.html'}")
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
            f"`tpbench inspect {shlex.quote(str(out))}` lists them, --retry-failed retries them",
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
