"""`evaluate`: generate and score a run for each seed, and average over seeds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tpbench.baselines.base import Generator, OptionValue
from tpbench.benchmark.generate import generate_planned
from tpbench.benchmark.how_to_report import how_to_report
from tpbench.benchmark.judging import clip_means, identities_of, score_over_seeds
from tpbench.benchmark.request import EvalRequest, Overwrite, RunPlan, plan_evaluation
from tpbench.benchmark.run_folder import ClipRecord, Keep, Run, RunFolder
from tpbench.benchmark.tasks import SplitChoice, TaskClip
from tpbench.canonical import encoded
from tpbench.dataset import Dataset
from tpbench.dataset.rebuilt import coverage_notes
from tpbench.devices import require_device
from tpbench.errors import SubmissionError
from tpbench.metrics.registry import DEFAULT_PROTOCOL, METRICS, as_pooled, headline_of
from tpbench.metrics.scoring.pairing import Pair, Pairing
from tpbench.metrics.scoring.policies import policies_of
from tpbench.metrics.scoring.records import (
    Availability,
    RecordFolder,
    check_availability,
    real_cache_dir,
    require_all,
)
from tpbench.metrics.scoring.report import (
    FRAMES_NAME,
    MetricScore,
    ScoreReport,
    display_of,
    load_report,
    short_scores,
)
from tpbench.metrics.scoring.request import ScoringSetting
from tpbench.metrics.scoring.run import RECORDS_NAME, score_pairs
from tpbench.short_table import ShortTable
from tpbench.weights import pull_command
from tpbench.work import ITEM_TIMEOUT_S, LOCAL, Engine, Progress, ProgressListener, explain_halts

if TYPE_CHECKING:
    import pandas as pd

from tpbench.work.records import Shard

logger = logging.getLogger(__name__)

_NAMED: Final = 6
"""Metrics that one line names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One model on one dataset, with one seed or several."""

    runs: tuple[Run, ...]
    """One per seed; `run.folder.path` is its folder."""
    reports: tuple[ScoreReport, ...]
    """The scores of each run."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """In the order of `runs`."""
        return tuple(run.info.seed for run in self.runs)

    @property
    def complete(self) -> bool:
        """Whether every requested clip was generated and scored, with every seed."""
        return all(report.complete for report in self.reports)

    @property
    def partial(self) -> bool:
        """Whether some clips of a run were not tried yet: leaderboards leave such runs out."""
        return any(run.info.partial for run in self.runs)

    @property
    def coverage(self) -> float:
        """Share of expected clips that are scored, over all seeds; in [0, 1]."""
        expected = sum(report.coverage.n_expected for report in self.reports)
        return sum(report.coverage.n_scored for report in self.reports) / expected

    @property
    def scores(self) -> dict[str, MetricScore]:
        """Every metric, in the protocol's order.

        With several seeds, values are averaged over seeds per clip, then over clips; the interval
        is over identities and says nothing about other seeds. Values of the whole set of clips are
        averaged over seeds. `details["spread"]` is the standard deviation of the value over seeds.
        """
        first = self.reports[0]
        if len(self.reports) == 1:
            return dict(first.metrics)
        by_seed = dict(zip(self.seeds, self.reports, strict=True))
        rows = {name: as_pooled(METRICS[name], self.reports[0].protocol) for name in first.metrics}
        return {name: score_over_seeds(row, by_seed) for name, row in rows.items()}

    def __repr__(self) -> str:
        """Return a few lines: what was evaluated, and the headline metrics."""
        return self._short().text()

    def _repr_html_(self) -> str:
        """Return the same as a table, for notebooks."""
        return self._short().html()

    def _short(self) -> ShortTable:
        info = self.runs[0].info
        seeds = f"seed{'s' if len(self.seeds) > 1 else ''} {', '.join(map(str, self.seeds))}"
        title = f"Evaluation: {info.model.name} on {info.dataset.name} ({info.dataset.split}), "
        title += f"task {info.task.id}, {seeds}, coverage {self.coverage:.3f}"
        names = headline_of(self.reports[0].protocol)
        return short_scores(title, self.scores, names, more="all metrics: .table()")

    @property
    def how_to_report(self) -> str:
        """What a paper has to say of these numbers: protocol, clips, versions, digests."""
        digests = [str(report.to_json()["digest"]) for report in self.reports]
        return how_to_report(self.reports, digests=digests)

    def table(self) -> pd.DataFrame:
        """Return one row per metric: value, interval over identities, spread over seeds, counts.

        `label`, `arrow`, `unit` and `headline` are what a table of results needs beside them.
        """
        import pandas as pd

        scores = self.scores
        columns = ["direction", "unit", "status", "value", "low", "high", "level", "n_clips"]
        columns += ["n_identities", "n_infinite", "n_missing", "n_too_short"]
        columns += ["reason", "interval_reason", "warning"]
        headline = headline_of(self.reports[0].protocol)
        rows = [
            display_of(score, headline) | {name: getattr(score, name) for name in columns}
            for score in scores.values()
        ]
        columns = ["label", "arrow", "headline", *columns]
        table = pd.DataFrame(rows, columns=columns, index=pd.Index(scores, name="metric"))
        table = table.astype(dict.fromkeys(("low", "high", "level"), "float64"))
        spreads = [score.details.get("spread") for score in scores.values()]
        table.insert(6, "spread", pd.Series(spreads, index=table.index, dtype="float64"))
        return table

    def clips(self) -> pd.DataFrame:
        """Return one row per clip, one column per metric that has values per clip.

        With several seeds, the finite values are averaged over seeds.
        """
        import pandas as pd

        identities = identities_of(self.reports)
        frames: dict[str, int] = {}
        for report in self.reports:
            frames |= {name: clip.n_frames for name, clip in report.clips.items()}
        content: dict[str, Any] = {
            "identity": pd.Series(identities, dtype="object"),
            "n_frames": pd.Series(frames, dtype="int64"),
        }
        for name in self.reports[0].metrics:
            if METRICS[name].reduction != "set":
                content[name] = pd.Series(clip_means(self.reports, name), dtype="float64")
        return pd.DataFrame(content, index=pd.Index(identities, name="clip_id"))

    def frames(self) -> pd.DataFrame:
        """Return all per-frame values of all seeds: `seed`, `clip_id`, `frame`, and the columns."""
        import pandas as pd

        parts = []
        for run in self.runs:
            part = pd.read_parquet(run.folder.path / FRAMES_NAME)
            part.insert(0, "seed", run.info.seed)
            parts.append(part.astype({"clip_id": "str"}))
        return pd.concat(parts, ignore_index=True)

    def to_json(self) -> dict[str, Any]:
        """Return the description and all values as JSON: NaN is null, infinity is "inf"."""
        info = self.runs[0].info
        content = {
            "model": info.model.name,
            "name": info.model.display_name,
            "dataset": info.dataset.model_dump(exclude={"left_out", "folder"}),
            "task": info.task.model_dump(),
            "protocol": {k: self.reports[0].protocol[k] for k in ("id", "version", "digest")},
            "coverage": self.coverage,
            "partial": self.partial,
            "runs": [
                {
                    "seed": run.info.seed,
                    "folder": str(run.folder.path),
                    "scores_digest": report.to_json()["digest"],
                    "expected": report.coverage.n_expected,
                    "scored": report.coverage.n_scored,
                    "failed": failures_of(run, report),
                }
                for run, report in zip(self.runs, self.reports, strict=True)
            ],
            "metrics": {
                name: {key: value for key, value in asdict(score).items() if key != "metric"}
                for name, score in self.scores.items()
            },
        }
        return dict(encoded(content))


def failures_of(run: Run, report: ScoreReport) -> dict[str, str]:
    """Return, by clip without scores, why it was not generated or could not be scored."""
    records = run.records()
    unmade = {
        name: (records[name].reason if name in records else None) or "was not made"
        for name in report.coverage.missing
    }
    return {**unmade, **report.coverage.failed}


EvaluationListener = Callable[[int, Progress], None]
"""Called with the seed and its progress after every step."""


def evaluate(  # noqa: PLR0913 - one argument per option
    model: str,
    data: Path | str | None = None,
    *,
    name: str | None = None,
    split: SplitChoice | None = None,
    task: str = "self",
    protocol: str = DEFAULT_PROTOCOL,
    metrics: Sequence[str] | None = None,
    seeds: Iterable[int] | int = (42,),
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
    engine: Engine = LOCAL,
    item_timeout_s: float = ITEM_TIMEOUT_S,
    retry_failed: bool = False,
    command: Sequence[str] = (),
    on_progress: EvaluationListener | None = None,
) -> Evaluation:
    """Generate the clips of a dataset with a model, and score them; see `evaluate_request`.

    The arguments are the fields of `request.EvalRequest`, which documents them.
    """
    request = EvalRequest(
        model=model,
        data=data,
        name=name,
        split=split,
        task=task,
        protocol=protocol,
        metrics=metrics,
        seeds=(seeds,) if isinstance(seeds, int) else tuple(seeds),
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
        engine=engine,
        item_timeout_s=item_timeout_s,
        retry_failed=retry_failed,
        command=command,
    )
    return evaluate_request(request, on_progress)


def evaluate_request(
    request: EvalRequest, on_progress: EvaluationListener | None = None
) -> Evaluation:
    """Generate the clips of a dataset with a model, and score them.

    After an interruption, the same call continues where it stopped, and gives the same scores, byte
    for byte.

    Args:
        request: model, dataset, task, and how to score.
        on_progress: called after every step.

    Raises:
        ConfigError: an option or a name is invalid, or a folder holds another run.
        DatasetError: the dataset is broken or lacks the clips, or another process uses the run.
        MissingWeightsError: the model's weights are missing; nothing was generated.
        TPBenchError: the disk is full; finished clips are kept.
    """
    plan, protocol = plan_evaluation(request)
    if request.engine.is_local:
        require_device(request.device, library=plan.choice.device_library)
    scoring = ScoringSetting(
        protocol=protocol,
        policies=policies_of(protocol, first=plan.rule.first_frame),
        device=request.device,
        workers=request.workers,
        offline=request.offline,
        strict=request.strict,
        engine=request.engine,
        item_timeout_s=request.item_timeout_s,
        retry_failed=request.retry_failed or request.overwrite == "always",
    )
    availability = _check_metrics(scoring)
    if not plan.choice.weight_free:  # the table that comes soon says the same
        _warn_of_blanks(availability)
    done = []
    with request.engine.session():
        for seed in request.seeds:
            listener = None if on_progress is None else partial(on_progress, seed)
            of_seed = replace(plan, seed=seed)
            done.append(_OneSeed(request, of_seed, scoring, availability, listener).do())
    return Evaluation(
        runs=tuple(run for run, _ in done), reports=tuple(report for _, report in done)
    )


@dataclass(frozen=True, slots=True)
class _OneSeed:
    """Generates and scores the run of one seed."""

    request: EvalRequest
    plan: RunPlan
    scoring: ScoringSetting
    availability: Availability
    on_progress: ProgressListener | None

    def do(self) -> tuple[Run, ScoreReport]:
        """Generate and score the run."""
        folder = self.plan.folder(Path(self.request.out))
        drops = self.request.keep == "preview"
        if drops and self.request.overwrite == "missing":
            # Clips that have all their scores don't need lossless frames.
            if self._final_scores(folder) is not None:
                self._generate(keep="preview")
            if (report := self._final_scores(folder)) is not None:
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
        dataset = self.plan.dataset
        pairing = pair_run(selection.clips, run.records(), dataset, folder, wanted=wanted)
        notes = coverage_notes(dataset.folder, selection.split)
        return score_pairs(
            replace(pairing, notes=(*pairing.notes, *notes)),
            out=folder.path,
            setting=self.scoring,
            real=self.plan.real,
            on_progress=self.on_progress,
        )

    def _final_scores(self, folder: RunFolder) -> ScoreReport | None:
        """Return the scores of a run if all clips are scored and no metric can be added."""
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
            and not blank & set(self.availability.metrics)
        )
        return report if settled else None


def _drop_lossless(run: Run) -> None:
    for name in run.records():
        run.folder.generated(name).unlink(missing_ok=True)


def _check_metrics(scoring: ScoringSetting) -> Availability:
    """Check, before hours of work, which metrics can be measured afterwards.

    Raises:
        ConfigError: none can, or, with `strict`, not all can.
    """
    availability = check_availability(scoring.protocol, offline=scoring.offline)
    if scoring.strict or not availability.metrics:
        require_all(availability)
    availability.device(scoring.device)  # that of an external method may be none of ours
    return availability


def _warn_of_blanks(availability: Availability) -> None:
    """Log in one line which metrics will stay blank, and how to get them."""
    names = list(availability.not_measured)
    if not names:
        return
    shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" * (len(names) > _NAMED))
    how = "; ".join(dict.fromkeys(availability.not_measured.values()))
    if availability.files_missing:
        how = f"model files are missing, run: {pull_command(availability.files_missing)}"
    logger.warning("will stay blank: %s: %s", shown, how)


def pair_run(
    clips: Sequence[TaskClip],
    records: Mapping[str, ClipRecord],
    dataset: Dataset,
    folder: RunFolder,
    *,
    wanted: Collection[str],
) -> Pairing:
    """Pair the generated clips of a run with the real ones.

    Expected are the clips requested now and all that were ever tried: the coverage of a partial run
    counts failures, not clips that were never requested.

    Args:
        clips: all of the run.
        records: by clip.
        dataset: of the real clips.
        folder: of the generated clips.
        wanted: ids of the clips requested now.
    """
    expected = [clip for clip in clips if clip.clip_id in records or clip.clip_id in wanted]
    done = {name for name, record in records.items() if record.status == "done"}
    pairing = pair_clips([clip for clip in expected if clip.clip_id in done], dataset, folder)
    missing = tuple(clip.clip_id for clip in expected if clip.clip_id not in done)
    return replace(pairing, missing=missing)


def pair_clips(clips: Sequence[TaskClip], dataset: Dataset, folder: RunFolder) -> Pairing:
    """Pair the generated files of these clips with the real ones."""
    return Pairing(
        pairs=tuple(
            Pair(
                clip_id=clip.clip_id,
                real=dataset.clip_path(clip.driving),
                generated=folder.generated(clip.clip_id),
                identity=clip.identity,
            )
            for clip in clips
        ),
        missing=(),
        extra=(),
    )
