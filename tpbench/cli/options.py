"""Options that several commands share, with the same name, meaning and help text everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

if TYPE_CHECKING:
    from tpbench.work import Engine

FAILED_EXIT_CODE: Final = 3
"""The command finished, but something failed, is missing or is wrong."""
STOPPED_EXIT_CODE: Final = 2
"""Wrong input; of `--dry-run`: something would stop the command."""


def out_option(what: str) -> object:
    """Return the option `--out`; `what` names the content of the folder."""
    return typer.Option("--out", "-o", help=f"Folder for {what}.")


DatasetFolder = Annotated[Path, typer.Argument(help="Dataset folder.", show_default=False)]
Data = Annotated[Path | None, typer.Option(help="Dataset folder. Default: $TPBENCH_DATA.")]
Model = Annotated[
    str,
    typer.Option(
        help="Model, as listed by `tpbench models list`, package.module:Class, or a spec.yaml."
    ),
]
ModelOptions = Annotated[
    list[str] | None, typer.Option(help="Model option key=value; may be repeated.")
]
ReferenceQuirks = Annotated[
    bool,
    typer.Option("--reference-quirks", help="Reproduce the released code, including its faults."),
]
Weights = Annotated[
    Path | None, typer.Option(help="Folder of checkpoints to use instead of `tpbench weights`.")
]
Split = Annotated[
    str | None,
    typer.Option(
        help="test, train, all, or a frozen test split such as test-v1. Default: test, or all if "
        "the dataset has no split."
    ),
]
Limit = Annotated[int | None, typer.Option(help="Only the first N clips; the run is partial.")]
Ids = Annotated[
    Path | None, typer.Option(help="File with the ids of the clips to use, one per line.")
]
MinFrames = Annotated[
    int | None,
    typer.Option(help="Allow clips this short, to try things out; a task with its own runs."),
]
Protocol = Annotated[str, typer.Option(help="Protocol, as listed by `tpbench metrics list`.")]
Metrics = Annotated[
    str | None, typer.Option(help="Only these metrics, separated by commas: psnr,ssim,tje_d2.")
]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Keep = Annotated[
    Literal["lossless", "preview"],
    typer.Option(
        help="lossless: exact frames, which scoring needs. preview: small previews only; eval "
        "deletes the exact frames once all clips are scored."
    ),
]
Runs = Annotated[Path, out_option("all runs")]
Overwrite = Annotated[
    Literal["never", "missing", "always"],
    typer.Option(help="never: fail if the run exists. missing: resume. always: regenerate all."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
Workers = Annotated[
    int | None, typer.Option(help="Number of worker processes. Default: one per core.")
]
GeneratingWorkers = Annotated[
    int | None,
    typer.Option(
        help="Number of worker processes. Default: one per core; one per GPU to generate with a "
        "model that has weights."
    ),
]
Executor = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Where workers run: on this machine, or on a Ray cluster (extra [ray])."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Ray cluster: auto, HOST:PORT or ray://HOST:PORT. Default: $RAY_ADDRESS, or else a "
        "Ray of this machine.",
    ),
]
GpuShare = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="With --executor ray: share of a GPU that each worker with networks takes, such as "
        "0.25.",
    ),
]
ItemTimeout = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="Stop and retry a video or clip that makes no progress for this long; 0: never.",
    ),
]
RetryFailed = Annotated[
    bool,
    typer.Option(
        "--retry-failed", help="Retry clips that were quarantined, too; failed ones always are."
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Never download model files.")]
Strict = Annotated[bool, typer.Option("--strict", help="Fail if a metric cannot be computed.")]
AllMetrics = Annotated[
    bool, typer.Option("--all", help="Show all metrics, not only the headline of the protocol.")
]
Format = Annotated[
    Literal["table", "md", "latex", "csv"],
    typer.Option("--format", help="How the table is printed; csv: unrounded."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def engine(
    executor: Literal["local", "ray"], ray_address: str | None, gpu_share: float | None = None
) -> Engine:
    """Return where the workers run, from `--executor`, `--ray-address` and `--gpu-share`."""
    from tpbench.work import Engine

    return Engine(name=executor, ray_address=ray_address, gpu_share=gpu_share)


def metric_names(text: str | None) -> list[str] | None:
    """Return the names in the value of `--metrics`, in any case; None: all of the protocol."""
    if text is None:
        return None
    return text.lower().replace(",", " ").split()
