"""`tpbench extract`: raw videos in, dataset out."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tpbench.extraction.progress import ProgressListener, RunProgress

FAILED_EXIT_CODE = 3


def extract(
    inputs: Annotated[list[Path], typer.Argument(help="Folders of videos, or videos.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the dataset.")],
    preset: Annotated[
        str, typer.Option(help="talkingpose, demo, or the path of a .yaml file.")
    ] = "talkingpose",
    skeleton: Annotated[
        Literal["dwpose", "mediapipe"],
        typer.Option(help="Whose skeletons; mediapipe needs nothing but PyPI."),
    ] = "dwpose",
    workers: Annotated[
        int | None, typer.Option(help="Processes, a core each. Default: all cores.")
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where DWPose runs.")
    ] = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Never fetch model files.")] = False,
    redo: Annotated[
        bool,
        typer.Option(
            "--redo",
            help="Do all again with the settings of now; what is there stays until it is replaced.",
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed or was given up.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the dataset. Default: the folder's name.")
    ] = None,
) -> None:
    """Turn raw talk videos into an upper-body dataset; go on where an earlier run stopped."""
    import tpbench
    from tpbench.cli.console import CleanConsole
    from tpbench.cli.summary import render_summary
    from tpbench.execution import terminate_as_interrupt

    with terminate_as_interrupt(), _progress_bar() as listener:
        dataset = tpbench.extract(
            inputs,
            out,
            preset=preset,
            skeleton=skeleton,
            workers=workers,
            device=device,
            offline=offline,
            redo=redo,
            retry_failed=retry_failed,
            name=name,
            on_progress=listener,
        )
    CleanConsole().print(render_summary(dataset.info))
    if not dataset.info.counts.kept:
        typer.echo("nothing was kept; the table says why, the report how far off it was")
    typer.echo(f"report: {dataset.folder / 'report.html'}")
    missing = dataset.missing()
    if missing:
        typer.echo(
            f"files of kept clips that are gone: {len(missing)}, such as {missing[0]}; "
            "give their source videos, too, to have them made again",
            err=True,
        )
    counts = dataset.info.counts
    if counts.failed or counts.quarantined:
        typer.echo(
            f"sources that failed: {counts.failed}, that were given up: {counts.quarantined}; "
            f"`tpbench inspect {shlex.quote(str(out))}` lists them, "
            "--retry-failed tries them again",
            err=True,
        )
    if missing or counts.failed or counts.quarantined:
        raise typer.Exit(FAILED_EXIT_CODE)


@contextmanager
def _progress_bar() -> Iterator[ProgressListener]:
    from tpbench.cli.progress import progress_bar

    with progress_bar("videos") as show:

        def listener(state: RunProgress) -> None:
            news = f"{state.kept} kept  {state.rejected} rejected  {state.frames:,} frames"
            if state.failed:
                news += f"  {state.failed} failed"
            show(done=state.sources_done, total=state.sources_total, news=news)

        yield listener
