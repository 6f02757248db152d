"""`tpbench bench`: how fast this machine is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpbench.cli import options as opt
from tpbench.cli.extraction import PoseDevice, Preset, Skeleton
from tpbench.cli.output import console, counted, new_table, print_json, print_table
from tpbench.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from tpbench.extraction.bench import Measured

bench_app = typer.Typer(no_args_is_help=True, help="Measure how fast this machine is.")


@bench_app.command("extract")
def bench_extract(
    video: Annotated[Path, typer.Argument(help="A video as you extract, of a minute or more.")],
    workers: Annotated[
        str | None,
        typer.Option(help="Numbers of workers: 1,2,8. Default: 1, 2, 4, ... up to all cores."),
    ] = None,
    preset: Preset = "talkingpose",
    skeleton: Skeleton = "dwpose",
    device: PoseDevice = "auto",
    offline: opt.Offline = False,
    as_json: opt.AsJson = False,
) -> None:
    """Measure how fast a video is extracted, by number of workers.

    Each worker processes the whole video; what is written is deleted. Starting workers and loading
    models is not counted.
    """
    from tpbench.extraction.bench import BenchRequest, bench_extraction
    from tpbench.work import terminate_as_interrupt

    request = BenchRequest(
        video=video,
        workers=numbers_of(workers),
        preset=preset,
        skeleton=skeleton,
        device=device,
        offline=offline,
    )
    rows: list[Measured] = []
    with terminate_as_interrupt():
        for measured in bench_extraction(request):
            rows.append(measured)
            typer.echo(f"{counted(measured.run.workers, 'worker')} measured", err=True)
    if as_json:
        content = {"preset": preset, "skeleton": skeleton, "device": device}
        print_json(content | {"measured": [row.to_json() for row in rows]}, indent=1)
        return
    first = rows[0]
    frames = first.run.source_frames // first.run.workers
    typer.echo(
        f"{video.name}: {counted(frames, 'frame')}; {counted(first.kept, 'clip')} kept, "
        f"{counted(first.rejected, 'part')} rejected"
    )
    typer.echo(f"preset {preset}, skeletons by {skeleton}")
    if not first.kept:
        typer.echo("no clip is kept: the figures are those of videos that are rejected")
    print_table(_rates(rows), console())
    print_table(_shares(rows), console())


def numbers_of(text: str | None) -> list[int]:
    """Return the numbers in the value of `--workers`; empty if there is none.

    Raises:
        ConfigError: they are no whole numbers.
    """
    try:
        return [] if text is None else [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--workers: want numbers such as 1,2,8, got '{text}'") from error


def _rates(rows: list[Measured]) -> Table:
    heads = ["workers", "frames/s", "real time", "h per core-h", "cores busy"]
    on_gpu = any(row.run.gpus for row in rows)
    if on_gpu:
        heads.append("h per GPU-h")
    table = new_table(*heads, right=heads)
    for row in rows:
        run = row.run
        cells = [
            f"{run.workers}",
            _number(run.frames_per_s, "{:,.1f}"),
            _number(run.real_time_factor, "{:.2f}x"),
            _number(run.video_hours_per_core_hour, "{:.2f}"),
            f"{row.cores:.1f}",
        ]
        if on_gpu:
            cells.append(_number(run.video_hours_per_gpu_hour, "{:.2f}"))
        table.add_row(*cells)
    return table


def _number(value: float | None, text: str) -> str:
    return "" if value is None else text.format(value)


def _shares(rows: list[Measured]) -> Table:
    heads = [counted(row.run.workers, "worker") for row in rows]
    table = new_table("stage", *heads, right=heads)
    for stage in rows[0].run.stage_shares:
        table.add_row(stage, *(f"{row.run.stage_shares.get(stage, 0.0):.0%}" for row in rows))
    return table
