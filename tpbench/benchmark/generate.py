"""`generate_run`: generate the clips of a run, or those still missing, and update `run.json`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from tpbench.baselines.base import Generator
from tpbench.benchmark.making import GenerationJob, clips_payload, make_maker, record_failure
from tpbench.benchmark.model import WorkerPlan, as_generator, plan_workers
from tpbench.benchmark.request import EvalRequest, RunPlan, plan_run, refuse_existing
from tpbench.benchmark.run_folder import (
    ENCODING,
    ClipRecord,
    Run,
    RunFolder,
    inputs_key,
    now,
    updated,
)
from tpbench.benchmark.run_info import (
    RUN_INFO_NAME,
    RunInfo,
    code_stamp,
    read_run_info,
    write_run_info,
)
from tpbench.benchmark.stamping import differences_to, new_info, new_session
from tpbench.benchmark.tasks import TaskClip
from tpbench.devices import require_device
from tpbench.errors import ConfigError, SubmissionError, TPBenchError, number_of
from tpbench.privacy import public_values
from tpbench.work import (
    LOCAL,
    Executor,
    InThisProcess,
    JsonObject,
    Outcome,
    Process,
    ProgressCounter,
    ProgressListener,
    TaskSpec,
    WorkItem,
    explain_halts,
    item_limit_s,
    keep_traceback,
    run_items,
)
from tpbench.work.attempts import Attempts, tell_given_up
from tpbench.work.crew import MAX_ATTEMPTS
from tpbench.work.locks import require_held
from tpbench.work.signs import SIGNS_NAME, signs

logger = logging.getLogger(__name__)

CARRIES_OVER: Final = "latents_carried_across_clips"
"""True in a generator's description if state leaks from one clip into the next, as in the code of
some methods. Results then depend on the order, so a run is generated whole or not at all."""
_DESCRIBE: Final = WorkItem(key="describe")
_RECYCLE_LIGHT: Final = 25
_RECYCLE_HEAVY: Final = 10**9
"""Items after which a worker is replaced; one with a large model loaded never is."""


def generate_run(request: EvalRequest, on_progress: ProgressListener | None = None) -> Run:
    """Generate all clips of a run that are not finished yet.

    After an interruption, the same call continues with the unfinished clips: those without a
    record, and those whose record has another inputs key or does not match the files on disk.
    Failed clips are tried again, quarantined ones only if asked.

    Args:
        request: what to generate, for the first of its seeds; settings for scoring are ignored. A
            generator object of the user runs in this process and is not closed.
        on_progress: called after every step.

    Returns:
        The run. Clips that failed have a record with the reason.

    Raises:
        ConfigError: an option or a name is invalid, or the folder holds a run with another
            configuration.
        DatasetError: the dataset is broken or lacks the clips, or another process uses the run.
        MissingWeightsError: the model's weights are missing; nothing was generated.
        TPBenchError: the disk is full; finished clips are kept.
    """
    return generate_planned(plan_run(request), request, on_progress)


def generate_planned(
    plan: RunPlan, request: EvalRequest, on_progress: ProgressListener | None
) -> Run:
    """Do what `generate_run` does, for a plan that was made from the request."""
    generator = request.generator
    engine = request.engine if generator is None else LOCAL  # an object can't leave this process
    if engine.is_local:
        require_device(request.device, library=plan.choice.device_library)
    folder = plan.folder(Path(request.out))
    with (
        engine.session(),
        _removed_if_refused(folder),
        folder.locked(),
        explain_halts(folder.path),
    ):
        worker_plan = plan_workers(
            plan.choice,
            device=request.device,
            workers=1 if generator is not None else request.workers,
            clips=len(plan.selection.wanted),
            engine=engine,
        )
        refuse_existing(folder, request.overwrite)
        adopted = None if generator is None else as_generator(generator, name=request.model)
        generation = _Generation(plan, request, folder, worker_plan)
        try:
            progress = ProgressCounter("generate", listener=on_progress)
            with signs(folder.path / SIGNS_NAME, progress, workers=worker_plan.workers):
                _work(generation, adopted, progress)
        finally:
            generation.publish()
        return Run.open(folder.path)


class _BrokenModelError(TPBenchError):
    """The code of a model raised; its traceback is in the log of the run."""


@contextmanager
def _removed_if_refused(folder: RunFolder) -> Iterator[None]:
    """Remove the folder of a run again if a wrong option or missing weights end it at its start."""
    made = [path for path in (folder.path, *folder.path.parents) if not path.exists()]
    try:
        yield
    except TPBenchError as error:
        if made and not isinstance(error, _BrokenModelError):
            folder.remove_unbegun()
            for path in made:
                with suppress(OSError):  # another run has begun in it
                    path.rmdir()
        raise


def _work(generation: _Generation, generator: Generator | None, progress: ProgressCounter) -> None:
    """Generate the clips: in worker processes, or here by the user's own generator."""
    task = TaskSpec(factory="tpbench.benchmark.making:build", config=generation.config())
    light, workers = generation.plan.choice.weight_free, generation.worker_plan.workers

    def work(items: Iterator[WorkItem | None], workers: int) -> None:
        executor: Executor
        if generator is not None:
            executor = InThisProcess(build=partial(_keep_open, generator))
        else:
            executor = generation.engine.pool(
                num_workers=workers,
                recycle_after=_RECYCLE_LIGHT if light else _RECYCLE_HEAVY,
                item_timeout_s=item_limit_s(generation.request.item_timeout_s),
                worker_log=generation.folder.log,
                gpu_share=generation.worker_plan.gpu_share,
            )
        run_items(task, items, generation, executor=executor, progress=progress)

    # The remaining work depends on the generator's description. A single worker continues right
    # after describing, so that a large model is loaded only once.
    work(generation.items_after_describing() if workers == 1 else iter([_DESCRIBE]), 1)
    if workers > 1:
        work(generation.items(), workers)
    work(generation.items_one_by_one(), workers)


def _keep_open(generator: Generator, config: JsonObject) -> Process:
    """Wrap the user's generator, without a `close`: the user closes it."""
    return make_maker(generator, config).__call__


class _Generation:
    """The `Records` of one call of `generate_run`: its work items and their outcomes.

    Args:
        plan: the clips, model and settings of the run.
        request: options of the user.
        folder: of the run, locked.
        worker_plan: workers and devices.
    """

    def __init__(
        self, plan: RunPlan, request: EvalRequest, folder: RunFolder, worker_plan: WorkerPlan
    ) -> None:
        self.plan, self.folder, self.worker_plan = plan, folder, worker_plan
        self.engine = request.engine
        self.request = request
        self._redo_all = request.overwrite == "always"
        self._retry = self._redo_all or request.retry_failed
        self._attempts = Attempts(folder.attempts, forget=self._retry)
        self._info: RunInfo | None = None
        self._keys: dict[str, str] = {}
        self._todo: list[tuple[GenerationJob, ...]] = []
        self._one_by_one: list[GenerationJob] = []
        self._by_item: dict[str, tuple[GenerationJob, ...]] = {}
        self._in_one_go = False
        self._shards: tuple[RunFolder, ...] = ()

    def config(self) -> dict[str, Any]:
        """Return the configuration of the workers; see `making.build`."""
        request = self.request
        return {
            "model": request.model,
            "options": dict(request.options),
            "weights_dir": None if request.weights is None else str(Path(request.weights)),
            "devices": list(self.worker_plan.devices),
            "threads": self.worker_plan.threads,
            "folder": str(self.folder.path),
            "dataset": str(self.plan.dataset.folder.absolute()),
            "seed": self.plan.seed,
            "keep": request.keep,
            "code": code_stamp().short,
        }

    def items_after_describing(self) -> Iterator[WorkItem | None]:
        """Yield the item that describes the generator, then all others, which follow from it."""
        yield _DESCRIBE
        while self._info is None:  # describing is tried again if its worker was lost
            yield None
        yield from self.items()

    def items(self) -> Iterator[WorkItem]:
        """Yield the remaining items."""
        yield from map(self._item, self._todo)

    def items_one_by_one(self) -> Iterator[WorkItem]:
        """Yield the clips of batches that killed their worker or hit a bug, one per item."""
        yield from (self._item((job,)) for job in self._one_by_one)

    def add(self, outcome: Outcome, progress: ProgressCounter) -> None:
        """Process the outcome of an item; only lost clips still need a record.

        Raises:
            ConfigError: the folder holds a run with another configuration.
            TPBenchError: the generator could not be built or described.
        """
        jobs = self._by_item.get(outcome.key, ())
        if len(jobs) == 1 and not self._in_one_go:
            self._attempts.note(outcome, jobs[0].inputs)
        if outcome.kind == "retried":
            return
        keep_traceback(outcome, self.folder.log)
        if outcome.key == _DESCRIBE.key:
            if outcome.result is None:
                told = f"{self.plan.choice.name}: {outcome.error}"
                if outcome.error_detail is None:
                    raise TPBenchError(told)
                raise _BrokenModelError(f"{told} (more on it: {self.folder.log})")
            # Through JSON, to equal what will be read back: tuples become lists, keys strings.
            configuration = json.loads(json.dumps(outcome.result["configuration"]))
            self._begin(public_values(configuration), outcome.result["max_clips"], progress)
            return
        if outcome.result is None:
            statuses, frames = self._record_lost(outcome), 0
        else:
            statuses, frames = outcome.result["statuses"], outcome.result["frames"]
        lost = [clip_id for clip_id, status in statuses.items() if status != "done"]
        for clip_id in lost:
            logger.warning("%s: %s", clip_id, ClipRecord.read(self.folder.record(clip_id)).reason)
        counts = {"made": len(statuses) - len(lost), "failed": len(lost)}
        progress.finish(outcome.key, done=len(statuses), frames=frames, counts=counts)

    def publish(self) -> None:
        """Update `run.json` from the records on disk; does nothing if the run never began.

        Raises:
            HaltError: the folder is gone, or another run works in it.
        """
        if self._info is None:
            return
        require_held(self.folder.path)
        self.folder.sweep()  # lost workers leave unfinished files
        clips = self.plan.selection.clips
        info = updated(self._info, {clip.clip_id: self._record(clip) for clip in clips})
        if self._todo or self._one_by_one:
            *earlier, session = info.sessions
            finished = session.model_copy(update={"ended_at": now()})
            info = info.model_copy(update={"sessions": (*earlier, finished)})
        write_run_info(self.folder.path, info)

    def _begin(
        self, configuration: dict[str, Any], max_clips: int, progress: ProgressCounter
    ) -> None:
        """Compare with an existing run, find the remaining work, and write `run.json`."""
        plan, info = self.plan, new_info(self.plan, configuration)
        former = self._existing_info(info)
        if former is not None:
            # Equal, except for private values that older versions recorded. The existing clips
            # were generated with that configuration.
            configuration = former.model.configuration
            model = info.model.model_copy(update={"configuration": configuration})
            info = info.model_copy(update={"model": model})
        self.folder.sweep()
        self.folder.note_dataset(plan.dataset.folder)
        self._keys = {
            clip.clip_id: inputs_key(
                clip,
                configuration=configuration,
                model=plan.choice.name,
                task=plan.task,
                seed=plan.seed,
                encoding=ENCODING.name,
            )
            for clip in plan.selection.clips
        }
        self._in_one_go = configuration.get(CARRIES_OVER) is True
        if not self._in_one_go:
            self._shards = self.folder.shards()
        todo = self._find_work(max_clips)
        sessions = list(former.sessions if former is not None else ())
        for session in self.folder.sessions_of(self._shards, self._keys):
            if session not in sessions:
                sessions.append(session)
        if todo:
            sessions.append(new_session(self.worker_plan, self.request.command, clips_to_do=todo))
        self._info = info.model_copy(update={"sessions": tuple(sessions)})
        write_run_info(self.folder.path, self._info)
        wanted = len(plan.selection.wanted)
        logger.info(
            "generating into %s: %d of %d clips left, %s on %s",
            self.folder.path,
            todo,
            wanted,
            number_of(self.worker_plan.workers, "worker"),
            ", ".join(self.worker_plan.devices),
        )
        progress.begin(total=wanted, before=wanted - todo)

    def _existing_info(self, info: RunInfo) -> RunInfo | None:
        """Return the existing `run.json`; refuse or delete a run with another identity.

        Raises:
            ConfigError: it is another run, or broken, and may not be deleted.
        """
        if not (self.folder.path / RUN_INFO_NAME).exists():
            return None
        advice = "give it another --name or --out, or --overwrite always to generate it again"
        try:
            former = read_run_info(self.folder.path)
            differences = differences_to(former, info)
            problem = f"{self.folder.path}: {differences}"
        except SubmissionError as error:
            former, differences, problem = None, "unreadable", str(error)
            advice = (
                f"move {RUN_INFO_NAME} away and run the same command again: finished clips are kept"
            )
        if not differences:
            return former
        if not self._redo_all and (former is None or self.folder.holds_clips()):
            raise ConfigError(f"{problem}; {advice}")
        self.folder.clear(clip.clip_id for clip in self.plan.selection.clips)
        return None

    def _find_work(self, max_clips: int) -> int:
        """Find the remaining clips, delete their old records, and return how many there are.

        Raises:
            ConfigError: single clips are requested of a run that must be generated in one go.
        """
        wanted, clips = self.plan.selection.wanted, self.plan.selection.clips
        if self._in_one_go and wanted != clips[: len(wanted)]:
            raise ConfigError(
                f"{self.plan.choice.name}: its output for a clip depends on the clips before it; "
                "take all clips, or the first ones by --limit"
            )
        jobs = [GenerationJob(clip=clip, inputs=self._keys[clip.clip_id]) for clip in wanted]
        todo = [job for job in jobs if self._redo_all or not self._is_finished(job)]
        given_up = [] if self._retry else [job for job in todo if self._is_given_up(job)]
        tell_given_up([job.clip.clip_id for job in given_up])
        todo = [job for job in todo if job not in given_up]
        if self._in_one_go and todo:
            todo = jobs
        for job in todo:
            self.folder.discard(job.clip.clip_id)
        size = len(todo) or 1
        if not self._in_one_go:  # longest first, so that batches and workers end at similar times
            todo.sort(key=lambda job: (-job.clip.n_frames, job.clip.clip_id))
            size = max(1, max_clips)
            # One that killed a worker before takes no others with it.
            self._one_by_one = [job for job in todo if self._lost(job)]
        together = [job for job in todo if job not in self._one_by_one]
        self._todo = [tuple(together[i : i + size]) for i in range(0, len(together), size)]
        return len(todo)

    def _is_finished(self, job: GenerationJob) -> bool:
        """Whether the clip is finished here, or could be taken over from a shard."""
        of_clip = job.clip.clip_id, job.inputs, self.request.keep
        return self.folder.is_complete(*of_clip) or self.folder.take_over(*of_clip, self._shards)

    def _is_given_up(self, job: GenerationJob) -> bool:
        return self.folder.is_given_up(job.clip.clip_id, job.inputs, self._shards)

    def _lost(self, job: GenerationJob) -> int:
        """Return how many attempts at a clip cost a worker."""
        lost = self._attempts.of(job.clip.clip_id, job.inputs)
        return 0 if lost is None else lost.attempts

    def _record(self, clip: TaskClip) -> ClipRecord | None:
        """Return a clip's record if it is readable and has the current inputs key."""
        return self.folder.record_of(clip.clip_id, self._keys[clip.clip_id])

    def _item(self, jobs: tuple[GenerationJob, ...]) -> WorkItem:
        key = jobs[0].clip.clip_id + (f" and {len(jobs) - 1} more" if len(jobs) > 1 else "")
        self._by_item[key] = jobs
        return WorkItem(
            key=key,
            payload=clips_payload(jobs, in_one_go=self._in_one_go),
            attempts=0 if len(jobs) > 1 or self._in_one_go else self._lost(jobs[0]),
        )

    def _record_lost(self, outcome: Outcome) -> dict[str, str]:
        """Record clips lost to a bug or a dead worker, and return statuses by clip.

        Of a batch of several clips, those without a record are retried one by one instead.
        """
        jobs = self._by_item[outcome.key]
        left = [job for job in jobs if self._record(job.clip) is None]
        statuses = {job.clip.clip_id: "done" for job in jobs if job not in left}
        if len(jobs) > 1 and not self._in_one_go:
            self._one_by_one += left
            left = []
        for job in left:
            record = record_failure(
                self.folder,
                job,
                f"{outcome.error} (more on it: {self.folder.log.name})",
                code=code_stamp().short,
                # In this process, nothing is tried again by the same call.
                quarantined=outcome.kind == "quarantined" and outcome.attempts >= MAX_ATTEMPTS,
            )
            statuses[record.clip_id] = record.status
        return statuses
