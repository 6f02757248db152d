"""What a user asks of `eval` or `generate`: one request, and the plan of the run that it means."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from tpbench.baselines.base import Generator, OptionValue
from tpbench.benchmark.bookkeeping import RunPlan
from tpbench.benchmark.model import ModelChoice, choose
from tpbench.benchmark.run_folder import Keep
from tpbench.benchmark.shards import Shard
from tpbench.benchmark.tasks import SplitChoice, select_clips, task_rule
from tpbench.dataset import Dataset
from tpbench.errors import ConfigError
from tpbench.metrics.registry import DEFAULT_PROTOCOL

DATA_VARIABLE: Final = "TPBENCH_DATA"
"""Environment variable with the folder of the dataset, where none is named."""
Overwrite = Literal["never", "missing", "always"]
"""never: the run must be new. missing: do what is not done yet. always: do all that is asked for
again; a run made with another configuration is taken away first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalRequest:
    """All that a user may choose; each field is explained where `evaluate.evaluate` takes it."""

    model: str
    data: Path | str | None = None
    split: SplitChoice | None = None
    task: str = "self"
    protocol: str = DEFAULT_PROTOCOL
    """How the run is scored; part of its place."""
    metrics: Sequence[str] | None = None
    seeds: Sequence[int] = (42,)
    weights: Path | str | None = None
    limit: int | None = None
    ids: Sequence[str] | None = None
    min_frames: int | None = None
    device: str = "auto"
    shard: Shard | str | None = None
    keep: Keep = "lossless"
    out: Path | str = "runs"
    overwrite: Overwrite = "missing"
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    generator: Generator | None = None
    workers: int | None = None
    offline: bool = False
    strict: bool = False
    command: Sequence[str] = ()


def data_folder(data: Path | str | None) -> Path:
    """Return the folder of the dataset: as given, or from the environment.

    Raises:
        ConfigError: neither names one.
    """
    found = data if data is not None else os.environ.get(DATA_VARIABLE)
    if not found:
        raise ConfigError(f"no dataset: name its folder by --data, or set {DATA_VARIABLE}")
    return Path(found)


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
