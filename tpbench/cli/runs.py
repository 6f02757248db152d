"""`tpbench eval`, `generate` and `verify`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from tpbench.cli.output import print_whole, remarks, score_table, scoring_bar

if TYPE_CHECKING:
    from tpbench.benchmark.driver import GenerationListener, GenerationProgress
    from tpbench.benchmark.evaluate import Estimate, EvaluationListener
    from tpbench.benchmark.evaluation import Evaluation
    from tpbench.benchmark.run_folder import Run
    from tpbench.metrics.scoring.driver import ScoringProgress

INCOMPLETE_EXIT_CODE: Final = 3

_LISTED: Final = 5


def evaluate(
    model: Annotated[
        str, typer.Option(help="`tpbench models list` shows them; or package.module:Class.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the dataset. Default: $TPBENCH_DATA.")
    ] = None,
    split: Annotated[
        Literal["test", "train", "all"] | None,
        typer.Option(help="Default: test, or all of a dataset that is not split."),
    ] = None,
    task: Annotated[
        str,
        typer.Option(help="self: a clip's own poses. cross: those of another identity."),
    ] = "self",
    protocol: Annotated[
        str, typer.Option(help="`tpbench metrics list` shows them.")
    ] = "tpbench-v2",
    metrics: Annotated[
        str | None, typer.Option(help="Only these, with commas between: psnr,ssim,tje_d2.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="A run each, with commas between: 42,43.")] = "42",
    weights: Annotated[
        Path | None, typer.Option(help="Folder of checkpoints, instead of `tpbench weights`.")
    ] = None,
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
    shard: Annotated[
        str | None,
        typer.Option(
            help="2/4: every fourth clip, from the second on, in a folder of its own. "
            "Without it, such folders are taken over."
        ),
    ] = None,
    keep: Annotated[
        Literal["lossless", "preview"],
        typer.Option(help="preview: exact frames are taken away once all clips are scored."),
    ] = "lossless",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of all runs.")] = Path("runs"),
    overwrite: Annotated[
        Literal["never", "missing", "always"],
        typer.Option(help="never: the run must be new. missing: go on. always: make all again."),
    ] = "missing",
    workers: Annotated[
        int | None,
        typer.Option(help="Processes. Default: as the model needs; to score, a core each."),
    ] = None,
    min_frames: Annotated[
        int | None,
        typer.Option(help="Take shorter clips too, for a try; another task, with its own runs."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Never fetch model files of metrics.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="A metric that can't be measured is an error.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take, and make nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Let a model make all clips, and score them; go on where an earlier call stopped."""
    from tpbench.benchmark.evaluate import estimate, evaluate_prepared, prepare
    from tpbench.benchmark.model import parse_assignments, with_reference_quirks
    from tpbench.benchmark.tasks import read_ids
    from tpbench.work import terminate_as_interrupt

    options = parse_assignments(option or [])
    if reference_quirks:
        model, options = with_reference_quirks(model, options)
    chosen_metrics = None if metrics is None else [m.strip() for m in metrics.split(",") if m]
    chosen_ids = None if ids is None else read_ids(ids)
    prepared = prepare(
        model,
        data,
        split=split,
        task=task,
        protocol=protocol,
        metrics=chosen_metrics,
        seeds=_seeds(seeds),
        weights=weights,
        limit=limit,
        ids=chosen_ids,
        min_frames=min_frames,
        device=device,
        shard=shard,
        options=options,
    )
    if dry_run:
        _say_estimate(estimate(prepared, out, workers=workers), as_json=as_json)
        return
    with terminate_as_interrupt(), _progress_bar() as listener:
        evaluation = evaluate_prepared(
            prepared,
            keep=keep,
            out=out,
            overwrite=overwrite,
            workers=workers,
            offline=offline,
            strict=strict,
            command=("tpbench", *sys.argv[1:]),
            on_progress=listener,
        )
    if as_json:
        typer.echo(json.dumps(evaluation.to_json(), indent=1, allow_nan=False, ensure_ascii=False))
    else:
        _say(evaluation)
    if not evaluation.complete:
        _say_what_lacks(evaluation)
        raise typer.Exit(INCOMPLETE_EXIT_CODE)


def _seeds(text: str) -> list[int]:
    from tpbench.errors import ConfigError

    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"--seeds wants numbers with commas between, such as 42,43, got '{text}'"
        ) from error


def _say(evaluation: Evaluation) -> None:
    from tpbench.cli.console import CleanConsole

    console = CleanConsole(highlight=False, markup=False, emoji=False)
    scores = evaluation.scores
    print_whole(score_table(scores), console)
    both = evaluation.reports[0].protocol["told_beside"] == "mean_of_frames"
    for remark in dict.fromkeys(remarks(scores, both_means=both)):
        console.print(remark, soft_wrap=True)
    for note in dict.fromkeys(note for report in evaluation.reports for note in report.notes):
        console.print(note, soft_wrap=True)
    info = evaluation.runs[0].info
    side = "all" if info.dataset.split == "all" else f"the {info.dataset.split} side"
    typer.echo(f"{info.model.name} on {side} of {info.dataset.name}, task {info.task.id}")
    if evaluation.partial:
        left = max(run.info.counts.not_run for run in evaluation.runs)
        typer.echo(f"partial: {left:,} clips were not tried yet; such a run is for no leaderboard")
    for run, report in zip(evaluation.runs, evaluation.reports, strict=True):
        found = report.coverage
        typer.echo(f"scored {found.n_scored} of {found.n_expected} clips: {run.folder.path}")


def _say_what_lacks(evaluation: Evaluation) -> None:
    from tpbench.benchmark.evaluation import failures_of

    lines = [
        f"{clip}: {reason}"
        for run, report in zip(evaluation.runs, evaluation.reports, strict=True)
        for clip, reason in failures_of(run, report).items()
    ]
    for line in lines[:_LISTED]:
        typer.echo(line, err=True)
    if len(lines) > _LISTED:
        typer.echo(f"... and {len(lines) - _LISTED} more in the runs' records", err=True)
    lacking = sum(not report.coverage.n_scored for report in evaluation.reports)
    others = "" if lacking else "; the values are those of the others"
    typer.echo(f"coverage {evaluation.coverage:.3f}: {len(lines)} clips failed{others}", err=True)


def _say_estimate(found: Estimate, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
        return
    seeds = f", with {len(found.folders)} seeds" if len(found.folders) > 1 else ""
    typer.echo(f"{found.clips:,} clips, {found.frames:,} frames{seeds}")
    if found.clips_there:
        typer.echo(f"of these, {found.clips_there:,} clips have a record already")
    typer.echo(f"disk: about {_size(found.disk_bytes)} of lossless frames")
    if found.generate_s is None:
        typer.echo("time: unknown; no earlier run of it on this machine")
    else:
        typer.echo(f"time: about {_duration(found.generate_s)} to generate, as {found.based_on}")
    for folder in found.folders:
        typer.echo(f"run: {folder}")


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def _progress_bar() -> Iterator[EvaluationListener]:
    from tpbench.benchmark.driver import GenerationProgress
    from tpbench.cli.output import progress_bar

    with progress_bar("clips") as show:

        def listener(seed: int, state: GenerationProgress | ScoringProgress) -> None:
            if isinstance(state, GenerationProgress):
                done = state.clips_there + state.made + state.failed
                failed = f"  {state.failed} failed" if state.failed else ""
                news = f"generate, seed {seed}: {state.frames:,} frames{failed}"
                show(done=done, total=state.clips_total, news=news)
            else:
                news = f"score, seed {seed}: {state.frames:,} frames"
                show(done=state.clips_done, total=state.clips_total, news=news)

        yield listener


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
    from tpbench.benchmark.generate import RunSpec, generate_run
    from tpbench.benchmark.model import parse_assignments, with_reference_quirks
    from tpbench.benchmark.tasks import read_ids
    from tpbench.work import terminate_as_interrupt

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
    with terminate_as_interrupt(), _generating_bar() as news:
        run = generate_run(
            spec,
            out,
            keep=keep,
            workers=workers,
            overwrite=overwrite,
            command=("tpbench", *sys.argv[1:]),
            on_progress=news.hear,
        )
    _say_generated(run, news.state)
    counts = run.info.counts
    if counts.failed or counts.quarantined:
        _say_failures(run)
        raise typer.Exit(FAILED_EXIT_CODE)


def _say_generated(run: Run, state: GenerationProgress | None) -> None:
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
def _generating_bar() -> Iterator[_News]:
    from tpbench.cli.output import progress_bar

    with progress_bar("clips") as show:

        def listener(state: GenerationProgress) -> None:
            failed = f"  {state.failed} failed" if state.failed else ""
            done = state.clips_there + state.made + state.failed
            show(done=done, total=state.clips_total, news=f"{state.frames:,} frames{failed}")

        yield _News(listener)


WRONG_EXIT_CODE: Final = 3


def verify(
    run: Annotated[Path, typer.Argument(help="Folder of the run.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of its dataset. Default: where it lay, or $TPBENCH_DATA."),
    ] = None,
    no_recompute: Annotated[
        bool, typer.Option("--no-recompute", help="Only digests: don't compute the scores again.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(help="Processes, a core each. Default: all cores.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never fetch model files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Check every sha256 of a run, and compute its scores again from the generated clips."""
    from tpbench.benchmark.verify import verify_run
    from tpbench.work import terminate_as_interrupt

    with terminate_as_interrupt(), scoring_bar() as listener:
        found = verify_run(
            run,
            data=data,
            recompute=not no_recompute,
            device=device,
            workers=workers,
            offline=offline,
            on_progress=listener,
        )
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1, ensure_ascii=False))
    else:
        for note in found.notes:
            typer.echo(f"note: {note}")
        if found.ok:
            values = f", {found.n_values:,} values came out again" if found.n_values else ""
            typer.echo(f"verified ({found.level}): {found.n_files:,} files are right{values}")
    for problem in found.problems:
        typer.echo(problem, err=True)
    if not found.ok:
        typer.echo(f"{run}: not verified, {len(found.problems)} problems", err=True)
        raise typer.Exit(WRONG_EXIT_CODE)
