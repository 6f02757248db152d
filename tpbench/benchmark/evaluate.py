"""`evaluate`: generate and score, seed by seed, in the folders of the runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from tpbench.baselines.base import Generator, OptionValue
from tpbench.benchmark.evaluation import (
    Evaluation,
    pair_run,
    policies_of,
    scoring_protocol,
)
from tpbench.benchmark.generate import generate_planned
from tpbench.benchmark.model import crew_for
from tpbench.benchmark.request import EvalRequest, Overwrite, RunPlan, Shard, plan_run
from tpbench.benchmark.run_folder import Keep, Run, RunFolder
from tpbench.benchmark.run_info import RUN_INFO_NAME, RunInfo, hardware_stamp, read_run_info
from tpbench.benchmark.tasks import SplitChoice, task_rule
from tpbench.errors import ConfigError, SubmissionError
from tpbench.metrics.registry import DEFAULT_PROTOCOL, Protocol
from tpbench.metrics.scoring.records import (
    Readiness,
    RecordFolder,
    look_around,
    real_cache_dir,
    require_all,
)
from tpbench.metrics.scoring.report import ScoreReport, load_report
from tpbench.metrics.scoring.run import RECORDS_NAME, ScoringSetting, score_pairs
from tpbench.video import probe
from tpbench.work import Progress, ProgressListener, explain_halts

logger = logging.getLogger(__name__)

FRAME_BYTES: Final = 174_000
"""Of a lossless frame of 512x512 px of a talk, as measured; others by their area."""
_FRAME_PX: Final = 512 * 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
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


def estimate(request: EvalRequest) -> Estimate:
    """Say what it would take to make the runs of a request; earlier runs are looked for in `out`.

    Nothing is written. Errors are those of `evaluate`.
    """
    plan, _ = _planned(request)
    wanted, n_seeds = plan.selection.wanted, len(request.seeds)
    frames = sum(clip.n_frames for clip in wanted)
    folders = [replace(plan, seed=seed).folder(Path(request.out)) for seed in request.seeds]
    crew = crew_for(plan.choice, device=request.device, workers=request.workers, clips=len(wanted))
    earlier = _earlier_run(folders[0].path.parents[2])
    generate_s = None
    if earlier is not None and earlier[1].timings.frames_per_s:
        rate = earlier[1].timings.frames_per_s * crew.workers
        generate_s = frames * n_seeds / rate
    return Estimate(
        folders=tuple(folder.path for folder in folders),
        clips=len(wanted),
        frames=frames,
        clips_there=sum(folder.record(c.clip_id).is_file() for folder in folders for c in wanted),
        disk_bytes=round(disk_bytes(plan) * n_seeds),
        generate_s=generate_s,
        based_on=None if generate_s is None or earlier is None else earlier[0],
    )


def _planned(request: EvalRequest) -> tuple[RunPlan, Protocol]:
    """Return the plan of the first seed, and the protocol narrowed to what is to be measured."""
    seeds = request.seeds
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        shown = ",".join(map(str, seeds)) or "none"
        raise ConfigError(
            f"--seeds wants one or more different numbers from 0 on, such as 42,43, got {shown}"
        )
    rule = task_rule(request.task, min_frames=request.min_frames)
    protocol = scoring_protocol(rule, request.protocol, request.metrics)
    return plan_run(request), protocol


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


EvaluationListener = Callable[[int, Progress], None]
"""Told of every step of a seed."""


def evaluate(  # noqa: PLR0913 - one argument for each thing a user may choose
    model: str,
    data: Path | str | None = None,
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
    keep: Keep = "lossless",
    out: Path | str = "runs",
    overwrite: Overwrite = "missing",
    options: Mapping[str, OptionValue] | None = None,
    generator: Generator | None = None,
    workers: int | None = None,
    offline: bool = False,
    strict: bool = False,
    command: Sequence[str] = (),
    on_progress: EvaluationListener | None = None,
) -> Evaluation:
    """Let a model make all clips of a dataset and score them; see `evaluate_request`.

    The arguments are the fields of `request.EvalRequest`, which explains them.
    """
    request = EvalRequest(
        model=model,
        data=data,
        split=split,
        task=task,
        protocol=protocol,
        metrics=metrics,
        seeds=tuple(seeds),
        weights=weights,
        limit=limit,
        ids=ids,
        min_frames=min_frames,
        device=device,
        shard=shard,
        keep=keep,
        out=out,
        overwrite=overwrite,
        options=options or {},
        generator=generator,
        workers=workers,
        offline=offline,
        strict=strict,
        command=command,
    )
    return evaluate_request(request, on_progress)


def evaluate_request(
    request: EvalRequest, on_progress: EvaluationListener | None = None
) -> Evaluation:
    """Let a model make all clips of a dataset and score them.

    Stopped at any moment and called again, it goes on where it stopped, and the scores are the
    same, byte for byte.

    Args:
        request: what is made of what, and how it is scored.
        on_progress: told about every step.

    Raises:
        ConfigError: an option or a name makes no sense, or a folder holds another run.
        DatasetError: the dataset is broken or has no such clips, or another process is at the run.
        MissingWeightsError: the model's weights are missing; nothing was made.
        TPBenchError: the disk is full; what is finished is kept.
    """
    plan, protocol = _planned(request)
    scoring = ScoringSetting(
        protocol=protocol,
        policies=policies_of(plan.rule, protocol),
        device=request.device,
        workers=request.workers,
        offline=request.offline,
        strict=request.strict,
    )
    readiness = _ready(scoring)
    done = []
    for seed in request.seeds:
        listener = None if on_progress is None else partial(on_progress, seed)
        of_seed = replace(plan, seed=seed)
        done.append(_OneSeed(request, of_seed, scoring, readiness, listener).do())
    return Evaluation(
        runs=tuple(run for run, _ in done), reports=tuple(report for _, report in done)
    )


@dataclass(frozen=True, slots=True)
class _OneSeed:
    """How one run of a request is made and scored."""

    request: EvalRequest
    plan: RunPlan
    scoring: ScoringSetting
    readiness: Readiness
    on_progress: ProgressListener | None

    def do(self) -> tuple[Run, ScoreReport]:
        """Make and score the run."""
        folder = self.plan.folder(Path(self.request.out))
        drops = self.request.keep == "preview"
        if drops and self.request.overwrite == "missing":
            # Of clips that have all their scores, the lossless frames are not missed.
            if self._settled(folder) is not None:
                self._generate(keep="preview")
            if (report := self._settled(folder)) is not None:
                run = Run.open(folder.path)
                _drop_lossless(run)
                return run, report
        run = self._generate(keep="lossless")
        with folder.locked(), explain_halts(folder.path):
            report = self._score(run)
            if drops and report.complete:
                _drop_lossless(run)
        return run, report

    def _generate(self, *, keep: Keep) -> Run:
        return generate_planned(self.plan, replace(self.request, keep=keep), self.on_progress)

    def _score(self, run: Run) -> ScoreReport:
        selection, folder = self.plan.selection, run.folder
        if self.request.overwrite == "always":
            measured = RecordFolder(folder.path / RECORDS_NAME, real_cache_dir())
            measured.discard(clip.clip_id for clip in selection.clips)
        else:
            folder.take_over_measurements()
        wanted = {clip.clip_id for clip in selection.wanted}
        return score_pairs(
            pair_run(selection.clips, run.records(), self.plan.dataset, folder, wanted=wanted),
            out=folder.path,
            setting=self.scoring,
            real=self.plan.real,
            on_progress=self.on_progress,
        )

    def _settled(self, folder: RunFolder) -> ScoreReport | None:
        """Return the scores of a run if they are of all its clips, and nothing more can be had."""
        try:
            records = Run.open(folder.path).records()
            report, _ = load_report(folder.path)
        except SubmissionError:
            return None
        wanted = {clip.clip_id for clip in self.plan.selection.wanted}
        scored = {name: clip.generated_sha256 for name, clip in report.clips.items()}
        made = {name: record.generated_sha256 for name, record in records.items()}
        blank = {name for name, score in report.metrics.items() if score.status == "not_measured"}
        settled = (
            report.complete
            and scored == made
            and wanted <= scored.keys()
            and report.protocol.get("digest") == self.scoring.protocol.digest
            and dict(report.policies) == self.scoring.policies.to_json()
            and not blank & set(self.readiness.metrics)
        )
        return report if settled else None


def _drop_lossless(run: Run) -> None:
    for name in run.records():
        run.folder.generated(name).unlink(missing_ok=True)


def _ready(scoring: ScoringSetting) -> Readiness:
    """Look before hours of work what can be measured afterwards.

    Raises:
        ConfigError: nothing, or not all although it must.
    """
    readiness = look_around(scoring.protocol, offline=scoring.offline)
    if scoring.strict or not readiness.metrics:
        require_all(readiness)
    reasons: dict[str, list[str]] = {}
    for name, reason in readiness.not_measured.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        logger.warning("will stay blank: %s: %s", ", ".join(names), reason)
    return readiness
