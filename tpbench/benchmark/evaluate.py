"""`evaluate`: generate and score, seed by seed, in the folders of the runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tpbench.benchmark.driver import GenerationProgress
from tpbench.benchmark.evaluation import Evaluation
from tpbench.benchmark.generate import DEFAULT_PROTOCOL, generate_planned
from tpbench.benchmark.leaderboard.scores import load_report
from tpbench.benchmark.prepare import prepare
from tpbench.benchmark.run_folder import Run
from tpbench.benchmark.scoring import (
    pair_run,
    policies_of,
    same_conditions,
    score_run,
)
from tpbench.benchmark.shards import take_over_measurements
from tpbench.errors import SubmissionError
from tpbench.execution import explain_halts
from tpbench.metrics.scoring.driver import ScoringProgress
from tpbench.metrics.scoring.readiness import look_around, require_all
from tpbench.metrics.scoring.real_cache import real_cache_dir
from tpbench.metrics.scoring.records import RecordFolder
from tpbench.metrics.scoring.run import RECORDS_NAME, ScoringSetting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tpbench.baselines.base import Generator
    from tpbench.baselines.model_row import OptionValue
    from tpbench.benchmark.bookkeeping import RunPlan
    from tpbench.benchmark.clip_files import Keep
    from tpbench.benchmark.generate import Overwrite, RunSpec
    from tpbench.benchmark.prepare import Prepared
    from tpbench.benchmark.run_folder import RunFolder
    from tpbench.benchmark.selection import SplitChoice
    from tpbench.benchmark.shards import Shard
    from tpbench.metrics.scoring.readiness import Readiness
    from tpbench.metrics.scoring.report import ScoreReport

_log = logging.getLogger(__name__)

EvaluationListener = Callable[[int, GenerationProgress | ScoringProgress], None]
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
    """Let a model make all clips of a dataset and score them.

    Stopped at any moment and called again, it goes on where it stopped, and the scores are the
    same, byte for byte.

    Args:
        model: `id` or `id:variant` (`tpbench models list`), `package.module:Class`, or, with
            `generator`, a name to your liking.
        data: folder of the dataset; None: what $TPBENCH_DATA names.
        split: None: test, or the whole of a dataset that is not split.
        task: "self" or "cross".
        protocol: how it is scored; `tpbench metrics list` shows them.
        metrics: only these; `scores.json` holds these alone then. What was measured before stays,
            and the next call without a choice has it at once.
        seeds: a run each.
        weights: folder of checkpoints, instead of that of `tpbench weights`.
        limit: only the first so many clips, by id: a partial run.
        ids: only these clips.
        min_frames: take shorter clips too: another task, for trying things out.
        device: "auto", "cpu", "cuda", "cuda:1".
        shard: "2/4": only every fourth clip, from the second on, in a folder of its own. The same
            call without it takes such folders over.
        keep: "preview" takes the lossless frames away once all clips are scored: scores can't be
            computed again then, and to measure more, all clips are made again.
        out: folder of all runs.
        overwrite: what to do with what is there; see `generate.Overwrite`.
        options: of the model.
        generator: an object of your own that makes the frames, in this process.
        workers: processes; None: what suits the model, and one per core to score.
        offline: never fetch the model files of metrics.
        strict: a metric that can't be measured is an error, and not a blank.
        command: what the user typed, for the record.
        on_progress: told about every step.

    Raises:
        ConfigError: an option or a name makes no sense, or a folder holds another run.
        DatasetError: the dataset is broken or has no such clips, or another process is at the run.
        MissingWeightsError: the model's weights are missing; nothing was made.
        TPBenchError: the disk is full; what is finished is kept.
    """
    prepared = prepare(
        model,
        data,
        split=split,
        task=task,
        protocol=protocol,
        metrics=metrics,
        seeds=seeds,
        weights=weights,
        limit=limit,
        ids=ids,
        min_frames=min_frames,
        device=device,
        shard=shard,
        options=options,
        of_object=generator is not None,
    )
    return evaluate_prepared(
        prepared,
        keep=keep,
        out=out,
        overwrite=overwrite,
        generator=generator,
        workers=workers,
        offline=offline,
        strict=strict,
        command=command,
        on_progress=on_progress,
    )


def evaluate_prepared(  # noqa: PLR0913 - one argument for each thing a user may choose
    prepared: Prepared,
    *,
    keep: Keep = "lossless",
    out: Path | str = "runs",
    overwrite: Overwrite = "missing",
    generator: Generator | None = None,
    workers: int | None = None,
    offline: bool = False,
    strict: bool = False,
    command: Sequence[str] = (),
    on_progress: EvaluationListener | None = None,
) -> Evaluation:
    """Generate and score what `prepare` looked up; arguments and errors as those of `evaluate`."""
    scoring = ScoringSetting(
        protocol=prepared.protocol,
        policies=policies_of(prepared.plan.rule, prepared.protocol),
        device=prepared.spec.device,
        workers=workers,
        offline=offline,
        strict=strict,
    )
    work = _Work(
        out=Path(out),
        scoring=scoring,
        readiness=_ready(scoring),
        keep=keep,
        overwrite=overwrite,
        generator=generator,
        workers=workers,
        command=tuple(command),
        on_progress=on_progress,
    )
    done = [
        work.do(replace(prepared.plan, seed=seed), replace(prepared.spec, seed=seed))
        for seed in prepared.seeds
    ]
    return Evaluation(
        runs=tuple(run for run, _ in done), reports=tuple(report for _, report in done)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What all seeds have in common."""

    out: Path
    scoring: ScoringSetting
    readiness: Readiness
    keep: Keep
    overwrite: Overwrite
    generator: Generator | None
    workers: int | None
    command: tuple[str, ...]
    on_progress: EvaluationListener | None

    def do(self, plan: RunPlan, spec: RunSpec) -> tuple[Run, ScoreReport]:
        """Make and score one run."""
        folder = plan.folder(self.out)
        if self.keep == "preview" and self.overwrite == "missing":
            # Of clips that have all their scores, the lossless frames are not missed.
            if self._settled(plan, folder) is not None:
                self._generate(plan, spec, keep="preview")
            if (report := self._settled(plan, folder)) is not None:
                run = Run.open(folder.path)
                _drop_lossless(run)
                return run, report
        run = self._generate(plan, spec, keep="lossless")
        with folder.locked(), explain_halts(folder.path):
            report = self._score(plan, run)
            if self.keep == "preview" and report.complete:
                _drop_lossless(run)
        return run, report

    def _generate(self, plan: RunPlan, spec: RunSpec, *, keep: Keep) -> Run:
        return generate_planned(
            plan,
            spec,
            self.out,
            generator=self.generator,
            keep=keep,
            workers=self.workers,
            overwrite=self.overwrite,
            command=self.command,
            on_progress=self._tell(plan.seed),
        )

    def _score(self, plan: RunPlan, run: Run) -> ScoreReport:
        if self.overwrite == "always":
            measured = RecordFolder(run.folder.path / RECORDS_NAME, real_cache_dir())
            measured.discard(clip.clip_id for clip in plan.selection.clips)
        else:
            take_over_measurements(run.folder, RECORDS_NAME)
        wanted = {clip.clip_id for clip in plan.selection.wanted}
        pairing = pair_run(
            plan.selection.clips, run.records(), plan.dataset, run.folder, wanted=wanted
        )
        return score_run(
            plan,
            pairing,
            out=run.folder.path,
            scoring=self.scoring,
            on_progress=self._tell(plan.seed),
        )

    def _settled(self, plan: RunPlan, folder: RunFolder) -> ScoreReport | None:
        """Return the scores of a run if they are of all its clips, and nothing more can be had."""
        try:
            records = Run.open(folder.path).records()
            report, _ = load_report(folder.path)
        except SubmissionError:
            return None
        wanted = {clip.clip_id for clip in plan.selection.wanted}
        scored = {name: clip.generated_sha256 for name, clip in report.clips.items()}
        made = {name: record.generated_sha256 for name, record in records.items()}
        blank = {name for name, score in report.metrics.items() if score.status == "not_measured"}
        settled = (
            report.complete
            and scored == made
            and wanted <= scored.keys()
            and same_conditions(report, self.scoring)
            and not blank & set(self.readiness.metrics)
        )
        return report if settled else None

    def _tell(self, seed: int) -> Callable[[GenerationProgress | ScoringProgress], None] | None:
        listener = self.on_progress
        return None if listener is None else lambda state: listener(seed, state)


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
        _log.warning("will stay blank: %s: %s", ", ".join(names), reason)
    return readiness
