"""Requests to `eval` or `generate`: their options, the plan of the run, and a cost estimate."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from tpbench.baselines import registry
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
from tpbench.dataset.remote import local_dataset
from tpbench.errors import ConfigError, SubmissionError, did_you_mean
from tpbench.files import lies_in, missing_folder
from tpbench.foreign import printable
from tpbench.metrics.registry import DEFAULT_PROTOCOL, Protocol
from tpbench.metrics.registry import protocol as protocol_named
from tpbench.video import probe
from tpbench.work import ITEM_TIMEOUT_S, LOCAL, Engine, item_limit_s
from tpbench.work.records import Shard

logger = logging.getLogger(__name__)

FRAME_BYTES: Final = 174_000
"""Measured size of a lossless 512x512 px frame of a talk; other sizes scale with the area."""
_FRAME_PX: Final = 512 * 512
_NAME_MAX: Final = 80
_SEED_MAX: Final = 2**32 - 1
"""The greatest that numpy takes."""
DATA_VARIABLE: Final = "TPBENCH_DATA"
"""Environment variable with the default folder of the dataset."""
Overwrite = Literal["never", "missing", "always"]
"""never: the run must be new. missing: generate unfinished clips only. always: generate all
requested clips again; a run with another configuration is deleted first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalRequest:
    """All options of `eval` and `generate`."""

    model: str
    """`id` or `id:variant` (`tpbench models list`), `package.module:Class`, the path of a
    `spec.yaml`, or, with `generator`, any name."""
    name: str | None = None
    """Name of the model in tables; runs of different names have folders of their own. None: the
    model's own name."""
    data: Path | str | None = None
    """Folder of the dataset; None: the value of $TPBENCH_DATA."""
    split: SplitChoice | None = None
    """None: test, or the whole of a dataset that is not split."""
    task: str = "self"
    """`self` or `cross`."""
    protocol: str = DEFAULT_PROTOCOL
    """How the run is scored (`tpbench metrics list`); part of the path of its folder."""
    metrics: Sequence[str] | None = None
    """Only these metrics are in `scores.json`. Earlier measurements are kept, and a later call
    without this option reuses them."""
    seeds: Sequence[int] = (42,)
    """One run per seed."""
    weights: Path | str | None = None
    """Folder of checkpoints; None: that of `tpbench weights`."""
    limit: int | None = None
    """Only the first `limit` clips, by id; the run is partial until the others are generated."""
    ids: Sequence[str] | None = None
    """Only these clips."""
    min_frames: int | None = None
    """Accept shorter clips, for trial runs; this is another task, see `task_rule`."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`."""
    shard: Shard | str | None = None
    """`2/4`: only every fourth clip, starting with the second, in a separate folder. The same call
    without a shard takes over the clips in such folders."""
    keep: Keep = "lossless"
    """`preview` deletes the lossless frames once all clips are scored. Scores can't be recomputed
    then, and measuring more metrics means generating all clips again."""
    out: Path | str = "runs"
    """Folder of all runs."""
    overwrite: Overwrite = "missing"
    """How to treat an existing run."""
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    """Options of the model."""
    generator: Generator | None = None
    """Your own generator object, called in this process; needs a method `generate` (see
    `tpbench.baselines.base.Generator`)."""
    workers: int | None = None
    """Processes; None: as suits the model (`model.plan_workers`), and one per core for scoring."""
    offline: bool = False
    """Never download the model files of metrics."""
    strict: bool = False
    """Raise an error if a metric can't be measured, instead of leaving it blank."""
    engine: Engine = LOCAL
    """Where the worker processes run, to generate and to score."""
    item_timeout_s: float = ITEM_TIMEOUT_S
    """A clip without progress for so long is stopped and tried again, which costs an attempt; 0 for
    no limit. Nothing can be stopped in this process (`generator`, or one worker that scores)."""
    retry_failed: bool = False
    """Also try clips again that are quarantined; failed ones always are."""
    command: Sequence[str] = ()
    """The command line as typed, recorded in `run.json`."""


def data_folder(data: Path | str | None) -> Path:
    """Return the folder of the dataset: as given, or from the environment.

    One in object storage is fetched with all its clips.

    Raises:
        ConfigError: neither is set.
    """
    found = data if data is not None else os.environ.get(DATA_VARIABLE)
    if not found:
        raise ConfigError(f"no dataset: give its folder by --data, or set {DATA_VARIABLE}")
    return local_dataset(found, with_clips=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """Model, dataset, clips, task and protocol of a run, looked up and opened."""

    choice: ModelChoice
    dataset: Dataset
    selection: Selection
    rule: TaskRule
    protocol: str
    seed: int
    shard: Shard | None = None
    """Generate only this part, in a separate folder."""
    given_name: str = ""
    """Name of the model that the user gave; empty: none."""

    @property
    def task(self) -> str:
        """The task with its version, as used in the inputs key of a clip."""
        return f"{self.rule.name} v{self.rule.version}"

    @property
    def real(self) -> dict[str, Any]:
        """Description of the real clips in `scores.json`."""
        return {
            "kind": "dataset",
            "name": self.dataset.info.name,
            "digest": self.dataset.digest,
            "split": self.selection.split,
            "clips": self.selection.digest,
            "task": self.task,
        }

    def folder(self, runs: Path) -> RunFolder:
        """Return the run's folder inside a folder of runs."""
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
            given_name=self.given_name,
        )
        return RunFolder(path=path.absolute())


def plan_run(request: EvalRequest) -> RunPlan:
    """Plan the run of the first seed; nothing is generated.

    Raises:
        ConfigError: an option or a name is invalid.
        DatasetError: the dataset is broken or lacks the clips.
    """
    item_limit_s(request.item_timeout_s)  # refused before anything is done
    data, shard = data_folder(request.data), request.shard
    if isinstance(shard, str):
        shard = Shard.parse(shard)
    dataset = Dataset.open(data)
    if lies_in(Path(request.out), data):
        raise ConfigError(
            f"{request.out}: runs can't lie in the dataset {data}; choose another --out"
        )
    if request.weights is not None and not Path(request.weights).is_dir():
        raise ConfigError(f"--weights {request.weights}: {missing_folder(Path(request.weights))}")
    rule = task_rule(request.task, min_frames=request.min_frames)
    of_object = request.generator is not None  # its name is the user's choice
    if of_object and request.model in registry.MODELS:
        raise ConfigError(
            f"'{request.model}' is a model of tpbench; give your generator another name"
        )
    choice = ModelChoice(name=request.model) if of_object else choose(request.model)
    given_name = "" if request.name is None else checked_name(request.name)
    selection = select_clips(
        dataset, rule, split=request.split, limit=request.limit, ids=request.ids
    )
    if shard is not None:
        wanted = shard.take(selection.wanted, frames=lambda clip: clip.n_frames or 0)
        selection = replace(selection, wanted=wanted)
    return RunPlan(
        choice=choice,
        dataset=dataset,
        selection=selection,
        rule=rule,
        protocol=request.protocol,
        seed=request.seeds[0],
        shard=shard,
        given_name=given_name,
    )


def refuse_existing(folder: RunFolder, overwrite: Overwrite) -> None:
    """Raise a `ConfigError` if there is a run that must not be continued."""
    if overwrite == "never" and folder.holds_anything():
        raise ConfigError(
            f"{folder.path}: there is a run already; --overwrite missing continues it, "
            "--overwrite always generates it again"
        )


def checked_name(name: str) -> str:
    """Return a name for a table as one line, blanks at both ends removed.

    Raises:
        ConfigError: it is empty, too long, or holds control characters.
    """
    plain = name.strip()
    if not plain or len(plain) > _NAME_MAX or not plain.isprintable():
        raise ConfigError(
            f"a name wants 1 to {_NAME_MAX} printable characters, got {printable(name)!r}"
        )
    return plain


def scoring_protocol(rule: TaskRule, name: str, metrics: Sequence[str] | None) -> Protocol:
    """Return a protocol, narrowed to the requested metrics and to those that fit the task.

    Without `metrics` it keeps its name: the metrics that a task leaves out are part of the task.

    Raises:
        ConfigError: no such protocol or metric, a metric does not fit the task, or none is left.
    """
    whole = protocol_named(name)
    if metrics is not None:
        chosen = whole.with_metrics(metrics)
        for metric_id in metrics:
            if rule.metrics is not None and metric_id not in rule.metrics:
                raise ConfigError(
                    f"metric '{metric_id}' needs a ground truth, and the task '{rule.id}' has none"
                    f"{did_you_mean(metric_id, rule.metrics)}"
                )
        return chosen
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
    """Return the plan of the first seed, and the protocol narrowed to the metrics to measure.

    Raises:
        ConfigError: an option or a name is invalid.
        DatasetError: the dataset is broken or lacks the clips.
    """
    check_seeds(request.seeds)
    rule = task_rule(request.task, min_frames=request.min_frames)
    protocol = scoring_protocol(rule, request.protocol, request.metrics)
    return plan_run(request), protocol


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise a `ConfigError` unless these are one or more different numbers of 32 bits."""
    fitting = {seed for seed in seeds if 0 <= seed <= _SEED_MAX}
    if not seeds or len(fitting) < len(seeds):
        shown = ",".join(map(str, seeds)) or "none"
        raise ConfigError(
            f"--seeds wants one or more different numbers from 0 to {_SEED_MAX}, such as 42,43, "
            f"got {shown}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """Estimated cost of the runs of all seeds."""

    folders: tuple[Path, ...]
    """Folders of the runs, one per seed."""
    clips: int
    """Requested clips, for one seed."""
    frames: int
    """Frames of these clips."""
    clips_there: int
    """Existing records in the folders, over all seeds: these clips may be finished."""
    disk_bytes: int
    """Size of the lossless frames of all seeds, which `--keep preview` frees after scoring."""
    generate_s: float | None
    """Time to generate the frames of all seeds, from an earlier run of the model on this machine;
    None: there is none. Scoring is not included."""
    based_on: Path | None
    """The earlier run behind `generate_s`."""

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


def estimate(request: EvalRequest, plan: RunPlan | None = None) -> CostEstimate:
    """Estimate the cost of the runs of a request, from earlier runs in its `out`.

    Writes nothing. Raises the errors of `evaluate`.

    Args:
        request: what would be evaluated.
        plan: of the request, if it was made already.
    """
    if plan is None:
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
    """Return the approximate size of a run's lossless frames."""
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
    """Return a model's last run on a machine with the same processor and GPUs as this one."""
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
