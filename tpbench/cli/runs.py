"""`tpbench eval`, `generate` and `verify`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tpbench.cli import options as opt
from tpbench.cli.numbers import blanks, print_numbers
from tpbench.cli.output import (
    counted,
    duration,
    echo_some,
    print_json,
    side_of,
    size,
)
from tpbench.cli.progress import failed, progress_bar, scoring_bar
from tpbench.foreign import printable

if TYPE_CHECKING:
    from tpbench.baselines.base import OptionValue
    from tpbench.benchmark.checks import Verification
    from tpbench.benchmark.evaluate import Evaluation, EvaluationListener
    from tpbench.benchmark.markup import Format
    from tpbench.benchmark.request import CostEstimate, EvalRequest
    from tpbench.benchmark.run_folder import ClipRecord, Run
    from tpbench.work import Progress


Task = Annotated[
    str, typer.Option(help="self: driven by a clip's own poses. cross: by another identity's.")
]
Seeds = Annotated[
    str,
    typer.Option(
        "--seeds", "--seed", help="Random seeds separated by commas, one run each: 42,43."
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        help="2/4 processes shard 2 of 4 in its own folder; run again without --shard to "
        "merge the shards. At most 10,000 shards."
    ),
]
Name = Annotated[
    str | None, typer.Option(help="Name of the model in tables; its runs have their own folder.")
]
Videos = Annotated[
    Path | None,
    typer.Option(help="Folder of the videos of `--model precomputed`, named by clip id."),
]
_PRECOMPUTED: Final = "precomputed"
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Show what it would take and all that would stop it (exit code 2); write nothing.",
    ),
]


def evaluate(
    model: opt.Model,
    data: opt.Data = None,
    name: Name = None,
    videos: Videos = None,
    split: opt.Split = None,
    task: Task = "self",
    protocol: opt.Protocol = "tpbench-v2",
    metrics: opt.Metrics = None,
    seeds: Seeds = "42",
    weights: opt.Weights = None,
    limit: opt.Limit = None,
    ids: opt.Ids = None,
    option: opt.ModelOptions = None,
    reference_quirks: opt.ReferenceQuirks = False,
    device: opt.Device = "auto",
    shard: Shard = None,
    keep: opt.Keep = "lossless",
    out: opt.Runs = Path("runs"),
    overwrite: opt.Overwrite = "missing",
    workers: opt.GeneratingWorkers = None,
    executor: opt.Executor = "local",
    ray_address: opt.RayAddress = None,
    gpu_share: opt.GpuShare = None,
    item_timeout: opt.ItemTimeout = 1800,
    retry_failed: opt.RetryFailed = False,
    min_frames: opt.MinFrames = None,
    offline: opt.Offline = False,
    strict: opt.Strict = False,
    dry_run: DryRun = False,
    every: opt.AllMetrics = False,
    form: opt.Format = "table",
    as_json: opt.AsJson = False,
) -> None:
    """Generate all clips with a model and score them. An interrupted run is resumed."""
    from tpbench.benchmark.request import EvalRequest

    model, options = _model_and_options(model, option, quirks=reference_quirks, videos=videos)
    request = EvalRequest(
        model=model,
        data=data,
        name=name,
        split=split,
        task=task,
        protocol=protocol,
        metrics=opt.metric_names(metrics),
        ids=_ids(ids),
        seeds=_seeds(seeds),
        weights=weights,
        limit=limit,
        min_frames=min_frames,
        device=device,
        shard=shard,
        keep=keep,
        out=out,
        overwrite=overwrite,
        options=options,
        workers=workers,
        offline=offline,
        strict=strict,
        engine=opt.engine(executor, ray_address, gpu_share),
        item_timeout_s=item_timeout,
        retry_failed=retry_failed,
        command=("tpbench", *sys.argv[1:]),
    )
    if dry_run:
        return _print_dry_run(request, scores=True, as_json=as_json)
    return _evaluate(request, every=every, form=form, as_json=as_json)


def _evaluate(request: EvalRequest, *, every: bool, form: Format, as_json: bool) -> None:
    from tpbench.benchmark.evaluate import evaluate_request
    from tpbench.work import terminate_as_interrupt

    with terminate_as_interrupt(), _evaluation_bar() as listener:
        evaluation = evaluate_request(request, listener)
    if as_json:
        print_json(evaluation.to_json(), indent=1)
    else:
        _print_evaluation(evaluation, every=every, form=form)
    if not evaluation.complete:
        _print_failures(evaluation)
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _model_and_options(
    model: str, pairs: Sequence[str] | None, *, quirks: bool, videos: Path | None
) -> tuple[str, dict[str, OptionValue]]:
    from tpbench.benchmark.model import parse_assignments, with_reference_quirks
    from tpbench.errors import ConfigError

    options = parse_assignments(pairs or [])
    if videos is not None:
        if model != _PRECOMPUTED or "folder" in options:
            raise ConfigError(
                f"--videos names the folder of `--model {_PRECOMPUTED}`, which is given once"
            )
        options["folder"] = str(videos)
    if model == _PRECOMPUTED and "folder" not in options:
        raise ConfigError(f"--model {_PRECOMPUTED}: name the folder of its videos, --videos DIR")
    return with_reference_quirks(model, options) if quirks else (model, options)


def _ids(path: Path | None) -> list[str] | None:
    from tpbench.benchmark.tasks import read_ids

    return None if path is None else read_ids(path)


def _seeds(text: str) -> list[int]:
    from tpbench.errors import ConfigError

    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"--seeds takes numbers separated by commas, such as 42,43, got '{text}'"
        ) from error


def _print_evaluation(evaluation: Evaluation, *, every: bool, form: Format) -> None:
    from tpbench.benchmark.paper_table import Method

    reports, info = evaluation.reports, evaluation.runs[0].info
    print_numbers(
        [Method(name=info.model.full_name, scores=evaluation.scores)],
        reports[0].protocol,
        how=evaluation.how_to_report,
        notes=[note for report in reports for note in report.notes],
        every=every,
        form=form,
    )
    # Of another form, stdout has the table alone.
    aside = form != "table"
    where = side_of(info.dataset.name, info.dataset.split)
    typer.echo(f"{info.model.row_name} on {where}, task {info.task.id}", err=aside)
    if evaluation.partial:
        left = max(run.info.counts.not_run for run in evaluation.runs)
        lack = f"{counted(left, 'clip')} not tried yet"
        typer.echo(f"partial run, not for a leaderboard: {lack}", err=aside)
    for run, report in zip(evaluation.runs, reports, strict=True):
        found = report.coverage
        scored = f"scored {found.n_scored} of {found.n_expected} clips"
        typer.echo(f"{scored}: {run.folder.path}", err=aside)


def _print_failures(evaluation: Evaluation) -> None:
    from tpbench.benchmark.evaluate import failures_of

    lines = [
        f"{clip}: {reason}"
        for run, report in zip(evaluation.runs, evaluation.reports, strict=True)
        for clip, reason in failures_of(run, report).items()
    ]
    if left := echo_some(lines):
        typer.echo(f"... and {left} more in the runs' records", err=True)
    lacking = sum(not report.coverage.n_scored for report in evaluation.reports)
    others = "" if lacking else "; the values are those of the other clips"
    failed = f"{counted(len(lines), 'clip')} failed{others}"
    typer.echo(f"coverage {evaluation.coverage:.3f}: {failed}", err=True)


def _print_dry_run(request: EvalRequest, *, scores: bool, as_json: bool) -> None:
    from tpbench.benchmark.readiness import dry_run

    found = dry_run(request, scores=scores)
    if as_json:
        print_json(found.to_json(), indent=1, ascii_only=True)
    else:
        if found.cost is not None:
            _print_cost(found.cost)
        for file in found.weights_missing:
            known = "size not published" if file.size_bytes is None else size(file.size_bytes)
            typer.echo(f"missing: {file.name} ({known})")
        for line in (*blanks(found.blank_reasons, what="would stay blank"), *found.notes):
            typer.echo(line)
    for problem in found.problems:
        typer.echo(f"would stop: {printable(problem)}", err=True)
    if found.problems:
        raise typer.Exit(opt.STOPPED_EXIT_CODE)
    if not as_json:
        typer.echo("ready: nothing would stop it")


def _print_cost(cost: CostEstimate) -> None:
    seeds = f", {len(cost.folders)} seeds" if len(cost.folders) > 1 else ""
    typer.echo(f"{counted(cost.clips, 'clip')}, {counted(cost.frames, 'frame')}{seeds}")
    if cost.clips_there:
        typer.echo(f"{cost.clips_there:,} of these clips already have a record")
    typer.echo(f"disk: about {size(cost.disk_bytes)} for lossless frames")
    if cost.generate_s is None:
        typer.echo("time: unknown; this model has no earlier run on this machine")
    else:
        typer.echo(f"time: about {duration(cost.generate_s)} to generate, as {cost.based_on}")
    for folder in cost.folders:
        typer.echo(f"run: {folder}")


@contextmanager
def _evaluation_bar() -> Iterator[EvaluationListener]:
    with progress_bar("clips", several_steps=True) as show:

        def listener(seed: int, state: Progress) -> None:
            show(state, step=f"{state.step}, seed {seed}", news=failed(state))

        yield listener


def generate(
    model: opt.Model,
    data: opt.Data = None,
    name: Name = None,
    videos: Videos = None,
    out: opt.Runs = Path("runs"),
    split: opt.Split = None,
    task: Task = "self",
    protocol: opt.Protocol = "tpbench-v2",
    weights: opt.Weights = None,
    seeds: Seeds = "42",
    limit: opt.Limit = None,
    ids: opt.Ids = None,
    option: opt.ModelOptions = None,
    reference_quirks: opt.ReferenceQuirks = False,
    device: opt.Device = "auto",
    shard: Shard = None,
    keep: opt.Keep = "lossless",
    workers: opt.GeneratingWorkers = None,
    executor: opt.Executor = "local",
    ray_address: opt.RayAddress = None,
    gpu_share: opt.GpuShare = None,
    item_timeout: opt.ItemTimeout = 1800,
    retry_failed: opt.RetryFailed = False,
    overwrite: opt.Overwrite = "missing",
    min_frames: opt.MinFrames = None,
    dry_run: DryRun = False,
    as_json: opt.AsJson = False,
) -> None:
    """Generate the clips of a run without scoring them. An interrupted run is resumed."""
    from tpbench.benchmark.request import EvalRequest

    model, options = _model_and_options(model, option, quirks=reference_quirks, videos=videos)
    request = EvalRequest(
        model=model,
        data=data,
        name=name,
        split=split,
        task=task,
        protocol=protocol,
        seeds=_seeds(seeds),
        options=options,
        weights=weights,
        device=device,
        shard=shard,
        limit=limit,
        ids=_ids(ids),
        min_frames=min_frames,
        keep=keep,
        out=out,
        workers=workers,
        overwrite=overwrite,
        engine=opt.engine(executor, ray_address, gpu_share),
        item_timeout_s=item_timeout,
        retry_failed=retry_failed,
        command=("tpbench", *sys.argv[1:]),
    )
    if dry_run:
        _print_dry_run(request, scores=False, as_json=as_json)
    else:
        _generate(request, as_json=as_json)


def _generate(request: EvalRequest, *, as_json: bool) -> None:
    """Generate the runs of all seeds, one after the other."""
    from tpbench.benchmark.generate import generate_planned
    from tpbench.benchmark.request import plan_evaluation
    from tpbench.work import terminate_as_interrupt

    plan, _protocol = plan_evaluation(request)
    made: list[tuple[Run, Progress | None]] = []
    with terminate_as_interrupt(), progress_bar("clips") as show:
        for seed in request.seeds:
            last: Progress | None = None

            def listener(state: Progress, seed: int = seed) -> None:
                nonlocal last
                last = state
                show(state, step=f"generate, seed {seed}", news=failed(state))

            planned, asked = replace(plan, seed=seed), replace(request, seeds=(seed,))
            made.append((generate_planned(planned, asked, listener), last))
    if as_json:
        print_json({"runs": [_generated_json(run) for run, _ in made]}, indent=1)
    else:
        for run, state in made:
            _print_generated(run, state)
    incomplete = [run for run, _ in made if _print_not_generated(run)]
    if incomplete:
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _not_generated(run: Run) -> list[ClipRecord]:
    return [record for record in run.records().values() if record.status != "done"]


def _print_not_generated(run: Run) -> bool:
    """Print the clips of a run that failed; return whether any did."""
    lines = [f"{one.status}: {one.clip_id}: {one.reason}" for one in _not_generated(run)]
    if left := echo_some(lines):
        typer.echo(f"and {left} more; see {run.folder.path / 'records'}", err=True)
    return bool(lines)


def _generated_json(run: Run) -> dict[str, Any]:
    return {
        "seed": run.info.seed,
        "folder": str(run.folder.path),
        "model": run.info.model.name,
        "dataset": run.info.dataset.model_dump(exclude={"left_out", "folder"}),
        "task": run.info.task.model_dump(),
        "partial": run.info.partial,
        "counts": run.info.counts.model_dump(),
        "frames_per_s": run.info.timings.frames_per_s,
        "failed": {one.clip_id: one.reason for one in _not_generated(run)},
    }


def _print_generated(run: Run, state: Progress | None) -> None:
    info, counts = run.info, run.info.counts
    line = f"{info.model.row_name} on {side_of(info.dataset.name, info.dataset.split)}: "
    line += f"{counts.done:,} of {counts.expected:,} clips done, {counted(counts.frames, 'frame')}"
    if state is not None:
        made, lost = state.counts["made"], state.counts["failed"]
        line += f"; now: {made:,} generated, {lost:,} failed, {state.before:,} already there"
    typer.echo(line)
    if info.timings.frames_per_s is not None:
        typer.echo(f"generation alone: {info.timings.frames_per_s:,.1f} frames/s per worker")
    if info.partial:
        typer.echo(f"partial run: {counted(counts.not_run, 'clip')} not tried yet")
    typer.echo(f"run: {run.folder.path}")


def verify(
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(help="Dataset folder. Default: the one used by the run, or $TPBENCH_DATA."),
    ] = None,
    no_recompute: Annotated[
        bool,
        typer.Option("--no-recompute", help="Check digests only; do not recompute the scores."),
    ] = False,
    device: opt.Device = "auto",
    workers: opt.Workers = None,
    offline: opt.Offline = False,
    as_json: opt.AsJson = False,
) -> None:
    """Check the files of a run and compute its scores again."""
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
        print_json(found.to_json(), indent=1)
    else:
        for note in found.notes:
            typer.echo(f"note: {note}")
        if found.ok:
            typer.echo(verified_line(found))
    for problem in found.problems:
        typer.echo(problem, err=True)
    if not found.ok:
        typer.echo(f"{run}: not verified, {counted(len(found.problems), 'problem')}", err=True)
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def verified_line(found: Verification) -> str:
    """Return one line with what was verified."""
    values = f", {counted(found.n_values, 'value')} reproduced" if found.n_values else ""
    return f"verified ({found.level}): {counted(found.n_files, 'file')} intact{values}"
