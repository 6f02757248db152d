"""`tpbench generate`: a model and a dataset in, a run out."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tpbench.benchmark.driver import GenerationListener, GenerationProgress
    from tpbench.benchmark.run_folder import Run

FAILED_EXIT_CODE = 3

_SHOWN_FAILURES = 5


def generate(
    model: Annotated[
        str, typer.Option(help="`tpbench models list` shows them; or package.module:Class.")
    ],
    data: Annotated[Path, typer.Option(help="Folder of the dataset.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of all runs.")],
    split: Annotated[
        Literal["test", "train", "all"] | None,
        typer.Option(help="Default: test, or all of a dataset that is not split."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of checkpoints, instead of `tpbench weights`.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Where randomness starts.")] = 42,
    limit: Annotated[
        int | None, typer.Option(help="Only the first so many clips: a partial run.")
    ] = None,
    ids: Annotated[
        Path | None, typer.Option(help="Only the clips that this file names, one a line.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="key=value, for the model; may be repeated.")
    ] = None,
    reference_quirks: Annotated[
        bool,
        typer.Option("--reference-quirks", help="Do as the released code does, faults included."),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    keep: Annotated[
        Literal["lossless", "preview"],
        typer.Option(help="Exact frames, which scoring needs, or only what is for looking at."),
    ] = "lossless",
    workers: Annotated[
        int | None,
        typer.Option(help="Processes. Default: a core each without weights, else a GPU each."),
    ] = None,
    overwrite: Annotated[
        Literal["never", "missing", "always"],
        typer.Option(help="never: the run must be new. missing: go on. always: make all again."),
    ] = "missing",
    min_frames: Annotated[
        int | None,
        typer.Option(help="Take shorter clips too, for a try; another task, with its own runs."),
    ] = None,
) -> None:
    """Make the clips of a run; go on where an earlier call stopped."""
    from tpbench.benchmark.choice import parse_assignments, with_reference_quirks
    from tpbench.benchmark.generate import RunSpec, generate_run
    from tpbench.benchmark.selection import read_ids
    from tpbench.execution import terminate_as_interrupt

    options = parse_assignments(option or [])
    if reference_quirks:
        model, options = with_reference_quirks(model, options)
    spec = RunSpec(
        model=model,
        data=data,
        split=split,
        seed=seed,
        options=options,
        weights_dir=weights,
        device=device,
        limit=limit,
        ids=None if ids is None else tuple(read_ids(ids)),
        min_frames=min_frames,
    )
    with terminate_as_interrupt(), _progress_bar() as news:
        run = generate_run(
            spec,
            out,
            keep=keep,
            workers=workers,
            overwrite=overwrite,
            command=("tpbench", *sys.argv[1:]),
            on_progress=news.hear,
        )
    _say(run, news.state)
    counts = run.info.counts
    if counts.failed or counts.quarantined:
        _say_failures(run)
        raise typer.Exit(FAILED_EXIT_CODE)


def _say(run: Run, state: GenerationProgress | None) -> None:
    info, counts = run.info, run.info.counts
    split = info.dataset.split
    side = "all" if split == "all" else f"the {split} side"
    line = f"{info.model.name} on {side} of {info.dataset.name}: {counts.done:,} of "
    line += f"{counts.expected:,} clips done, {counts.frames:,} frames"
    if state is not None:
        line += f"; now {state.made:,} made, {state.failed:,} failed, {state.clips_there:,} there"
    typer.echo(line)
    if info.timings.frames_per_s is not None:
        typer.echo(f"the generator alone: {info.timings.frames_per_s:,.1f} frames/s a worker")
    if info.partial:
        typer.echo(f"partial: {counts.not_run:,} clips were not tried yet")
    typer.echo(f"run: {run.folder.path}")


def _say_failures(run: Run) -> None:
    failures = [record for record in run.records().values() if record.status != "done"]
    for record in failures[:_SHOWN_FAILURES]:
        typer.echo(f"{record.status}: {record.clip_id}: {record.reason}", err=True)
    if len(failures) > _SHOWN_FAILURES:
        typer.echo(
            f"and {len(failures) - _SHOWN_FAILURES} more; see {run.folder.path / 'records'}",
            err=True,
        )


class _News:
    """The last that was heard, and who else wants to know."""

    def __init__(self, listener: GenerationListener) -> None:
        self.state: GenerationProgress | None = None
        self._listener = listener

    def hear(self, state: GenerationProgress) -> None:
        self.state = state
        self._listener(state)


@contextmanager
def _progress_bar() -> Iterator[_News]:
    from tpbench.cli.progress import progress_bar

    with progress_bar("clips") as show:

        def listener(state: GenerationProgress) -> None:
            failed = f"  {state.failed} failed" if state.failed else ""
            done = state.clips_there + state.made + state.failed
            show(done=done, total=state.clips_total, news=f"{state.frames:,} frames{failed}")

        yield _News(listener)
