"""How fast extraction is: what each run into a dataset took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydantic import Field, FiniteFloat

from tpbench.dataset import RunStats
from tpbench.dataset.folder import RECORDS_FOLDER
from tpbench.detectors.base import Device
from tpbench.devices import device_problem
from tpbench.wholebody import PoseSource
from tpbench.work import Outcome
from tpbench.work.records import Record, Shard

_MAX_RUNS: Final = 100
"""Runs that are remembered one by one; all of them count in the sum."""


class RunTimes(Record):
    """What the runs into a dataset took, or those of one shard."""

    wall_s: FiniteFloat = 0.0
    """Of all runs."""
    runs: list[RunStats] = Field(default_factory=list)
    """The latest runs that processed anything, in order; none of earlier versions."""

    def extended(self, run: RunStats) -> RunTimes:
        """Return the times with one more run."""
        runs = [*self.runs, run] if run.source_frames else self.runs
        return RunTimes(wall_s=self.wall_s + run.wall_s, runs=runs[-_MAX_RUNS:])


class Tally:
    """Adds up what the sources of one run took."""

    def __init__(self, *, workers: int, gpus: int) -> None:
        self._workers, self._gpus = workers, gpus
        self.attempts = 0
        """Counted so far."""
        self._core_s = self._source_s = 0.0
        self._frames = self._sources = 0
        self._stage_s: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        """Count one attempt at a source; one that failed counts with its time alone."""
        self.attempts += 1
        self._core_s += outcome.cpu_s
        if outcome.result is None:
            return
        self._sources += 1
        self._frames += outcome.result["n_frames"]
        self._source_s += outcome.result["duration_s"]
        self._stage_s.update(outcome.result["stage_s"])

    def stats(self, wall_s: float) -> RunStats:
        """Return the sum.

        Args:
            wall_s: duration of the run.
        """
        return RunStats(
            workers=self._workers,
            gpus=self._gpus,
            wall_s=wall_s,
            core_s=self._core_s,
            source_frames=self._frames,
            source_s=self._source_s,
            stage_s=dict(self._stage_s),
        )


def gpus_of(skeleton: PoseSource, device: Device) -> int:
    """Return how many GPUs an extraction uses: one where DWPose finds CUDA, else none."""
    if skeleton != "dwpose" or device == "cpu":
        return 0
    return 0 if device_problem("cuda", library="onnxruntime") else 1


def run_file(folder: Path, shard: Shard | None = None) -> Path:
    """Return the file in a dataset that holds the times of its runs, or of one shard's."""
    name = "run.json" if shard is None else f"run{shard.suffix}.json"
    return folder / RECORDS_FOLDER / name


def read_times(paths: Iterable[Path]) -> RunTimes:
    """Return the times in all of these files together; those that don't exist count nothing.

    Raises:
        RecordError: one is damaged.
    """
    times = [RunTimes.read(path) for path in paths if path.exists()]
    return RunTimes(
        wall_s=sum(one.wall_s for one in times), runs=[run for one in times for run in one.runs]
    )
