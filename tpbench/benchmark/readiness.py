"""`dry_run`: what a call of `eval` or `generate` would take, and all that would stop it.

Every check goes on after the others have found something, so that one call names everything.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from tpbench import weights
from tpbench.benchmark.model import ModelChoice, choose, lacking
from tpbench.benchmark.request import (
    CostEstimate,
    EvalRequest,
    RunPlan,
    check_seeds,
    checked_name,
    data_folder,
    estimate,
    plan_run,
    refuse_existing,
    scoring_protocol,
)
from tpbench.benchmark.run_info import RUN_INFO_NAME, read_run_info
from tpbench.benchmark.tasks import TaskRule, select_clips, task_rule
from tpbench.dataset import Dataset
from tpbench.detectors.base import models_of
from tpbench.devices import device_problem
from tpbench.errors import TPBenchError, number_of
from tpbench.files import size_text
from tpbench.metrics.registry import METRICS, Protocol
from tpbench.metrics.scoring.meters import meters_for
from tpbench.work.records import Shard

_T = TypeVar("_T")
_UNKNOWN_COST: Final[Mapping[str, Any]] = {
    "runs": [], "clips": None, "frames": None, "clips_there": None, "disk_bytes": None,
    "generate_s": None, "based_on": None,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingFile:
    """A model file that is not on this machine."""

    name: str
    size_bytes: int | None
    """None if it is not published."""
    needed: bool
    """Whether the model can't do without it; without other files, metrics stay blank."""

    @classmethod
    def of(cls, name: str, *, needed: bool) -> MissingFile:
        """Look the size of a file up."""
        return cls(name=name, size_bytes=weights.weight(name).size_bytes, needed=needed)


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a call would take, and what would stop it."""

    cost: CostEstimate | None
    """None if the call can't be planned; the problems say why."""
    blank: Mapping[str, tuple[str, ...]]
    """Metrics that would stay blank -> the model files that they lack."""
    weights_missing: tuple[MissingFile, ...]
    """What `tpbench weights pull` would have to get for the model and the metrics."""
    notes: tuple[str, ...]
    """What does not stop the call but is worth knowing before it, one line each."""
    problems: tuple[str, ...]
    """All that would stop the call, or make it end incomplete, one line each."""

    @property
    def blank_reasons(self) -> dict[str, str]:
        """The metrics of `blank` -> what to do, as a run would say it."""
        return {
            name: f"weights are missing, run: tpbench weights pull {' '.join(files)}"
            for name, files in self.blank.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            **(_UNKNOWN_COST if self.cost is None else self.cost.to_json()),
            "blank": {name: list(files) for name, files in self.blank.items()},
            "weights_missing": [asdict(file) for file in self.weights_missing],
            "notes": list(self.notes),
            "problems": list(self.problems),
        }


def dry_run(request: EvalRequest, *, scores: bool = True) -> DryRun:
    """Find out what a call would take and what would stop it. Writes nothing.

    Args:
        request: the call.
        scores: whether the clips are scored, as by `eval`.
    """
    found = _Findings()
    found.attempt(lambda: check_seeds(request.seeds))
    rule = found.attempt(lambda: task_rule(request.task, min_frames=request.min_frames))
    protocol = None
    if rule is not None:
        protocol = found.attempt(lambda: scoring_protocol(rule, request.protocol, request.metrics))
    choice = found.attempt(lambda: _choice(request))
    if request.name is not None:
        found.attempt(partial(checked_name, request.name))
    plan = found.attempt(lambda: plan_run(request))
    if plan is None:
        found.check_clips(request, rule)
    else:
        found.check_files(plan)
    if choice is not None:
        found.check_model(request, choice)
    if scores and protocol is not None:
        found.check_metrics(request, protocol)
    elif choice is None:
        found.check_device(request.device)
    cost = None
    if plan is not None and protocol is not None:
        cost = found.attempt(lambda: estimate(request, plan))
    if plan is not None and cost is not None:
        found.check_runs(request, plan, cost, scores=scores)
    return DryRun(
        cost=cost,
        blank=found.blank,
        weights_missing=tuple(found.missing.values()),
        notes=tuple(found.notes),
        problems=tuple(dict.fromkeys(found.problems)),
    )


def _choice(request: EvalRequest) -> ModelChoice:
    if request.generator is not None:
        return ModelChoice(name=request.model)
    return choose(request.model)


class _Findings:
    """What the checks have found so far."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.blank: dict[str, tuple[str, ...]] = {}
        self.missing: dict[str, MissingFile] = {}

    def attempt(self, make: Callable[[], _T]) -> _T | None:
        """Return what a function returns; None if it raises an error that the user can mend."""
        try:
            return make()
        except TPBenchError as error:
            self.problems.append(str(error))
            return None

    def check_clips(self, request: EvalRequest, rule: TaskRule | None) -> None:
        """Check that the dataset has the clips, if the run as a whole can't be planned."""
        if isinstance(request.shard, str):
            self.attempt(partial(Shard.parse, request.shard))
        dataset = self.attempt(lambda: Dataset.open(data_folder(request.data)))
        if dataset is not None and rule is not None:
            self.attempt(
                lambda: select_clips(
                    dataset, rule, split=request.split, limit=request.limit, ids=request.ids
                )
            )

    def check_files(self, plan: RunPlan) -> None:
        """Check that the files of the clips are there."""
        folder = plan.dataset.folder
        missing = [path for path in _files_of(plan) if not path.is_file()]
        if missing:
            self.problems.append(
                f"{folder}: {number_of(len(missing), 'file')} of the clips missing, such as "
                f"{missing[0].relative_to(folder)}; copy the whole dataset, or extract it again"
            )

    def check_model(self, request: EvalRequest, choice: ModelChoice) -> None:
        """Check that the model can be built on the device."""
        if request.generator is None:
            self.problems += lacking(
                request.model,
                options=request.options,
                weights_dir=None if request.weights is None else Path(request.weights),
            )
            self._list_weights(request, choice)
        self.check_device(request.device, choice)
        if choice.kind == "model" and request.device == "auto":
            why = device_problem("cuda", library=choice.device_library)
            if why is not None:
                reason = why.removeprefix("device 'cuda': ").partition(";")[0]
                self.notes.append(f"{choice.name} would run on the processor: {reason}")

    def _list_weights(self, request: EvalRequest, choice: ModelChoice) -> None:
        """List which files of `tpbench weights` the model lacks."""
        if choice.row is None or not choice.row.weights or request.weights is not None:
            return
        for file in weights.weights_named([choice.row.weights]):
            if not weights.state(file.name).usable:
                self.missing[file.name] = MissingFile.of(file.name, needed=True)

    def check_device(self, device: str, choice: ModelChoice | None = None) -> None:
        """Check that the device can be used by the model, or by the metrics."""
        library = "torch" if choice is None else choice.device_library
        why = device_problem(device, library=library)
        if why is not None:
            self.problems.append(why)

    def check_metrics(self, request: EvalRequest, protocol: Protocol) -> None:
        """Check that the metrics can be measured: without files, they stay blank."""
        offline = request.offline or weights.is_offline()
        for name in protocol.metrics:
            files = tuple(_missing_files(name, protocol, offline=offline))
            if files:
                self.blank[name] = files
                for file in files:
                    self.missing.setdefault(file, MissingFile.of(file, needed=False))
        measured = [name for name in protocol.metrics if name not in self.blank]
        if any(row.weights for row in meters_for(METRICS[name] for name in measured)):
            self.check_device(request.device)
        if self.blank and (request.strict or not measured):
            lacking_files = dict.fromkeys(file for files in self.blank.values() for file in files)
            self.problems.append(
                f"{number_of(len(self.blank), 'metric')} can't be measured, such as "
                f"{next(iter(self.blank))}; run: {weights.pull_command(list(lacking_files))}"
            )

    def check_runs(
        self, request: EvalRequest, plan: RunPlan, cost: CostEstimate, *, scores: bool
    ) -> None:
        """Check the folders of the runs, and the space on their disk."""
        for seed in request.seeds:
            folder = replace(plan, seed=seed).folder(Path(request.out))
            self.attempt(partial(refuse_existing, folder, request.overwrite))
            if request.overwrite == "missing" and (folder.path / RUN_INFO_NAME).exists():
                self.attempt(partial(read_run_info, folder.path))
        place = Path(request.out).absolute()
        while not place.exists():
            place = place.parent
        if not place.is_dir():
            self.problems.append(f"{place}: is no folder; name another with --out")
            return
        if not os.access(place, os.W_OK):
            self.problems.append(f"{place}: can't be written; name another folder with --out")
        free_bytes = shutil.disk_usage(place).free
        needed_bytes = _needed_bytes(request, cost, scores=scores)
        if needed_bytes > free_bytes:
            self.problems.append(
                f"{place}: too little space: the frames take about {size_text(needed_bytes)}, "
                f"{size_text(free_bytes)} are free; name a folder on another disk with --out"
            )


def _needed_bytes(request: EvalRequest, cost: CostEstimate, *, scores: bool) -> int:
    """Return the size of the lossless frames that are still to be written."""
    if request.keep == "preview" and not scores:
        return 0
    if request.overwrite == "always":
        return cost.disk_bytes
    clips = cost.clips * len(cost.folders)
    return round(cost.disk_bytes * (clips - cost.clips_there) / clips) if clips else 0


def _files_of(plan: RunPlan) -> Iterator[Path]:
    """Yield the files that the wanted clips are made from."""
    dataset = plan.dataset
    clips = (clip for task in plan.selection.wanted for clip in (task.driving, task.reference))
    for clip in {clip.clip_id: clip for clip in clips if clip is not None}.values():
        yield dataset.clip_path(clip)
        yield dataset.keypoints_path(clip)


def _missing_files(name: str, protocol: Protocol, *, offline: bool) -> Iterator[str]:
    """Yield the model files that a metric lacks and that are not fetched on first use."""
    names: dict[str, None] = {}
    for meter in meters_for([METRICS[name]]):
        names |= dict.fromkeys(meter.weights)
        if meter.needs_pose:
            names |= dict.fromkeys(models_of(protocol.skeleton))
    for file in names:
        fetched = weights.weight(file).wheel is not None and not offline
        if not fetched and not weights.state(file).usable:
            yield file
