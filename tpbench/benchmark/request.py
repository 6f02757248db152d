"""What a user asks of `eval` or `generate`: one request, and the plan of the run that it means."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from tpbench.baselines.base import Generator, OptionValue
from tpbench.benchmark.model import ModelChoice, choose
from tpbench.benchmark.run_folder import Keep, RunFolder, run_path
from tpbench.benchmark.tasks import (
    Selection,
    SplitChoice,
    TaskClip,
    TaskRule,
    select_clips,
    task_rule,
)
from tpbench.dataset import Dataset
from tpbench.errors import ConfigError
from tpbench.metrics.registry import DEFAULT_PROTOCOL

DATA_VARIABLE: Final = "TPBENCH_DATA"
"""Environment variable with the folder of the dataset, where none is named."""
Overwrite = Literal["never", "missing", "always"]
"""never: the run must be new. missing: do what is not done yet. always: do all that is asked for
again; a run made with another configuration is taken away first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One part of a run."""

    number: int
    """1 to `count`."""
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ConfigError(
                f"--shard {self.number}/{self.count}: shards count from 1: 1/4, 2/4, 3/4, 4/4"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `2/4`.

        Raises:
            ConfigError: it is no such thing.
        """
        match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
        if match is None:
            raise ConfigError(f"--shard wants a part of a number, such as 2/4, got '{text}'")
        return cls(number=int(match[1]), count=int(match[2]))

    @property
    def suffix(self) -> str:
        """Of the run's folder."""
        return f".shard{self.number}of{self.count}"

    def take(self, clips: Sequence[TaskClip]) -> tuple[TaskClip, ...]:
        """Return this part of some clips.

        Raises:
            ConfigError: there are fewer clips than shards, and none is left for this one.
        """
        part = tuple(clips[self.number - 1 :: self.count])
        if not part:
            raise ConfigError(
                f"--shard {self.number}/{self.count}: there are only {len(clips)} clips"
            )
        return part


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
    """Processes; None: what suits the model (see `model.crew_for`), and one per core to score."""
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
