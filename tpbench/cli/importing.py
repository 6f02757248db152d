"""`tpbench import`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tpbench.cli import options as opt
from tpbench.cli.dataset import dataset_json, render_summary
from tpbench.cli.extraction import DatasetName, PoseDevice, RetryFailed
from tpbench.cli.output import console, print_json
from tpbench.cli.progress import failed, progress_bar

if TYPE_CHECKING:
    from tpbench.dataset import Dataset
    from tpbench.work import Progress

SetFolder = Annotated[
    Path,
    typer.Argument(
        help="Folder of an existing set: videos, or folders of numbered frames, also in "
        "sub-folders.",
        show_default=False,
    ),
]
Poses = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the keypoints of the clips, NAME.npz, of DWPose or tpbench. Those of "
        "other clips are detected."
    ),
]
Table = Annotated[
    Path | None,
    typer.Option(help="CSV of the clips: clip, and split, identity or fps as far as known."),
]
FitOption = Annotated[
    Literal["pad", "crop"],
    typer.Option(help="Clips that are not square get black bars, or are cut to their middle."),
]
Fps = Annotated[
    str, typer.Option(help="Frames a second of folders of frames, such as 30 or 30000/1001.")
]
Skeleton = Annotated[
    Literal["dwpose", "mediapipe"],
    typer.Option(
        help="Detector of keypoints where none are given; mediapipe needs no download beyond PyPI."
    ),
]
Redo = Annotated[
    bool, typer.Option("--redo", help="Import everything again with the current settings.")
]


def import_clips(
    folder: SetFolder,
    out: Annotated[Path, opt.out_option("the dataset, new or to be extended")],
    poses: Poses = None,
    table: Table = None,
    fit: FitOption = "pad",
    fps: Fps = "25",
    skeleton: Skeleton = "dwpose",
    workers: opt.Workers = None,
    device: PoseDevice = "auto",
    offline: opt.Offline = False,
    redo: Redo = False,
    retry_failed: RetryFailed = False,
    name: DatasetName = None,
    item_timeout: opt.ItemTimeout = 1800,
    as_json: opt.AsJson = False,
) -> None:
    """Turn an existing set of clips into a dataset.

    Clips become squares of 512 px at their own rate. Nothing is filtered. An interrupted run is
    resumed.
    """
    from tpbench.errors import ConfigError
    from tpbench.extraction.existing_sets import rate
    from tpbench.extraction.importing import ImportRequest
    from tpbench.extraction.importing import import_clips as run_import
    from tpbench.work import terminate_as_interrupt

    frames_a_second = rate(fps)
    if frames_a_second is None:
        raise ConfigError(f"--fps {fps}: want frames a second, such as 25 or 30000/1001")
    request = ImportRequest(
        folder=folder,
        out=out,
        poses=poses,
        table=table,
        fit=fit,
        fps=frames_a_second,
        skeleton=skeleton,
        workers=workers,
        device=device,
        offline=offline,
        redo=redo,
        retry_failed=retry_failed,
        name=name,
        item_timeout_s=item_timeout,
    )
    with terminate_as_interrupt(), progress_bar("clips") as show:

        def listener(state: Progress) -> None:
            show(state, step="import", news=failed(state))

        dataset = run_import(request, listener)
    _print(dataset, out, as_json=as_json)


def _print(dataset: Dataset, out: Path, *, as_json: bool) -> None:
    if as_json:
        print_json(dataset_json(dataset))
    else:
        console().print(render_summary(dataset.info))
        typer.echo(f"report: {dataset.folder / 'report.html'}")
    counts = dataset.info.counts
    if counts.failed or counts.quarantined:
        typer.echo(
            f"clips failed: {counts.failed}, quarantined: {counts.quarantined}; "
            f"`tpbench inspect {shlex.quote(str(out))}` lists them, --retry-failed retries them",
            err=True,
        )
        raise typer.Exit(opt.FAILED_EXIT_CODE)
