"""From what a user asks for to a plan: everything is looked up, nothing is made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tpbench.benchmark.generate import DEFAULT_PROTOCOL, RunSpec, plan_run
from tpbench.benchmark.scoring import scoring_protocol
from tpbench.benchmark.shards import Shard
from tpbench.benchmark.tasks import task_rule
from tpbench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tpbench.baselines.model_row import OptionValue
    from tpbench.benchmark.bookkeeping import RunPlan
    from tpbench.benchmark.selection import SplitChoice
    from tpbench.metrics.protocols import Protocol

DATA_VARIABLE: Final = "TPBENCH_DATA"
"""Environment variable with the folder of the dataset, where none is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What an evaluation is made of, with its first seed."""

    spec: RunSpec
    plan: RunPlan
    protocol: Protocol
    """Narrowed to what is to be measured."""

    seeds: tuple[int, ...]


def prepare(  # noqa: PLR0913 - one argument for each thing a user may choose
    model: str,
    data: Path | str | None,
    *,
    split: SplitChoice | None = None,
    task: str = "self",
    protocol: str = DEFAULT_PROTOCOL,
    metrics: Sequence[str] | None = None,
    seeds: Iterable[int] = (42,),
    weights: Path | str | None = None,
    limit: int | None = None,
    ids: Sequence[str] | None = None,
    min_frames: int | None = None,
    device: str = "auto",
    shard: Shard | str | None = None,
    options: Mapping[str, OptionValue] | None = None,
    of_object: bool = False,
) -> Prepared:
    """Look up what an evaluation is made of; arguments as those of `evaluate`.

    Raises:
        ConfigError: an option or a name makes no sense.
        DatasetError: the dataset is broken or has no such clips.
    """
    chosen_seeds = _checked_seeds(seeds)
    chosen = scoring_protocol(task_rule(task, min_frames=min_frames), protocol, metrics)
    spec = RunSpec(
        model=model,
        data=data_folder(data),
        split=split,
        task=task,
        protocol=protocol,
        seed=chosen_seeds[0],
        options=dict(options or {}),
        weights_dir=None if weights is None else Path(weights),
        device=device,
        limit=limit,
        ids=None if ids is None else tuple(ids),
        min_frames=min_frames,
        shard=Shard.parse(shard) if isinstance(shard, str) else shard,
    )
    plan = plan_run(spec, of_object=of_object)
    return Prepared(spec=spec, plan=plan, protocol=chosen, seeds=chosen_seeds)


def data_folder(data: Path | str | None) -> Path:
    """Return the folder of the dataset: as given, or from the environment.

    Raises:
        ConfigError: neither names one.
    """
    found = data if data is not None else os.environ.get(DATA_VARIABLE)
    if not found:
        msg = f"no dataset: name its folder by --data, or set {DATA_VARIABLE}"
        raise ConfigError(msg)
    return Path(found)


def _checked_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    found = tuple(seeds)
    if not found or min(found) < 0 or len(set(found)) < len(found):
        shown = ",".join(map(str, found)) or "none"
        msg = f"--seeds wants one or more different numbers from 0 on, such as 42,43, got {shown}"
        raise ConfigError(msg)
    return found
