"""`tpbench eval`, `generate` and `verify`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from tpbench.cli.output import counted, print_whole, remarks, score_table, scoring_bar, side_of

if TYPE_CHECKING:
    from tpbench.baselines.base import OptionValue
    from tpbench.benchmark.driver import GenerationListener, GenerationProgress
    from tpbench.benchmark.evaluate import Estimate, EvaluationListener
    from tpbench.benchmark.evaluation import Evaluation
    from tpbench.benchmark.run_folder import Run
    from tpbench.metrics.scoring.driver import ScoringProgress

INCOMPLETE_EXIT_CODE: Final = 3

_LISTED: Final = 5


def evaluate(
    model: Annotated[
        str,
        typer.Option(
            help="Model, as listed by `tpbench models list`, package.module:Class, or a spec.yaml."
        ),
    ],
    data: Annotated[
        Path | None, typer.Option(help="Dataset folder. Default: $TPBENCH_DATA.")
    ] = None,
    split: Annotated[
        Literal["test", "train", "all"] | None,
        typer.Option(help="Default: test, or all if the dataset has no split."),
    ] = None,
    task: Annotated[
        str,
        typer.Option(help="self: driven by a clip's own poses. cross: by another identity's."),
    ] = "self",
    protocol: Annotated[
        str, typer.Option(help="Protocol, as listed by `tpbench metrics list`.")
    ] = "tpbench-v2",
    metrics: Annotated[
        str | None, typer.Option(help="Only these metrics, separated by commas: psnr,ssim,tje_d2.")
    ] = None,
    seeds: Annotated[
        str, typer.Option(help="Random seeds separated by commas, one run each: 42,43.")
    ] = "42",
    weights: Annotated[
        Path | None, typer.Option(help="Folder of checkpoints to use instead of `tpbench weights`.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Only the first N clips; the run is partial.")
    ] = None,
    ids: Annotated[
        Path | None, typer.Option(help="File with the ids of the clips to use, one per line.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Model option key=value; may be repeated.")
    ] = None,
    reference_quirks: Annotated[
        bool,
        typer.Option(
            "--reference-quirks", help="Reproduce the released code, including its faults."
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    shard: Annotated[
        str | None,
        typer.Option(
            help="2/4 processes shard 2 of 4 in its own folder; run again without --shard to "
            "merge the shards."
        ),
    ] = None,
    keep: Annotated[
        Literal["lossless", "preview"],
        typer.Option(help="preview: delete the lossless frames once all clips are scored."),
    ] = "lossless",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for all runs.")] = Path("runs"),
    overwrite: Annotated[
        Literal["never", "missing", "always"],
        typer.Option(
            help="never: fail if the run exists. missing: resume. always: regenerate all."
        ),
    ] = "missing",
    workers: Annotated[
        int | None,
        typer.Option(help="Number of processes. Default: set by the model; one per core to score."),
    ] = None,
    min_frames: Annotated[
        int | None,
        typer.Option(help="Allow clips this short, to try things out; a task with its own runs."),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never download model files.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail if a metric cannot be computed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Estimate the cost without generating anything.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Generate all clips with a model and score them; an interrupted run is resumed."""
    from tpbench.benchmark.evaluate import estimate, evaluate_request
    from tpbench.benchmark.request import EvalRequest
    from tpbench.work import terminate_as_interrupt

    model, options = _model_and_options(model, option, quirks=reference_quirks)
    request = EvalRequest(
        model=model,
        data=data,
        split=split,
        task=task,
        protocol=protocol,
        metrics=None if metrics is None else [m.strip() for m in metrics.split(",") if m],
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
        command=("tpbench", *sys.argv[1:]),
    )
    if dry_run:
        _say_estimate(estimate(request), as_json=as_json)
        return
    with terminate_as_interrupt(), _progress_bar() as listener:
        evaluation = evaluate_request(request, listener)
    if as_json:
        typer.echo(json.dumps(evaluation.to_json(), indent=1, allow_nan=False, ensure_ascii=False))
    else:
        _say(evaluation)
    if not evaluation.complete:
        _say_what_lacks(evaluation)
        raise typer.Exit(INCOMPLETE_EXIT_CODE)


def _model_and_options(
    model: str, pairs: Sequence[str] | None, *, quirks: bool
) -> tuple[str, dict[str, OptionValue]]:
    from tpbench.benchmark.model import parse_assignments, with_reference_quirks

    options = parse_assignments(pairs or [])
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
    where = side_of(info.dataset.name, info.dataset.split)
    typer.echo(f"{info.model.name} on {where}, task {info.task.id}")
    if evaluation.partial:
        left = max(run.info.counts.not_run for run in evaluation.runs)
        typer.echo(f"partial run, not for a leaderboard: {counted(left, 'clip')} not tried yet")
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
    others = "" if lacking else "; the values are those of the other clips"
    failed = f"{counted(len(lines), 'clip')} failed{others}"
    typer.echo(f"coverage {evaluation.coverage:.3f}: {failed}", err=True)


def _say_estimate(found: Estimate, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
        return
    seeds = f", {len(found.folders)} seeds" if len(found.folders) > 1 else ""
    typer.echo(f"{counted(found.clips, 'clip')}, {counted(found.frames, 'frame')}{seeds}")
    if found.clips_there:
        typer.echo(f"{found.clips_there:,} of these clips already have a record")
    typer.echo(f"disk: about {_size(found.disk_bytes)} for lossless frames")
    if found.generate_s is None:
        typer.echo("time: unknown; this model has no earlier run on this machine")
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
        str,
        typer.Option(
            help="Model, as listed by `tpbench models list`, package.module:Class, or a spec.yaml."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Dataset folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for all runs.")],
    split: Annotated[
        Literal["test", "train", "all"] | None,
        typer.Option(help="Default: test, or all if the dataset has no split."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of checkpoints to use instead of `tpbench weights`.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 42,
    limit: Annotated[
        int | None, typer.Option(help="Only the first N clips; the run is partial.")
    ] = None,
    ids: Annotated[
        Path | None, typer.Option(help="File with the ids of the clips to use, one per line.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Model option key=value; may be repeated.")
    ] = None,
    reference_quirks: Annotated[
        bool,
        typer.Option(
            "--reference-quirks", help="Reproduce the released code, including its faults."
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    keep: Annotated[
        Literal["lossless", "preview"],
        typer.Option(
            help="lossless: exact frames, which scoring needs. preview: small previews only."
        ),
    ] = "lossless",
    workers: Annotated[
        int | None,
        typer.Option(
            help="Number of processes. Default: one per GPU; one per core without weights."
        ),
    ] = None,
    overwrite: Annotated[
        Literal["never", "missing", "always"],
        typer.Option(
            help="never: fail if the run exists. missing: resume. always: regenerate all."
        ),
    ] = "missing",
    min_frames: Annotated[
        int | None,
        typer.Option(help="Allow clips this short, to try things out; a task with its own runs."),
    ] = None,
) -> None:
    """Generate the clips of a run without scoring them; an interrupted run is resumed."""
    from tpbench.benchmark.generate import generate_run
    from tpbench.benchmark.request import EvalRequest
    from tpbench.work import terminate_as_interrupt

    model, options = _model_and_options(model, option, quirks=reference_quirks)
    request = EvalRequest(
        model=model,
        data=data,
        split=split,
        seeds=(seed,),
        options=options,
        weights=weights,
        device=device,
        limit=limit,
        ids=_ids(ids),
        min_frames=min_frames,
        keep=keep,
        out=out,
        workers=workers,
        overwrite=overwrite,
        command=("tpbench", *sys.argv[1:]),
    )
    with terminate_as_interrupt(), _generating_bar() as news:
        run = generate_run(request, news.hear)
    _say_generated(run, news.state)
    counts = run.info.counts
    if counts.failed or counts.quarantined:
        _say_failures(run)
        raise typer.Exit(FAILED_EXIT_CODE)


def _say_generated(run: Run, state: GenerationProgress | None) -> None:
    info, counts = run.info, run.info.counts
    line = f"{info.model.name} on {side_of(info.dataset.name, info.dataset.split)}: "
    line += f"{counts.done:,} of {counts.expected:,} clips done, {counted(counts.frames, 'frame')}"
    if state is not None:
        line += f"; now: {state.made:,} generated, {state.failed:,} failed, "
        line += f"{state.clips_there:,} already there"
    typer.echo(line)
    if info.timings.frames_per_s is not None:
        typer.echo(f"generation alone: {info.timings.frames_per_s:,.1f} frames/s per worker")
    if info.partial:
        typer.echo(f"partial run: {counted(counts.not_run, 'clip')} not tried yet")
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
    """Keeps the latest progress and passes it on."""

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
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(help="Dataset folder. Default: the one used by the run, or $TPBENCH_DATA."),
    ] = None,
    no_recompute: Annotated[
        bool,
        typer.Option("--no-recompute", help="Check digests only; do not recompute the scores."),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(help="Number of worker processes. Default: one per core.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never download model files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check every sha256 of a run and recompute its scores from the generated clips."""
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
            values = f", {counted(found.n_values, 'value')} reproduced" if found.n_values else ""
            files = f"{counted(found.n_files, 'file')} intact"
            typer.echo(f"verified ({found.level}): {files}{values}")
    for problem in found.problems:
        typer.echo(problem, err=True)
    if not found.ok:
        typer.echo(f"{run}: not verified, {counted(len(found.problems), 'problem')}", err=True)
        raise typer.Exit(WRONG_EXIT_CODE)
