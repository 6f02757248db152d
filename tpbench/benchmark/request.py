"""What a user asks of `eval` or `generate`, the plan of the run that it means, its cost."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from tpbench.baselines.base import Generator, OptionValue
from tpbench.benchmark.model import ModelChoice, choose, plan_workers
from tpbench.benchmark.run_folder import Keep, RunFolder, run_path
from tpbench.benchmark.run_info import RUN_INFO_NAME, RunInfo, hardware_stamp, read_run_info
from tpbench.benchmark.tasks import (
    Selection,
    SplitChoice,
    TaskRule,
    select_clips,
    task_rule,
)
from tpbench.dataset import Dataset
from tpbench.errors import ConfigError, SubmissionError, did_you_mean
from tpbench.metrics.registry import DEFAULT_PROTOCOL, Protocol, metric
from tpbench.metrics.registry import protocol as protocol_named
from tpbench.video import probe
from tpbench.work.records import Shard

logger = logging.getLogger(__name__)

FRAME_BYTES: Final = 174_000
"""Of a lossless frame of 512x512 px of a talk, as measured; others by their area."""
_FRAME_PX: Final = 512 * 512
DATA_VARIABLE: Final = "TPBENCH_DATA"
"""Environment variable with the folder of the dataset, where none is named."""
Overwrite = Literal["never", "missing", "always"]
"""never: the run must be new. missing: do what is not done yet. always: do all that is asked for
again; a run made with another configuration is taken away first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalRequest:
    """All that a user of `eval` or `generate` may choose."""

    model: str
    """`id` or `id:variant` (`tpbench models list`), `package.module:Class`, the path of a
    `spec.yaml`, or, with `generator`, a name to your liking."""
    data: Path | str | None = None
    """Folder of the dataset; None: what $TPBENCH_DATA names."""
    split: SplitChoice | None = None
    """None: test, or the whole of a dataset that is not split."""
    task: str = "self"
    """`self` or `cross`."""
    protocol: str = DEFAULT_PROTOCOL
    """How the run is scored (`tpbench metrics list`); part of its place."""
    metrics: Sequence[str] | None = None
    """Only these; `scores.json` holds these alone then. What was measured before stays, and the
    next call without a choice has it at once."""
    seeds: Sequence[int] = (42,)
    """A run each."""
    weights: Path | str | None = None
    """Folder of checkpoints, instead of that of `tpbench weights`."""
    limit: int | None = None
    """Only the first so many clips, by id: a partial run, until the others are made too."""
    ids: Sequence[str] | None = None
    """Only these clips."""
    min_frames: int | None = None
    """Take shorter clips too: another task, for trying things out; see `task_rule`."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`."""
    shard: Shard | str | None = None
    """`2/4`: only every fourth clip, from the second on, in a folder of its own. The same call
    without it takes such folders over."""
    keep: Keep = "lossless"
    """`preview` takes the lossless frames away once all clips are scored: scores can't be computed
    again then, and to measure more, all clips are made again."""
    out: Path | str = "runs"
    """Folder of all runs."""
    overwrite: Overwrite = "missing"
    """What to do with what is there."""
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    """Of the model."""
    generator: Generator | None = None
    """An object of your own that makes the frames, in this process; needs a method `generate` (see
    `tpbench.baselines.base.Generator`)."""
    workers: int | None = None
    """Processes; None: what suits the model (`model.plan_workers`), and one per core to score."""
    offline: bool = False
    """Never fetch the model files of metrics."""
    strict: bool = False
    """A metric that can't be measured is an error, and not a blank."""
    command: Sequence[str] = ()
    """What the user typed, for the record."""


def data_folder(data: Path | str | None) -> Path:
    """Return the folder of the dataset: as given, or from the environment.

    Raises:
        ConfigError: neither names one.
    """
    found = data if data is not None else os.environ.get(DATA_VARIABLE)
    if not found:
        raise ConfigError(f"no dataset: name its folder by --data, or set {DATA_VARIABLE}")
    return Path(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What a run is made of, looked up and opened."""

    choice: ModelChoice
    dataset: Dataset
    selection: Selection
    rule: TaskRule
    protocol: str
    seed: int
    shard: Shard | None = None
    """Only this part of it, in a folder of its own."""

    @property
    def task(self) -> str:
        """The task with its version, as the key of a clip's inputs has it."""
        return f"{self.rule.name} v{self.rule.version}"

    @property
    def real(self) -> dict[str, Any]:
        """What `scores.json` says of the clips that the generated ones are held against."""
        return {
            "kind": "dataset",
            "name": self.dataset.info.name,
            "digest": self.dataset.digest,
            "split": self.selection.split,
            "clips": self.selection.digest,
            "task": self.task,
        }

    def folder(self, runs: Path) -> RunFolder:
        """Return where the run lies in a folder of runs."""
        path = run_path(
            runs,
            model=self.choice.name,
            dataset=self.dataset.info.name,
            split=self.selection.split,
            digest=self.dataset.digest,
            task=self.rule.name,
            protocol=self.protocol,
            seed=self.seed,
            part=self.shard.suffix if self.shard else "",
        )
        return RunFolder(path=path.absolute())


def plan_run(request: EvalRequest) -> RunPlan:
    """Look up and open what the run of the first seed is made of; nothing is made.

    Raises:
        ConfigError: an option or a name makes no sense.
        DatasetError: the dataset is broken or has no such clips.
    """
    data, shard = data_folder(request.data), request.shard
    if isinstance(shard, str):
        shard = Shard.parse(shard)
    dataset = Dataset.open(data)
    rule = task_rule(request.task, min_frames=request.min_frames)
    of_object = request.generator is not None  # its name is as the user likes
    choice = ModelChoice(name=request.model) if of_object else choose(request.model)
    selection = select_clips(
        dataset, rule, split=request.split, limit=request.limit, ids=request.ids
    )
    if shard is not None:
        selection = replace(selection, wanted=shard.take(selection.wanted))
    return RunPlan(
        choice=choice,
        dataset=dataset,
        selection=selection,
        rule=rule,
        protocol=request.protocol,
        seed=request.seeds[0],
        shard=shard,
    )


def scoring_protocol(rule: TaskRule, name: str, metrics: Sequence[str] | None) -> Protocol:
    """Return a protocol, narrowed to the metrics asked for and to those that fit the task.

    Without a choice of metrics it keeps its name: what a task leaves out is part of the task.

    Raises:
        ConfigError: no such protocol or metric, a metric does not fit the task, or none is left.
    """
    whole = protocol_named(name)
    if metrics is not None:
        for metric_id in metrics:
            metric(metric_id)
            if rule.metrics is not None and metric_id not in rule.metrics:
                raise ConfigError(
                    f"metric '{metric_id}' needs a ground truth, and the task '{rule.id}' has none"
                    f"{did_you_mean(metric_id, rule.metrics)}"
                )
        return whole.with_metrics(metrics)
    if rule.metrics is None:
        return whole
    fitting = tuple(name for name in whole.metrics if name in rule.metrics)
    if not fitting:
        raise ConfigError(
            f"protocol '{whole.id}' has no metric for the task '{rule.id}', which has no ground "
            f"truth; it allows {', '.join(rule.metrics)}"
        )
    return replace(whole, metrics=fitting)


def plan_evaluation(request: EvalRequest) -> tuple[RunPlan, Protocol]:
    """Return the plan of the first seed, and the protocol narrowed to what is to be measured.

    Raises:
        ConfigError: an option or a name makes no sense.
        DatasetError: the dataset is broken or has no such clips.
    """
    seeds = request.seeds
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        shown = ",".join(map(str, seeds)) or "none"
        raise ConfigError(
            f"--seeds wants one or more different numbers from 0 on, such as 42,43, got {shown}"
        )
    rule = task_rule(request.task, min_frames=request.min_frames)
    protocol = scoring_protocol(rule, request.protocol, request.metrics)
    return plan_run(request), protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """What the runs of all seeds would take."""

    folders: tuple[Path, ...]
    """Where they would lie, one per seed."""
    clips: int
    """That are asked for, of one seed."""
    frames: int
    """Of these."""
    clips_there: int
    """Records that lie in the folders already, of all seeds: these may be done."""
    disk_bytes: int
    """Lossless frames of all seeds; what `--keep preview` gives back once they are scored."""
    generate_s: float | None
    """Time to make the frames of all seeds, as an earlier run of the model on this machine took;
    None: there is none. Scoring comes on top."""
    based_on: Path | None
    """That earlier run."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "runs": [str(folder) for folder in self.folders],
            "clips": self.clips,
            "frames": self.frames,
            "clips_there": self.clips_there,
            "disk_bytes": self.disk_bytes,
            "generate_s": self.generate_s,
            "based_on": None if self.based_on is None else str(self.based_on),
        }


def estimate(request: EvalRequest) -> CostEstimate:
    """Say what it would take to make the runs of a request; earlier runs are looked for in `out`.

    Nothing is written. Errors are those of `evaluate`.
    """
    plan, _ = plan_evaluation(request)
    wanted, n_seeds = plan.selection.wanted, len(request.seeds)
    frames = sum(clip.n_frames for clip in wanted)
    folders = [replace(plan, seed=seed).folder(Path(request.out)) for seed in request.seeds]
    worker_plan = plan_workers(
        plan.choice, device=request.device, workers=request.workers, clips=len(wanted)
    )
    earlier = _earlier_run(folders[0].path.parents[2])
    generate_s = None
    if earlier is not None and earlier[1].timings.frames_per_s:
        rate = earlier[1].timings.frames_per_s * worker_plan.workers
        generate_s = frames * n_seeds / rate
    return CostEstimate(
        folders=tuple(folder.path for folder in folders),
        clips=len(wanted),
        frames=frames,
        clips_there=sum(folder.record(c.clip_id).is_file() for folder in folders for c in wanted),
        disk_bytes=round(disk_bytes(plan) * n_seeds),
        generate_s=generate_s,
        based_on=None if generate_s is None or earlier is None else earlier[0],
    )


def disk_bytes(plan: RunPlan) -> float:
    """Return about how much the lossless frames of a run take."""
    total = 0.0
    for clip in plan.selection.wanted:
        side = clip.driving.out_size_px
        if side:
            area_px = side * side
        else:
            info = probe(plan.dataset.clip_path(clip.driving))
            area_px = info.width_px * info.height_px
        total += clip.n_frames * FRAME_BYTES * area_px / _FRAME_PX
    return total


def _earlier_run(folder: Path) -> tuple[Path, RunInfo] | None:
    """Return the last run of a model that was made on such a machine as this one."""
    here = hardware_stamp()
    found: list[tuple[str, Path, RunInfo]] = []
    for path in sorted(folder.glob(f"*/*/*/{RUN_INFO_NAME}")):
        try:
            info = read_run_info(path.parent)
        except SubmissionError as error:
            logger.info("%s", error)
            continue
        if info.sessions and info.timings.frames_per_s:
            last = info.sessions[-1]
            if (last.hardware.processor, last.hardware.gpus) == (here.processor, here.gpus):
                found.append((last.started_at, path.parent, info))
    if not found:
        return None
    _, path, info = max(found, key=lambda run: run[:2])
    return path, info
