"""Who measures: this process with a thread per core, or a process per core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tpbench.metrics.scoring.clip_pass import ClipJob
from tpbench.metrics.scoring.policies import Policies
from tpbench.metrics.scoring.worker import build, payload_of
from tpbench.wholebody import PoseSource
from tpbench.work import Executor, InThisProcess, Outcome, Pool, TaskSpec, WorkItem, usable_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringProgress:
    """How far a scoring is."""

    clips_total: int
    clips_done: int
    """Those of earlier runs included."""
    frames: int
    """Pairs of frames measured in this run."""


ProgressListener = Callable[[ScoringProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """How workers are made."""

    policies: Policies
    records: Path
    cache: Path
    device: str
    skeleton: PoseSource
    offline: bool
    uses_torch: bool
    workers: int | None
    """Processes; None: one per core. 1 is this process itself."""
    factory: str
    """What processes of their own build: "module:callable"."""
    log: Path
    """Where their own output is appended."""

    def measure(
        self, jobs: Sequence[ClipJob], on_progress: Callable[[str, int], None]
    ) -> Iterator[Outcome]:
        """Measure all pairs and yield what becomes of each.

        Args:
            jobs: what is left to do.
            on_progress: told of a clip how many frames are measured.
        """
        cores = usable_cores()
        workers = min(self.workers or cores, max(1, len(jobs)))
        config = {
            "policies": asdict(self.policies),
            "records": str(self.records),
            "cache": str(self.cache),
            "device": self.device,
            "skeleton": self.skeleton,
            "offline": self.offline,
            "uses_torch": self.uses_torch,
            "threads": max(1, cores // workers),
        }
        executor: Executor = InThisProcess(build=build)
        if workers > 1:
            executor = Pool(num_workers=workers, worker_log=self.log)
        items = [WorkItem(key=job.clip_id, payload=payload_of(job)) for job in jobs]
        outcomes = executor.run(
            TaskSpec(factory=self.factory, config=config),
            items,
            on_report=lambda key, report: on_progress(key, int(report["frames"])),
        )
        with closing(outcomes):
            yield from outcomes


class ProgressCounter:
    """Adds up what clips report and tells a listener.

    Args:
        clips_total: clips that are scored in the end.
        clips_done: of them, those with nothing left to do.
        listener: is told about every step; None for nobody.
    """

    def __init__(
        self, *, clips_total: int, clips_done: int, listener: ProgressListener | None
    ) -> None:
        self._state = ScoringProgress(clips_total=clips_total, clips_done=clips_done, frames=0)
        self._frames: dict[str, int] = {}
        self._listener = listener
        self._tell()

    def on_frames(self, clip_id: str, frames: int) -> None:
        """Hear how many frames of a clip are measured."""
        self._frames[clip_id] = frames
        self._tell()

    def on_outcome(self, outcome: Outcome) -> None:
        """Hear what became of a clip."""
        if outcome.kind == "retried":
            return
        if outcome.result is not None:
            self._frames[outcome.key] = int(outcome.result["frames"])
        self._state = replace(self._state, clips_done=self._state.clips_done + 1)
        self._tell()

    def _tell(self) -> None:
        self._state = replace(self._state, frames=sum(self._frames.values()))
        if self._listener is not None:
            self._listener(self._state)
