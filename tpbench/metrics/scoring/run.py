"""Scores pairs of clips, and folders of videos, in worker processes; resumes what is there."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any, Final

from tpbench import work
from tpbench.errors import ConfigError, number_of
from tpbench.files import is_temporary, sha256_of
from tpbench.metrics.registry import METRICS
from tpbench.metrics.scoring.clip_pass import build
from tpbench.metrics.scoring.meters import FEATURES_OF
from tpbench.metrics.scoring.pairing import Pairing, lines_of
from tpbench.metrics.scoring.records import (
    Availability,
    ClipMeasurement,
    RecordFolder,
    ScoringJob,
    check_availability,
    finished_record,
    key_of,
    make_jobs,
    real_cache_dir,
    remaining,
    require_all,
)
from tpbench.metrics.scoring.reduce import (
    ScoredClip,
    lasting_score,
    mean_score,
    not_measured,
    pooled_metric_scores,
    score_clip_record,
)
from tpbench.metrics.scoring.report import (
    FRAMES_NAME,
    SCORES_NAME,
    Coverage,
    MetricScore,
    ScoreReport,
    write_frames,
    write_scores,
)
from tpbench.metrics.scoring.request import ScoringSetting
from tpbench.privacy import public_message
from tpbench.work.attempts import Attempts, tell_given_up
from tpbench.work.locks import locked, require_held
from tpbench.work.signs import SIGNS_NAME, signs

logger = logging.getLogger(__name__)

RECORDS_NAME: Final = ".scoring"
"""Folder of the records inside the folder of results, from which a second run continues."""
_LOG_NAME: Final = "scoring.log"

_PACKAGES: Final = ("tpbench", "numpy", "scipy", "opencv-python", "av", "mediapipe", "torch")


def score_pairs(
    pairing: Pairing,
    *,
    out: Path,
    setting: ScoringSetting,
    real: Mapping[str, Any],
    on_progress: work.ProgressListener | None = None,
) -> ScoreReport:
    """Score pairs, continuing an earlier run, and write `scores.json` and `frames.parquet`.

    Args:
        pairing: which clips are compared.
        out: folder of the results.
        setting: how they are scored.
        real: description of the real clips, for the report.
        on_progress: called with the progress.

    Raises:
        ConfigError: no metric can be measured, or, if `strict`, one can't.
        DatasetError: another process writes into `out`.
    """
    availability = check_availability(setting.protocol, offline=setting.offline)
    if setting.strict or not availability.metrics:
        require_all(availability)
    scoring = _Scoring(
        pairing=pairing,
        out=out,
        setting=setting,
        availability=availability,
        device=availability.device(setting.device),
        records=RecordFolder(out / RECORDS_NAME, _cache_of(out, setting.engine)),
    )
    with setting.engine.session(), _locked(out):
        jobs, failed = make_jobs(pairing.pairs, availability, setting.policies)
        failed |= scoring.measure(jobs, on_progress)
        report = scoring.report(jobs, failed, real)
        write_scores(out / SCORES_NAME, report)
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scoring:
    """One scoring: its pairs, settings, models and output folder."""

    pairing: Pairing
    out: Path
    setting: ScoringSetting
    availability: Availability
    device: str
    records: RecordFolder

    def measure(
        self, jobs: Sequence[ScoringJob], on_progress: work.ProgressListener | None
    ) -> dict[str, str]:
        """Measure what is left, in this process with a thread per core or in a process per core.

        Returns:
            By clip: why it could not be measured.
        """
        outcomes = _Outcomes(jobs, self.out, forget=self.setting.retry_failed)
        pending = [left for job in jobs if (left := remaining(job, self.records)).keys]
        items = list(outcomes.items(pending))
        total = len(self.pairing.pairs)
        progress = work.ProgressCounter(
            "score", total=total, before=total - len(items), listener=on_progress
        )
        engine = self.setting.engine
        cores = work.usable_cores() if engine.is_local else engine.num_workers(None)
        asked = self.setting.workers or cores
        workers = min(asked, max(1, len(items)))
        logger.info(
            "scoring into %s: %d of %d clips left, %s on %s, metrics %s",
            self.out,
            len(items),
            total,
            number_of(workers, "worker"),
            self.device,
            ", ".join(self.availability.metrics),
        )
        config = {
            "policies": asdict(self.setting.policies),
            "records": str(self.out / RECORDS_NAME),
            "cache": str(_cache_of(self.out, self.setting.engine)),
            "device": self.device,
            "skeleton": self.setting.protocol.skeleton,
            "offline": self.setting.offline,
            "uses_torch": self.availability.uses_torch,
            # Ray gives each worker one core.
            "threads": max(1, cores // workers) if engine.is_local else 1,
        }
        executor: work.Executor = work.InThisProcess(build=build)
        # The only clip that is left may be the one that killed its workers before.
        if min(asked, total) > 1 or not engine.is_local:
            executor = engine.pool(
                num_workers=workers,
                item_timeout_s=work.item_limit_s(self.setting.item_timeout_s),
                worker_log=self.out / _LOG_NAME,
            )
        task = work.TaskSpec(factory=self.setting.factory, config=config)
        with signs(self.out / SIGNS_NAME, progress, workers=workers):
            work.run_items(task, items, outcomes, executor=executor, progress=progress)
        require_held(self.records.folder)
        return outcomes.failed

    def report(
        self, jobs: Sequence[ScoringJob], failed: Mapping[str, str], real: Mapping[str, Any]
    ) -> ScoreReport:
        """Write the frames of all finished pairs and score them, with one pair's columns held."""
        pairing, protocol = self.pairing, self.setting.protocol
        identities = {pair.clip_id: pair.identity for pair in pairing.pairs}
        summaries: list[ClipMeasurement] = []
        clips: list[ScoredClip] = []

        def finished() -> Iterator[ClipMeasurement]:
            for job in jobs:
                if (record := finished_record(job, self.records)) is not None:
                    who = identities[record.clip_id]
                    clips.append(
                        score_clip_record(record, self.availability.metrics, protocol, who)
                    )
                    summaries.append(replace(record, columns={}))
                    yield record

        columns = [name for row in self.availability.meters for name in row.columns]
        write_frames(self.out / FRAMES_NAME, finished(), columns)
        of_clips = {clip.scores.clip_id: clip.scores for clip in clips}
        clip_notes = {name: scores.notes for name, scores in of_clips.items()}
        return ScoreReport(
            protocol={**asdict(protocol), "digest": protocol.digest},
            policies=self.setting.policies.to_json(),
            real=dict(real),
            coverage=Coverage(
                n_expected=pairing.n_expected,
                n_scored=len(clips),
                missing=pairing.missing,
                failed={
                    name: public_message(failed[name], own=[self.out]) for name in sorted(failed)
                },
                extra=pairing.extra,
                hints=pairing.hints,
            ),
            metrics=self._set_scores(summaries, clips),
            clips=of_clips,
            frames_sha256=sha256_of(self.out / FRAMES_NAME),
            environment=_environment(self.device),
            notes=lines_of(pairing.notes, pairing.extra, clip_notes),
        )

    def _set_scores(
        self, summaries: Sequence[ClipMeasurement], clips: Sequence[ScoredClip]
    ) -> dict[str, MetricScore]:
        """Return the scores of all metrics, in the protocol's order."""
        availability, protocol = self.availability, self.setting.protocol
        pooled_ids = [name for name in availability.metrics if name in FEATURES_OF]
        pooled = (
            pooled_metric_scores(pooled_ids, summaries, self.records, protocol) if summaries else {}
        )
        scores: dict[str, MetricScore] = {}
        for name in protocol.metrics:
            row = METRICS[name]
            if name in availability.not_measured:
                scores[name] = not_measured(row, public_message(availability.not_measured[name]))
            elif not clips:
                scores[name] = not_measured(row, "no clip could be scored")
            elif row.horizon_frames:
                scores[name] = lasting_score(row, clips)
            else:
                scores[name] = pooled.get(name) or mean_score(row, clips, protocol.clips_to_set)
        return scores


class _Outcomes:
    """Why pairs failed; the process that measures a pair writes its record.

    Args:
        jobs: all that is to be measured of each pair.
        out: folder of the results.
        forget: try pairs again that were given up.
    """

    def __init__(self, jobs: Sequence[ScoringJob], out: Path, *, forget: bool) -> None:
        self.failed: dict[str, str] = {}
        self._log = out / _LOG_NAME
        self._keys = {job.clip_id: key_of(job.keys) for job in jobs}
        self._attempts = Attempts(out / RECORDS_NAME, forget=forget)

    def items(self, jobs: Iterable[ScoringJob]) -> Iterator[work.WorkItem]:
        """Yield the jobs as items, but for those that are given up."""
        for job in jobs:
            lost = self._attempts.of(job.clip_id, self._keys[job.clip_id])
            if lost is not None and lost.given_up:
                self.failed[job.clip_id] = lost.error
                continue
            attempts = 0 if lost is None else lost.attempts
            yield work.WorkItem(key=job.clip_id, payload=job.to_json(), attempts=attempts)
        tell_given_up(self.failed)

    def add(self, outcome: work.Outcome, progress: work.ProgressCounter) -> None:
        """See `tpbench.work.Records`."""
        work.keep_traceback(outcome, self._log)
        self._attempts.note(outcome, self._keys[outcome.key])
        if outcome.kind in {"failed", "quarantined"}:
            self.failed[outcome.key] = outcome.error or "failed without an error message"
            logger.info("%s: %s", outcome.key, self.failed[outcome.key])
        if outcome.kind != "retried":
            frames = None if outcome.result is None else int(outcome.result["frames"])
            n_failed = int(outcome.key in self.failed)
            progress.finish(outcome.key, frames=frames, counts={"failed": n_failed})


def _cache_of(out: Path, engine: work.Engine) -> Path:
    """Return the folder for features of real clips: on a cluster, one that all nodes see."""
    return out / RECORDS_NAME / "real" if engine.spans_machines else real_cache_dir()


def _environment(device: str) -> dict[str, str]:
    return {"python": platform.python_version(), "device": device, **_packages()}


@cache
def _packages() -> Mapping[str, str]:
    """Return the versions of packages, which a process looks up once."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Lock the folder against other processes, and remove half-written files of a killed run."""
    folder = out / RECORDS_NAME
    if folder.is_symlink():
        raise ConfigError(
            f"{folder}: is a link, and nothing is written or deleted through it; remove the link"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{out}: can't be used for results ({error.strerror or error})"
        ) from error
    with locked(folder / ".lock"):
        results = (f".{name}.*.tmp" for name in (SCORES_NAME, FRAMES_NAME))
        for half_written in chain(folder.glob(".*.tmp"), *map(out.glob, results)):
            if is_temporary(half_written):
                half_written.unlink(missing_ok=True)
        yield
