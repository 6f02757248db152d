"""Scores pairs of clips, and folders of videos, in worker processes; resumes what is there."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any, Final

from tpbench import work
from tpbench.canonical import digest_of
from tpbench.devices import require_device
from tpbench.errors import ConfigError, MediaError, number_of
from tpbench.files import is_temporary, sha256_of
from tpbench.metrics.registry import DEFAULT_PROTOCOL, METRICS, Protocol
from tpbench.metrics.registry import protocol as protocol_named
from tpbench.metrics.scoring.clip_pass import FACTORY, build
from tpbench.metrics.scoring.meters import FEATURES_OF
from tpbench.metrics.scoring.pairing import (
    Pairing,
    RealClip,
    is_clip_folder,
    lines_of,
    pair_up,
    read_identities,
    real_clips,
    videos_below,
    with_identities,
)
from tpbench.metrics.scoring.policies import (
    LengthPolicy,
    Policies,
    RatePolicy,
    ResizePolicy,
    policies_of,
)
from tpbench.metrics.scoring.records import (
    Availability,
    ClipMeasurement,
    RecordFolder,
    ScoringJob,
    check_availability,
    finished_record,
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
from tpbench.privacy import public_message
from tpbench.video import content_sha256, passed_over
from tpbench.work.locks import InUseError, locked
from tpbench.work.signs import SIGNS_NAME, signs

logger = logging.getLogger(__name__)

RECORDS_NAME: Final = ".scoring"
"""Folder of the records inside the folder of results, from which a second run continues."""
EACH_CLIP: Final = "each-clip"
"""In place of a table of identities: each clip shows another person."""
_LOG_NAME: Final = "scoring.log"

_PACKAGES: Final = ("tpbench", "numpy", "scipy", "opencv-python", "av", "mediapipe", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringSetting:
    """Everything that decides how pairs are scored."""

    protocol: Protocol
    policies: Policies
    device: str = "auto"
    """Device for networks: "auto" takes a GPU if there is one."""
    workers: int | None = None
    """Processes; None: one per core. With 1, all runs in this process, with a thread per core."""
    offline: bool = False
    """Never fetch model files."""
    strict: bool = False
    """Whether a metric that can't be measured is an error, and not a blank."""
    factory: str = FACTORY
    """Factory of the task in worker processes."""
    engine: work.Engine = work.LOCAL
    """Where the worker processes run."""
    item_timeout_s: float = work.ITEM_TIMEOUT_S
    """A clip without progress for so long is stopped and tried again, which costs an attempt; 0 for
    no limit. With one worker, all runs in this process, and nothing is stopped."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"want 1 worker or more, not {self.workers}")
        work.item_limit_s(self.item_timeout_s)


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
        ConfigError: another process writes into `out`, no metric can be measured, or, if `strict`,
            one can't.
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
        pending = [left for job in jobs if (left := remaining(job, self.records)).keys]
        total = len(self.pairing.pairs)
        progress = work.ProgressCounter(
            "score", total=total, before=total - len(pending), listener=on_progress
        )
        engine = self.setting.engine
        cores = work.usable_cores() if engine.is_local else engine.num_workers(None)
        asked = self.setting.workers or cores
        workers = min(asked, max(1, len(pending)))
        logger.info(
            "scoring into %s: %d of %d clips left, %s on %s, metrics %s",
            self.out,
            len(pending),
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
        items = [work.WorkItem(key=job.clip_id, payload=job.to_json()) for job in pending]
        outcomes = _Outcomes(self.out / _LOG_NAME)
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
    """Why pairs failed; the process that measures a pair writes its record."""

    def __init__(self, log: Path) -> None:
        self.failed: dict[str, str] = {}
        self._log = log

    def add(self, outcome: work.Outcome, progress: work.ProgressCounter) -> None:
        """See `tpbench.work.Records`."""
        work.keep_traceback(outcome, self._log)
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
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / ".lock"))
        except InUseError:
            raise ConfigError(
                f"{out}: another process is scoring into it; wait for it, or name another folder"
            ) from None
        results = (f".{name}.*.tmp" for name in (SCORES_NAME, FRAMES_NAME))
        for half_written in chain(folder.glob(".*.tmp"), *map(out.glob, results)):
            if is_temporary(half_written):
                half_written.unlink(missing_ok=True)
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """What generated videos are scored against, and how."""

    real: Path | str
    """A dataset of tpbench, or any folder of videos."""
    protocol: str = DEFAULT_PROTOCOL
    """`tpbench metrics list` shows them."""
    metrics: Sequence[str] | None = None
    """Only these; None for all of the protocol."""
    split: str | None = None
    """Only these clips of a dataset."""
    length: LengthPolicy | None = None
    """See `Policies`; None for the protocol's, as for the next two."""
    resize: ResizePolicy | None = None
    rate: RatePolicy | None = None
    first_frame: int = 0
    """Frames before it are not scored: 1 where frame 0 is the reference itself."""
    identities: Path | str | None = None
    """A CSV table with columns `clip` and `identity`; None for the dataset's own; `EACH_CLIP`: each
    clip shows another person."""
    device: str = "auto"
    """Device for networks: "auto", "cpu", "cuda", "cuda:1"."""
    workers: int | None = None
    """Processes; None: one per core."""
    offline: bool = False
    """Never fetch model files."""
    strict: bool = False
    """Whether a metric that can't be measured is an error, and not a blank."""
    engine: work.Engine = work.LOCAL
    """Where the worker processes run."""
    item_timeout_s: float = work.ITEM_TIMEOUT_S
    """See `ScoringSetting`."""

    def setting(self) -> ScoringSetting:
        """Return the settings of the scoring.

        Raises:
            ConfigError: no such protocol, metric or device, or an option has an impossible value.
        """
        require_device(self.device)
        chosen = chosen_protocol(self.protocol, self.metrics)
        return ScoringSetting(
            protocol=chosen,
            policies=policies_of(
                chosen,
                length=self.length,
                resize=self.resize,
                rate=self.rate,
                first=self.first_frame,
            ),
            device=self.device,
            workers=self.workers,
            offline=self.offline,
            strict=self.strict,
            engine=self.engine,
            item_timeout_s=self.item_timeout_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RealSide:
    """The real clips that folders of generated videos are scored against."""

    clips: Mapping[str, RealClip]
    about: Mapping[str, str | None]
    """Kind, name, digest and split, for the report."""
    notes: tuple[str, ...]
    """What a reader of the scores has to know about them, one line each."""
    by_own_name: bool
    """Whether sub-folders don't count: clip ids of a dataset are unique in all of them."""

    @property
    def is_dataset(self) -> bool:
        """Whether they are those of a dataset, and not of any folder of videos."""
        return self.about["kind"] == "dataset"


def open_real(request: ScoreRequest, *, hashed: bool = True) -> RealSide:
    """List the real clips; those of a plain folder are hashed, for the digest of the folder.

    Args:
        request: names them.
        hashed: False: without the digest, to look at the folder only.

    Raises:
        ConfigError, DatasetError: the folder or its table of identities is wrong.
    """
    root = Path(request.real)
    clips = real_clips(root, split=request.split)
    if is_dataset(root):
        from tpbench.dataset import Dataset
        from tpbench.dataset.rebuilt import coverage_notes

        dataset = Dataset.open(root)
        about = {"kind": "dataset", "name": dataset.info.name, "digest": dataset.digest}
        return RealSide(
            clips=clips,
            about={**about, "split": request.split},
            notes=coverage_notes(root, request.split or "all"),
            by_own_name=True,
        )
    said = passed_over(root, [clip.path for clip in clips.values()]).note("real")
    if hashed:
        clips = {name: replace(clip, sha256=_hashed(clip.path)) for name, clip in clips.items()}
    digest = digest_of({name: clip.sha256 for name, clip in clips.items()})
    about = {"kind": "folder", "name": root.resolve().name, "digest": digest}
    return RealSide(
        clips=clips,
        about={**about, "split": None},
        notes=tuple(filter(None, [said])),
        by_own_name=is_clip_folder(root),
    )


def _hashed(path: Path) -> str | None:
    """Return the sha256 of a clip; None if it can't be read: scoring its pair says why."""
    try:
        return content_sha256(path)
    except MediaError:
        return None


def pair_folder(real: RealSide, generated: Path, identities: Path | str | None) -> Pairing:
    """Match a folder of generated videos with the real ones.

    Videos are matched by clip id (a dataset) or by relative path without ending (any folder); a
    folder of numbered pictures is a video.

    Args:
        real: the real clips.
        generated: the folder with the generated ones.
        identities: see `ScoreRequest.identities`.

    Raises:
        ConfigError: there is no such folder, it is empty, or the table is wrong or lacks a clip.
        SubmissionError: nothing matches, or two generated videos claim one clip.
    """
    found = videos_below(generated, by_own_name=real.by_own_name)
    if not found and not any(generated.iterdir()):
        raise ConfigError(f"{generated}: is empty; name the folder of the generated videos")
    left_out = passed_over(generated, found.values())
    pairing = pair_up(real.clips, found, left_out=left_out, by_own_name=real.by_own_name)
    pairing = replace(pairing, notes=(*pairing.notes, *real.notes))
    if identities is None:
        return pairing
    if str(identities) == EACH_CLIP:
        pairs = tuple(replace(pair, identity=pair.clip_id) for pair in pairing.pairs)
        said = "each clip counts as another identity, as asked for"
        return replace(pairing, pairs=pairs, notes=(*pairing.notes, said))
    table = Path(identities)
    return with_identities(pairing, read_identities(table), table)


def chosen_protocol(name: str, metrics: Sequence[str] | None) -> Protocol:
    """Return a protocol, narrowed to the metrics asked for.

    Raises:
        ConfigError: no such protocol or metric, or none is left.
    """
    whole = protocol_named(name)
    return whole if metrics is None else whole.with_metrics(metrics)


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a dataset of tpbench."""
    return (folder / "dataset.json").is_file()
