"""A run scored: its clips against the real ones, and what comes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tpbench.benchmark.judging import clip_means, identities_of, score_over_seeds
from tpbench.benchmark.run_folder import ClipRecord, Run, RunFolder
from tpbench.benchmark.tasks import TaskClip, TaskRule
from tpbench.canonical import encoded
from tpbench.dataset import Dataset
from tpbench.errors import ConfigError, did_you_mean
from tpbench.metrics.registry import METRICS, Protocol, as_pooled, metric
from tpbench.metrics.registry import protocol as protocol_named
from tpbench.metrics.scoring.pairing import Pair, Pairing
from tpbench.metrics.scoring.policies import Policies
from tpbench.metrics.scoring.report import FRAMES_NAME, MetricScore, ScoreReport

if TYPE_CHECKING:
    import pandas as pd


def scoring_protocol(rule: TaskRule, name: str, metrics: Sequence[str] | None) -> Protocol:
    """Return a protocol, narrowed to the metrics asked for and to those that fit the task.

    Without a choice of metrics it keeps its name: what a task leaves out is part of the task.

    Raises:
        ConfigError: no such protocol or metric, a metric does not fit the task, or none is left.
    """
    whole = protocol_named(name)
    if metrics is not None:
        for metric_id in metrics:
            _require_fit(rule, metric_id)
        return whole.with_metrics(metrics)
    if rule.metrics is None:
        return whole
    fitting = tuple(name for name in whole.metrics if name in rule.metrics)
    if not fitting:
        msg = f"protocol '{whole.id}' has no metric for the task '{rule.id}', which has no ground "
        msg += f"truth; it allows {', '.join(rule.metrics)}"
        raise ConfigError(msg)
    return replace(whole, metrics=fitting)


def policies_of(rule: TaskRule, protocol: Protocol) -> Policies:
    """Return what becomes of clips that don't fit their real ones, and what is not scored."""
    return Policies(
        length=protocol.length,
        resize=protocol.resize,
        rate=protocol.rate,
        first_frame=rule.first_frame,
        shape="any" if protocol.squashes else "same",
    )


def pair_run(
    clips: Sequence[TaskClip],
    records: Mapping[str, ClipRecord],
    dataset: Dataset,
    folder: RunFolder,
    *,
    wanted: Collection[str],
) -> Pairing:
    """Lay the generated clips of a run beside the real ones.

    Expected are the clips that were asked for now, and all that were ever tried: of a partial run,
    coverage tells what failed, and not what nobody wanted yet.

    Args:
        clips: all of the run.
        records: by clip.
        dataset: has the real ones.
        folder: has the generated ones.
        wanted: ids that were asked for now.
    """
    expected = [clip for clip in clips if clip.clip_id in records or clip.clip_id in wanted]
    done = {name for name, record in records.items() if record.status == "done"}
    pairing = pair_clips([clip for clip in expected if clip.clip_id in done], dataset, folder)
    missing = tuple(clip.clip_id for clip in expected if clip.clip_id not in done)
    return replace(pairing, missing=missing)


def pair_clips(clips: Sequence[TaskClip], dataset: Dataset, folder: RunFolder) -> Pairing:
    """Lay the generated files of these clips beside the real ones."""
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


def _require_fit(rule: TaskRule, metric_id: str) -> None:
    metric(metric_id)
    if rule.metrics is not None and metric_id not in rule.metrics:
        raise ConfigError(
            f"metric '{metric_id}' needs a ground truth, and the task '{rule.id}' has none"
            f"{did_you_mean(metric_id, rule.metrics)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One model on one dataset, with one seed or several."""

    runs: tuple[Run, ...]
    """One per seed; `run.folder.path` is where it lies."""
    reports: tuple[ScoreReport, ...]
    """The scores of each run."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """In the order of `runs`."""
        return tuple(run.info.seed for run in self.runs)

    @property
    def complete(self) -> bool:
        """Whether every clip that was asked for was made and scored, with every seed."""
        return all(report.complete for report in self.reports)

    @property
    def partial(self) -> bool:
        """Whether clips of a run were not even tried: such a run is for no leaderboard."""
        return any(run.info.partial for run in self.runs)

    @property
    def coverage(self) -> float:
        """Scored clips over expected ones, of all seeds together."""
        expected = sum(report.coverage.n_expected for report in self.reports)
        return sum(report.coverage.n_scored for report in self.reports) / expected

    @property
    def scores(self) -> dict[str, MetricScore]:
        """Every metric, in the protocol's order.

        With several seeds, of each clip the mean over seeds counts, and the value is the mean of
        these; the interval is over identities and says nothing of other seeds. What all clips give
        together is averaged over seeds. `details["spread"]` is the standard deviation of the value
        over seeds.
        """
        first = self.reports[0]
        if len(self.reports) == 1:
            return dict(first.metrics)
        by_seed = dict(zip(self.seeds, self.reports, strict=True))
        rows = {name: as_pooled(METRICS[name], self.reports[0].protocol) for name in first.metrics}
        return {name: score_over_seeds(row, by_seed) for name, row in rows.items()}

    def table(self) -> pd.DataFrame:
        """Return one row per metric: value, interval over identities, spread over seeds, counts."""
        import pandas as pd

        scores = self.scores
        columns = ["direction", "unit", "status", "value", "low", "high", "level", "n_clips"]
        columns += ["n_identities", "n_infinite", "n_missing", "n_too_short"]
        columns += ["reason", "interval_reason", "warning"]
        rows = [{name: getattr(score, name) for name in columns} for score in scores.values()]
        table = pd.DataFrame(rows, columns=columns, index=pd.Index(scores, name="metric"))
        table = table.astype(dict.fromkeys(("low", "high", "level"), "float64"))
        spreads = [score.details.get("spread") for score in scores.values()]
        table.insert(6, "spread", pd.Series(spreads, index=table.index, dtype="float64"))
        return table

    def clips(self) -> pd.DataFrame:
        """Return one row per clip, one column per metric that has values per clip.

        With several seeds, the mean over seeds of the finite values.
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
        """Return what it is and all values as JSON: NaN is null, infinity is "inf"."""
        info = self.runs[0].info
        content = {
            "model": info.model.name,
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
    """Return why clips have no scores: what was not made, and what could not be scored."""
    records = run.records()
    unmade = {
        name: (records[name].reason if name in records else None) or "was not made"
        for name in report.coverage.missing
    }
    return {**unmade, **report.coverage.failed}
