"""`generate_run`: a model and a dataset in, a run out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

from tpbench.baselines.base import Generator
from tpbench.benchmark.bookkeeping import RunPlan
from tpbench.benchmark.driver import Driver, GenerationListener
from tpbench.benchmark.model import Crew, ModelChoice, adopt, crew_for
from tpbench.benchmark.request import EvalRequest, plan_run
from tpbench.benchmark.run_folder import Run, RunFolder
from tpbench.benchmark.run_info import code_stamp
from tpbench.benchmark.worker import GenerationProcess
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

_RECYCLE_LIGHT: Final = 25
_RECYCLE_HEAVY: Final = 10**9
"""Items after which a worker is replaced; one that has loaded a big model is not."""


def generate_run(request: EvalRequest, on_progress: GenerationListener | None = None) -> Run:
    """Make every clip of a run that is not there yet.

    Stopped at any moment and called again, it goes on with the clips that are not finished: those
    without a record, and those whose record was made of other inputs or names other files than the
    ones on disk. Failed clips are tried again.

    Args:
        request: what is made; of its seeds, the first. An object that makes the frames works in
            this process and is not closed. What is for scoring is passed over.
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
    return generate_planned(plan_run(request), request, on_progress)


def generate_planned(
    plan: RunPlan, request: EvalRequest, on_progress: GenerationListener | None
) -> Run:
    """Do what `generate_run` does, for the seed of a plan that was made of the request."""
    generator = request.generator
    crew = crew_for(
        plan.choice,
        device=request.device,
        workers=1 if generator is not None else request.workers,
        clips=len(plan.selection.wanted),
    )
    folder = plan.folder(Path(request.out))
    with folder.locked(), explain_halts(folder.path):
        if request.overwrite == "never" and folder.holds_anything():
            raise ConfigError(
                f"{folder.path}: there is a run already; --overwrite missing goes on with it, "
                "--overwrite always makes it anew"
            )
        driver = Driver(
            plan,
            folder,
            keep=request.keep,
            again=request.overwrite == "always",
            crew=crew,
            command=request.command,
            listener=on_progress,
        )
        config = _config(plan, request, folder, crew)
        try:
            adopted = None if generator is None else adopt(generator, name=request.model)
            _work(driver, crew, plan.choice, config, adopted)
        finally:
            driver.publish()
        return Run.open(folder.path)


def _config(plan: RunPlan, request: EvalRequest, folder: RunFolder, crew: Crew) -> dict[str, Any]:
    return {
        "model": request.model,
        "options": dict(request.options),
        "weights_dir": None if request.weights is None else str(Path(request.weights)),
        "devices": list(crew.devices),
        "threads": crew.threads,
        "folder": str(folder.path),
        "dataset": str(plan.dataset.folder.absolute()),
        "seed": plan.seed,
        "keep": request.keep,
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
