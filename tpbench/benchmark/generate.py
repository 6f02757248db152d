"""`generate_run`: a model and a dataset in, a run out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from tpbench.baselines.base import Generator, OptionValue
from tpbench.benchmark.bookkeeping import RunPlan
from tpbench.benchmark.driver import Driver, GenerationListener
from tpbench.benchmark.model import Crew, ModelChoice, adopt, choose, crew_for
from tpbench.benchmark.run_folder import Keep, Run, RunFolder
from tpbench.benchmark.run_info import code_stamp
from tpbench.benchmark.shards import Shard
from tpbench.benchmark.tasks import SplitChoice, select_clips, task_rule
from tpbench.benchmark.worker import GenerationProcess
from tpbench.dataset import Dataset
from tpbench.errors import ConfigError
from tpbench.work import (
    Executor,
    InThisProcess,
    JsonObject,
    Pool,
    Process,
    TaskSpec,
    WorkItem,
    explain_halts,
)

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
            adopted = None if generator is None else adopt(generator, name=spec.model)
            _work(driver, crew, plan.choice, config, adopted)
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


def _work(
    driver: Driver,
    crew: Crew,
    choice: ModelChoice,
    config: Mapping[str, Any],
    generator: Generator | None,
) -> None:
    """Have the clips made: in processes, or here by an object of the user's own."""
    task = TaskSpec(factory="tpbench.benchmark.worker:build", config=config)

    def work(items: Iterable[WorkItem], workers: int) -> None:
        executor: Executor
        if generator is not None:
            executor = InThisProcess(build=partial(_keep_open, generator))
        else:
            executor = Pool(
                num_workers=workers,
                recycle_after=_RECYCLE_LIGHT if choice.weight_free else _RECYCLE_HEAVY,
                worker_log=driver.folder.log,
            )
        with closing(executor.run(task, items, on_report=driver.on_progress)) as outcomes:
            for outcome in outcomes:
                driver.hear(outcome)

    # What the generator says of itself decides what is left to do. A single worker goes on with
    # that at once, so that a big model is loaded only once.
    alone = crew.workers == 1
    work(driver.items_after_describing() if alone else driver.describing(), 1)
    if not alone:
        work(driver.items(), crew.workers)
    work(driver.items_one_by_one(), crew.workers)


def _keep_open(generator: Generator, config: JsonObject) -> Process:
    """Put an object to work that is the user's, who closes it."""
    from tpbench.benchmark.worker import make_maker

    return GenerationProcess(maker=make_maker(generator, config)).__call__
