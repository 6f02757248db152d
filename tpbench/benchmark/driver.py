"""The driver's side of a run: what is left to do, and what came of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tpbench.benchmark.bookkeeping import RunPlan, new_info, new_session, now, updated
from tpbench.benchmark.making import ClipJob, record_failure
from tpbench.benchmark.model import Crew
from tpbench.benchmark.records import ClipRecord, inputs_key, read_record
from tpbench.benchmark.run_folder import ENCODING, Keep, RunFolder
from tpbench.benchmark.run_info import (
    RUN_INFO_NAME,
    RunInfo,
    code_stamp,
    read_run_info,
    write_run_info,
)
from tpbench.benchmark.shards import is_whole, record_of, sessions_of, shards_of, take_over
from tpbench.benchmark.tasks import TaskClip
from tpbench.benchmark.worker import clips_payload, describe_payload
from tpbench.errors import ConfigError, SubmissionError, TPBenchError
from tpbench.privacy import public_values
from tpbench.work import JsonObject, Outcome, WorkItem, keep_traceback
from tpbench.work.records import describe_differences

logger = logging.getLogger(__name__)

CARRIES_OVER: Final = "latents_carried_across_clips"
"""What a generator says of itself (true) if one clip leaks into the next, as in released code of
some methods. Then the order is part of the result, and a run is made whole or not at all."""
_DESCRIBE: Final = "describe"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationProgress:
    """How far a call of `generate_run` is."""

    clips_total: int
    """Wanted in this call."""
    clips_there: int
    """Of these, done before."""
    made: int = 0
    failed: int = 0
    frames: int = 0
    """Written in this call."""


GenerationListener = Callable[[GenerationProgress], None]


class Driver:
    """Keeps the books of one call of `generate_run`.

    Args:
        plan: what the run is.
        folder: of the run, locked.
        keep: which files of a clip there have to be.
        again: make what is there once more.
        crew: for the record.
        command: what the user typed, for the record.
        listener: is told about every step.
    """

    def __init__(
        self,
        plan: RunPlan,
        folder: RunFolder,
        *,
        keep: Keep,
        again: bool,
        crew: Crew,
        command: Sequence[str],
        listener: GenerationListener | None,
    ) -> None:
        self.folder = folder
        self._plan = plan
        self._keep = keep
        self._again = again
        self._crew = crew
        self._command = command
        self._listener = listener
        self._info: RunInfo | None = None
        self._keys: dict[str, str] = {}
        self._todo: list[tuple[ClipJob, ...]] = []
        self._one_by_one: list[ClipJob] = []
        self._by_item: dict[str, tuple[ClipJob, ...]] = {}
        self._in_one_go = False
        self._shards: tuple[RunFolder, ...] = ()
        self._running: dict[str, int] = {}
        self._progress = GenerationProgress(clips_total=0, clips_there=0)

    def describing(self) -> Iterator[WorkItem]:
        """Give the item whose outcome says what the generator is; it has to be heard first."""
        yield WorkItem(key=_DESCRIBE, payload=describe_payload())

    def items_after_describing(self) -> Iterator[WorkItem]:
        """Give that item, then all others: for one worker, who takes the second after the first."""
        yield from self.describing()
        yield from self.items()

    def items(self) -> Iterator[WorkItem]:
        """Give what is left to do."""
        yield from map(self._item, self._todo)

    def items_one_by_one(self) -> Iterator[WorkItem]:
        """Give the clips of batches that killed their worker or met a bug, each by itself."""
        yield from (self._item((job,)) for job in self._one_by_one)

    def hear(self, outcome: Outcome) -> None:
        """Hear what became of an item.

        Raises:
            ConfigError: the folder holds a run of another configuration.
            TPBenchError: the generator could not say what it is.
        """
        if outcome.kind == "retried":
            return
        keep_traceback(outcome, self.folder.log)
        self._running.pop(outcome.key, None)
        if outcome.key == _DESCRIBE:
            if outcome.result is None:
                raise TPBenchError(
                    f"{self._plan.choice.name}: {outcome.error} (more on it: {self.folder.log})"
                )
            # Through JSON, as it will be read again: a tuple becomes a list, a key a text.
            configuration = json.loads(json.dumps(outcome.result["configuration"]))
            self._begin(public_values(configuration), outcome.result["max_clips"])
        elif outcome.result is not None:
            self._count(outcome.result["statuses"], outcome.result["frames"])
        else:
            self._hear_of_a_loss(outcome)

    def on_progress(self, key: str, report: JsonObject) -> None:
        """Hear how many frames of an item are written."""
        self._running[key] = int(report["frames"])
        self._tell()

    def publish(self) -> None:
        """Bring `run.json` up to what lies on disk; nothing if the run never began."""
        if self._info is None:
            return
        self.folder.sweep()  # workers that were lost left their unfinished files
        clips = self._plan.selection.clips
        info = updated(self._info, {clip.clip_id: self._record(clip) for clip in clips})
        if self._todo:
            *earlier, session = info.sessions
            finished = session.model_copy(update={"ended_at": now()})
            info = info.model_copy(update={"sessions": (*earlier, finished)})
        write_run_info(self.folder.path, info)

    def _begin(self, configuration: dict[str, Any], max_clips: int) -> None:
        """Compare with what is there, and see what is left to do."""
        info = new_info(self._plan, configuration)
        former = self._former_of(info)
        if former is not None:
            # The same but for what older versions wrote down and is private; its clips were made
            # under that.
            configuration = former.model.configuration
            model = info.model.model_copy(update={"configuration": configuration})
            info = info.model_copy(update={"model": model})
        self.folder.sweep()
        self.folder.note_dataset(self._plan.dataset.folder)
        self._keys = {
            clip.clip_id: inputs_key(
                clip,
                configuration=configuration,
                model=self._plan.choice.name,
                task=self._plan.task,
                seed=self._plan.seed,
                encoding=ENCODING.name,
            )
            for clip in self._plan.selection.clips
        }
        self._in_one_go = configuration.get(CARRIES_OVER) is True
        if not self._in_one_go:
            self._shards = shards_of(self.folder)
        self._find_work(max_clips)
        sessions = former.sessions if former is not None else ()
        others = sessions_of(self._shards, self._keys, self.folder)
        sessions = (*sessions, *(session for session in others if session not in sessions))
        if self._todo:
            clips_to_do = sum(len(jobs) for jobs in self._todo)
            session = new_session(self._crew, self._command, clips_to_do=clips_to_do)
            sessions = (*sessions, session)
        self._info = info.model_copy(update={"sessions": sessions})
        write_run_info(self.folder.path, self._info)
        self._tell()

    def _former_of(self, info: RunInfo) -> RunInfo | None:
        """Return what `run.json` says of earlier calls; refuse, or take away, what is another run.

        Raises:
            ConfigError: it is another run, or broken, and may not be taken away.
        """
        if not (self.folder.path / RUN_INFO_NAME).exists():
            return None
        advice = "use another --out, or --overwrite always to make it anew"
        try:
            former = read_run_info(self.folder.path)
            differences = describe_differences(
                public_values(former.identity()), public_values(info.identity())
            )
            problem = f"{self.folder.path}: this run was made with another configuration: "
            problem += differences
        except SubmissionError as error:
            former, differences, problem = None, "unreadable", str(error)
            advice = (
                f"move {RUN_INFO_NAME} away and give the same command again: what is finished stays"
            )
        if not differences:
            return former
        if not self._again:
            raise ConfigError(f"{problem}; {advice}")
        self.folder.clear(clip.clip_id for clip in self._plan.selection.clips)
        return None

    def _find_work(self, max_clips: int) -> None:
        """Find what is to be done, and take the old records of it away.

        Raises:
            ConfigError: clips are picked out of a run that is made in one go.
        """
        wanted, clips = self._plan.selection.wanted, self._plan.selection.clips
        if self._in_one_go and wanted != clips[: len(wanted)]:
            raise ConfigError(
                f"{self._plan.choice.name}: what it makes of a clip depends on the clips before; "
                "take all, or the first ones by --limit"
            )
        jobs = [ClipJob(clip=clip, inputs=self._keys[clip.clip_id]) for clip in wanted]
        todo = [job for job in jobs if self._again or not self._is_there(job)]
        if self._in_one_go and todo:
            todo = jobs
        for job in todo:
            self.folder.discard(job.clip.clip_id)
        size = len(todo) or 1
        if not self._in_one_go:  # long ones first: batches end together, and so do the workers
            todo.sort(key=lambda job: (-job.clip.n_frames, job.clip.clip_id))
            size = max(1, max_clips)
        self._todo = [tuple(todo[i : i + size]) for i in range(0, len(todo), size)]
        self._progress = GenerationProgress(
            clips_total=len(jobs), clips_there=len(jobs) - len(todo)
        )

    def _is_there(self, job: ClipJob) -> bool:
        """Whether the clip is done here, or is now, because a shard of the run had it."""
        clip_id = job.clip.clip_id
        if is_whole(self.folder, clip_id, job.inputs, self._keep):
            return True
        return take_over(self.folder, clip_id, job.inputs, self._keep, self._shards)

    def _record(self, clip: TaskClip) -> ClipRecord | None:
        """Return a clip's record if it can be read and was made of the same inputs."""
        return record_of(self.folder, clip.clip_id, self._keys[clip.clip_id])

    def _item(self, jobs: tuple[ClipJob, ...]) -> WorkItem:
        key = jobs[0].clip.clip_id + (f" and {len(jobs) - 1} more" if len(jobs) > 1 else "")
        self._by_item[key] = jobs
        return WorkItem(key=key, payload=clips_payload(jobs, in_one_go=self._in_one_go))

    def _hear_of_a_loss(self, outcome: Outcome) -> None:
        """Hear of a bug or a dead worker: blame the clip, or find out later which one it was."""
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
                quarantined=outcome.kind == "quarantined",
            )
            statuses[record.clip_id] = record.status
        self._count(statuses, 0)

    def _count(self, statuses: Mapping[str, str], frames: int) -> None:
        lost = [clip_id for clip_id, status in statuses.items() if status != "done"]
        for clip_id in lost:
            logger.warning("%s: %s", clip_id, read_record(self.folder.record(clip_id)).reason)
        self._progress = replace(
            self._progress,
            made=self._progress.made + len(statuses) - len(lost),
            failed=self._progress.failed + len(lost),
            frames=self._progress.frames + frames,
        )
        self._tell()

    def _tell(self) -> None:
        if self._listener is not None:
            frames = self._progress.frames + sum(self._running.values())
            self._listener(replace(self._progress, frames=frames))
