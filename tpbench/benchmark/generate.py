"""`generate_run`: a model and a dataset in, a run out."""

from __future__ import annotations

import traceback
from collections.abc import Generator as Generates
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from tpbench.baselines.base import Generator
from tpbench.baselines.model_row import OptionValue
from tpbench.benchmark.bookkeeping import RunPlan
from tpbench.benchmark.driver import Driver, GenerationListener
from tpbench.benchmark.model import Crew, ModelChoice, adopt, choose, crew_for
from tpbench.benchmark.run_folder import Keep, Run, RunFolder
from tpbench.benchmark.run_info import code_stamp
from tpbench.benchmark.shards import Shard
from tpbench.benchmark.tasks import SplitChoice, select_clips, task_rule
from tpbench.benchmark.worker import GenerationProcess
from tpbench.dataset import Dataset
from tpbench.errors import ConfigError, TPBenchError
from tpbench.execution import (
    IN_WORK,
    JsonObject,
    LocalExecutor,
    Outcome,
    ProgressListener,
    TaskSpec,
    WorkItem,
    explain_halts,
)
from tpbench.execution.halt import why_halt

DEFAULT_PROTOCOL: Final = "tpbench-v2"

Overwrite = Literal["never", "missing", "always"]
"""never: the run must be new. missing: do what is not done yet. always: do all that is asked for
again; a run made with another configuration is taken away first."""

_RECYCLE_LIGHT: Final = 25
_RECYCLE_HEAVY: Final = 10**9
"""Items after which a worker is replaced; one that has loaded a big model is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What is made of what."""

    model: str
    """`id`, `id:variant`, or `package.module:Class`; a name to your liking for an object."""

    data: Path
    """Folder of the dataset."""

    split: SplitChoice | None = None
    """None: test, or the whole of a dataset that is not split."""

    task: str = "self"
    protocol: str = DEFAULT_PROTOCOL
    """How it will be scored; part of the run's place."""

    seed: int = 42
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    weights_dir: Path | None = None
    device: str = "auto"
    limit: int | None = None
    """Only the first so many clips, by id. The run is partial until the others are made too."""

    ids: tuple[str, ...] | None = None
    """Only these clips."""

    min_frames: int | None = None
    """See `task_rule`."""

    shard: Shard | None = None
    """Only this part of the clips, in a folder of its own; see `shards`."""


def generate_run(  # noqa: PLR0913 - how it is done, one word each
    spec: RunSpec,
    out: Path | str,
    *,
    generator: Generator | None = None,
    keep: Keep = "lossless",
    workers: int | None = None,
    overwrite: Overwrite = "missing",
    command: Sequence[str] = (),
    on_progress: GenerationListener | None = None,
) -> Run:
    """Make every clip of a run that is not there yet.

    Stopped at any moment and called again, it goes on with the clips that are not finished: those
    without a record, and those whose record was made of other inputs or names other files than the
    ones on disk. Failed clips are tried again.

    Args:
        spec: what is made.
        out: folder of all runs.
        generator: an object of your own that makes the frames, in this process; needs a method
            `generate` (see `tpbench.baselines.base.Generator`). It is not closed.
        keep: lossless frames, or only what is for looking at.
        workers: processes; see `crew_for`.
        overwrite: what to do with what is there.
        command: what the user typed, for the record.
        on_progress: told about every step.

    Returns:
        The run. Clips that failed have a record with the reason.

    Raises:
        ConfigError: an option or a name makes no sense, or the folder holds a run that was made
            with another configuration.
        DatasetError: the dataset is broken or has no such clips, or another process is at the run.
        MissingWeightsError: the model's weights are missing; nothing was made.
        TPBenchError: the disk is full; what is finished is kept.
    """
    plan = plan_run(spec, of_object=generator is not None)
    return generate_planned(
        plan,
        spec,
        out,
        generator=generator,
        keep=keep,
        workers=workers,
        overwrite=overwrite,
        command=command,
        on_progress=on_progress,
    )


def plan_run(spec: RunSpec, *, of_object: bool = False) -> RunPlan:
    """Look up and open what a run is made of; nothing is made.

    Args:
        spec: what is made.
        of_object: whether the model is an object, and its name means nothing.

    Raises:
        ConfigError: an option or a name makes no sense.
        DatasetError: the dataset is broken or has no such clips.
    """
    dataset = Dataset.open(spec.data)
    rule = task_rule(spec.task, min_frames=spec.min_frames)
    choice = ModelChoice(name=spec.model) if of_object else choose(spec.model)
    selection = select_clips(dataset, rule, split=spec.split, limit=spec.limit, ids=spec.ids)
    if spec.shard is not None:
        selection = replace(selection, wanted=spec.shard.take(selection.wanted))
    return RunPlan(
        choice=choice,
        dataset=dataset,
        selection=selection,
        rule=rule,
        protocol=spec.protocol,
        seed=spec.seed,
        shard=spec.shard,
    )


def generate_planned(  # noqa: PLR0913 - as above
    plan: RunPlan,
    spec: RunSpec,
    out: Path | str,
    *,
    generator: Generator | None,
    keep: Keep,
    workers: int | None,
    overwrite: Overwrite,
    command: Sequence[str],
    on_progress: GenerationListener | None,
) -> Run:
    """Do what `generate_run` does, for a plan that `plan_run` made of the same `spec`."""
    crew = crew_for(
        plan.choice,
        device=spec.device,
        workers=1 if generator is not None else workers,
        clips=len(plan.selection.wanted),
    )
    folder = plan.folder(Path(out))
    with folder.locked(), explain_halts(folder.path):
        if overwrite == "never" and folder.holds_anything():
            raise ConfigError(
                f"{folder.path}: there is a run already; --overwrite missing goes on with it, "
                "--overwrite always makes it anew"
            )
        driver = Driver(
            plan,
            folder,
            keep=keep,
            again=overwrite == "always",
            crew=crew,
            command=command,
            listener=on_progress,
        )
        config = _config(spec, folder, keep, crew)
        try:
            if generator is not None:
                _work_here(driver, adopt(generator, name=spec.model), config)
            else:
                _work_in_processes(driver, crew, plan.choice, config)
        finally:
            driver.publish()
        return Run.open(folder.path)


def _config(spec: RunSpec, folder: RunFolder, keep: Keep, crew: Crew) -> dict[str, Any]:
    return {
        "model": spec.model,
        "options": dict(spec.options),
        "weights_dir": None if spec.weights_dir is None else str(spec.weights_dir),
        "devices": list(crew.devices),
        "threads": crew.threads,
        "folder": str(folder.path),
        "dataset": str(Path(spec.data).absolute()),
        "seed": spec.seed,
        "keep": keep,
        "code": code_stamp().short,
    }


def _work_in_processes(
    driver: Driver, crew: Crew, choice: ModelChoice, config: Mapping[str, Any]
) -> None:
    task = TaskSpec(factory="tpbench.benchmark.worker:build", config=config)

    def work(items: Iterable[WorkItem], workers: int) -> None:
        executor = LocalExecutor(
            num_workers=workers,
            recycle_after=_RECYCLE_LIGHT if choice.weight_free else _RECYCLE_HEAVY,
            worker_log=driver.folder.log,
        )
        with closing(executor.run(task, items, on_progress=driver.on_progress)) as outcomes:
            for outcome in outcomes:
                driver.hear(outcome)

    # What the generator says of itself decides what is left to do. A single worker goes on with
    # that at once, so that a big model is loaded only once.
    alone = crew.workers == 1
    work(driver.items_after_describing() if alone else driver.describing(), 1)
    if not alone:
        work(driver.items(), crew.workers)
    work(driver.items_one_by_one(), crew.workers)


def _work_here(driver: Driver, generator: Generator, config: Mapping[str, Any]) -> None:
    from tpbench.benchmark.worker import GenerationProcess, make_maker

    process = GenerationProcess(maker=make_maker(generator, config))
    for items in (driver.items_after_describing(), driver.items_one_by_one()):
        for outcome in _done_here(process, items, driver.on_progress):
            driver.hear(outcome)


def _done_here(
    process: GenerationProcess, items: Iterable[WorkItem], on_progress: ProgressListener
) -> Generates[Outcome, None, None]:
    """Do items in this process, as an executor would; a bug is not tried again."""

    def report(key: str, progress: JsonObject) -> None:
        IN_WORK.moved(key)
        on_progress(key, progress)

    for item in items:
        try:
            with IN_WORK.at(item.key, where="in this process"):
                result = process(item.payload, partial(report, item.key))
        except Exception as error:  # a bug of one clip's must not cost the others
            if why_halt(error) is not None:
                raise
            known = isinstance(error, TPBenchError)
            yield Outcome(
                key=item.key,
                kind="failed",
                attempts=1,
                error=str(error) if known else f"{type(error).__name__}: {error}",
                error_detail=None if known else traceback.format_exc(),
            )
        else:
            yield Outcome(key=item.key, kind="done", attempts=1, result=result)
