"""`bench extract`: what extraction of one video takes on this machine, by number of workers."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tpbench.dataset import RunStats
from tpbench.dataset.folder import RECORDS_FOLDER
from tpbench.detectors.base import Device
from tpbench.devices import require_device
from tpbench.errors import ConfigError, TPBenchError
from tpbench.extraction.config import ExtractionConfig, load_preset
from tpbench.extraction.sources import Source, find_sources
from tpbench.extraction.speed import Tally, gpus_of
from tpbench.extraction.worker import task_spec
from tpbench.video import probe
from tpbench.wholebody import PoseSource
from tpbench.work import Executor, Pool, TaskSpec, WorkItem, usable_cores
from tpbench.work.records import folder_id

_MAX_WORKERS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRequest:
    """What is to be measured."""

    video: Path | str
    workers: Sequence[int] = ()
    """Numbers of workers, each measured by itself; empty: 1, 2, 4, ... up to one per core."""
    preset: str | ExtractionConfig = "talkingpose"
    skeleton: PoseSource = "dwpose"
    device: Device = "auto"
    offline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one number of workers took, each with the whole video."""

    run: RunStats
    """Its wall time is that of a worker at work, without its start."""
    kept: int
    """Clips that each worker kept."""
    rejected: int
    """Parts of the video that each worker rejected."""

    @property
    def cores(self) -> float:
        """Cores that were busy in the mean."""
        return self.run.core_s / self.run.wall_s if self.run.wall_s else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        counts = {"clips_kept": self.kept, "parts_rejected": self.rejected}
        rates = self.run.rates() | {"cores_busy": self.cores}
        return self.run.model_dump(mode="json", exclude={"runs"}) | rates | counts


def bench_extraction(
    request: BenchRequest, *, executor_of: Callable[[int], Executor] | None = None
) -> Iterator[Measured]:
    """Extract one video with each number of workers; what is written is deleted again.

    Each worker processes the whole video, so all of them have the same to do and work at the same
    time. Starting workers and loading models is not counted: a run into a dataset does it once.

    Args:
        request: what to measure.
        executor_of: returns what processes with a number of workers; by default a pool.

    Raises:
        ConfigError: an option is invalid or the device is not available.
        MissingWeightsError: a model file is missing.
        MediaError: the video can't be read.
        TPBenchError: the video could not be processed.
    """
    from tpbench.detectors.base import weights_digest

    numbers = list(request.workers) or default_workers(usable_cores())
    if wrong := [number for number in numbers if not 1 <= number <= _MAX_WORKERS]:
        raise ConfigError(f"--workers: want numbers from 1 to {_MAX_WORKERS}, got {wrong[0]}")
    given = request.preset
    config = given if isinstance(given, ExtractionConfig) else load_preset(given)
    require_device(request.device, library="onnxruntime")
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as made:
        folder = Path(made)
        source, *others = find_sources([Path(request.video)], excluded=folder)
        if others:
            raise ConfigError(f"{request.video} is a folder of several videos; name one of them")
        probe(source.path)
        weights_digest(request.skeleton, offline=request.offline)
        for number in numbers:
            with tempfile.TemporaryDirectory(dir=folder) as out:
                bench = _Bench(request=request, config=config, source=source, folder=Path(out))
                yield bench.measure(number, (executor_of or bench.pool)(number))


def default_workers(cores: int) -> list[int]:
    """Return 1, 2, 4, ... and the number of cores.

    >>> default_workers(6)
    [1, 2, 4, 6]
    """
    numbers = [1]
    while numbers[-1] * 2 < cores:
        numbers.append(numbers[-1] * 2)
    return sorted({*numbers, cores})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """The measurement of one number of workers."""

    request: BenchRequest
    config: ExtractionConfig
    source: Source
    folder: Path
    """Of the dataset that is written and deleted."""

    def pool(self, number: int) -> Executor:
        return Pool(num_workers=number, worker_log=self.folder / "workers.log")

    def measure(self, number: int, executor: Executor) -> Measured:
        tally = Tally(workers=number, gpus=gpus_of(self.request.skeleton, self.request.device))
        busy_s = 0.0
        statuses: Counter[str] = Counter()
        with closing(executor.run(self._task(), self._items(number))) as outcomes:
            for outcome in outcomes:
                if outcome.result is None:
                    raise TPBenchError(f"{self.request.video}: {outcome.error}")
                tally.add(outcome)
                busy_s += outcome.wall_s
                statuses.update(clip["status"] for clip in outcome.result["clips"])
        return Measured(
            run=tally.stats(busy_s / number),
            kept=statuses["kept"] // number,
            rejected=statuses["rejected"] // number,
        )

    def _items(self, number: int) -> Iterator[WorkItem]:
        """Yield the same video under another name for each worker, as clips are named by it."""
        for index in range(number):
            link = self.folder / f"worker-{index}{self.source.path.suffix}"
            link.symlink_to(self.source.path)
            copy = replace(self.source, path=link)
            yield WorkItem(key=copy.key, payload=copy.to_json())

    def _task(self) -> TaskSpec:
        records = self.folder / RECORDS_FOLDER
        records.mkdir()
        return task_spec(
            config=self.config,
            folder=self.folder,
            records_id=folder_id(records),
            skeleton=self.request.skeleton,
            device=self.request.device,
            offline=self.request.offline,
        )
