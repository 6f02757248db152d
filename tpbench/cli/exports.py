"""`tpbench export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from tpbench.cli import options as opt
from tpbench.cli.output import counted, print_json, size
from tpbench.cli.progress import progress_bar

if TYPE_CHECKING:
    from tpbench.dataset.exports import ExportReport

To = Annotated[
    Literal["webdataset", "hf", "talkingpose-json", "coco", "pack"],
    typer.Option(
        help="webdataset: tar shards. hf: a folder for `datasets.load_dataset`. talkingpose-json: "
        "the list that the released training code reads. coco: COCO-WholeBody keypoints. "
        "pack: all but pictures and sound, for `tpbench rebuild`.",
        show_default=False,
    ),
]
PerShard = Annotated[
    int | None, typer.Option(help="webdataset: clips in one shard. Default: 1000.")
]
Root = Annotated[
    str | None,
    typer.Option(
        help="talkingpose-json: what the paths begin with, such as the dataset's folder on the "
        "machine that trains. Default: DATASET as given."
    ),
]

_NEXT: Final = {
    "webdataset": "shards: SPLIT-NNNNNN.tar, listed in SPLIT-index.json and, by clip, in index.csv",
    "hf": "open it with `datasets.load_dataset`; decoding its videos needs torchcodec, their paths "
    "don't (README.md in it shows both)",
    "talkingpose-json": "lists: SPLIT_meta.json; the videos stay in the dataset",
    "pack": "who has the videos gets the same dataset: tpbench rebuild PACK --raw RAW --out OUT",
    "coco": "keypoints: wholebody-SPLIT.json; its images are the frames of the dataset's clips",
}


def export(
    dataset: opt.DatasetFolder,
    to: To,
    out: Annotated[Path, opt.out_option("the export, new")],
    per_shard: PerShard = None,
    root: Root = None,
    as_json: opt.AsJson = False,
) -> None:
    """Write a dataset in a format that other tools read.

    An interrupted export is resumed.
    """
    from tpbench.dataset.exports import export as write_export
    from tpbench.work import Progress, terminate_as_interrupt

    with terminate_as_interrupt(), progress_bar("clips") as show:

        def listener(state: Progress) -> None:
            show(state, step="export")

        report = write_export(
            dataset, out, to=to, per_shard=per_shard, root=root, on_progress=listener
        )
    _print(report, as_json=as_json)


def _print(report: ExportReport, *, as_json: bool) -> None:
    if as_json:
        content = {
            "kind": report.kind,
            "folder": str(report.folder),
            "clips": dict(report.clips),
            "files": report.n_files,
            "bytes": report.n_bytes,
        }
        print_json(content, indent=1)
        return
    sides = ", ".join(f"{clips:,} {side}" for side, clips in report.clips.items())
    total = counted(sum(report.clips.values()), "clip")
    files = counted(report.n_files, "file")
    typer.echo(f"{total} ({sides}) in {files}, {size(report.n_bytes)}: {report.folder}")
    typer.echo(_NEXT[report.kind])
