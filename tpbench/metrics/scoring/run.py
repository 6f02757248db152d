"""Scoring from end to end: measure what is not measured yet, sum up, write."""

from __future__ import annotations

import logging
import platform
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from tpbench.errors import ConfigError
from tpbench.execution import keep_traceback
from tpbench.files import is_half_written, sha256_of
from tpbench.metrics.registry import METRICS
from tpbench.metrics.scoring.driver import Crew, ProgressCounter
from tpbench.metrics.scoring.frames_table import write_frames
from tpbench.metrics.scoring.jobs import finished_record, left_of, make_jobs
from tpbench.metrics.scoring.meters.table import FEATURES_OF
from tpbench.metrics.scoring.readiness import look_around, require_all
from tpbench.metrics.scoring.real_cache import real_cache_dir
from tpbench.metrics.scoring.records import RecordFolder
from tpbench.metrics.scoring.report import (
    FRAMES_NAME,
    SCORES_NAME,
    Coverage,
    MetricScore,
    ScoreReport,
    write_scores,
)
from tpbench.metrics.scoring.said import lines_of
from tpbench.metrics.scoring.summary import (
    lasting_score,
    mean_score,
    not_measured,
    pooled_metric_scores,
    score_clip_record,
)
from tpbench.metrics.scoring.worker import FACTORY
from tpbench.privacy import public_message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tpbench.metrics.protocols import Protocol
    from tpbench.metrics.scoring.clip_pass import ClipJob
    from tpbench.metrics.scoring.driver import ProgressListener
    from tpbench.metrics.scoring.pairing import Pairing
    from tpbench.metrics.scoring.policies import Policies
    from tpbench.metrics.scoring.readiness import Readiness
    from tpbench.metrics.scoring.records import ClipRecord
    from tpbench.metrics.scoring.summary import ScoredClip

_log = logging.getLogger(__name__)

RECORDS_NAME: Final = ".scoring"
"""Where records lie in the folder of results: what makes a second run go on."""

_LOG_NAME: Final = "scoring.log"

_PACKAGES: Final = ("tpbench", "numpy", "scipy", "opencv-python", "av", "mediapipe", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringSetting:
    """Everything that decides how pairs are scored."""

    protocol: Protocol
    policies: Policies

    device: str = "auto"
    """Where networks run: "auto" takes a GPU where there is one."""

    workers: int | None = None
    """Processes; None: one per core. 1 works in this process, with a thread per core."""

    offline: bool = False
    """Never fetch model files."""

    strict: bool = False
    """A metric that can't be measured is an error, and not a blank."""

    factory: str = FACTORY
    """What processes of their own build."""


def score_pairs(
    pairing: Pairing,
    *,
    out: Path,
    setting: ScoringSetting,
    real: Mapping[str, Any],
    on_progress: ProgressListener | None = None,
) -> ScoreReport:
    """Score pairs, go on where an earlier run stopped, and write `scores.json`, `frames.parquet`.

    What a record holds is taken for measured only if contents, policies, weights and versions are
    the same, whatever became of the run that wrote it.

    Args:
        pairing: what is held against what.
        out: folder of the results.
        setting: how.
        real: what is scored against, for the report.
        on_progress: told how far it is.

    Raises:
        ConfigError: another process writes into `out`, no metric can be measured, or, if `strict`,
            one can't.
    """
    readiness = look_around(setting.protocol, offline=setting.offline)
    if setting.strict or not readiness.metrics:
        require_all(readiness)
    records = RecordFolder(out / RECORDS_NAME, real_cache_dir())
    with _locked(out):
        jobs, failed = make_jobs(pairing.pairs, readiness, setting.policies)
        pending = [left for job in jobs if (left := left_of(job, records)).keys]
        counter = ProgressCounter(
            clips_total=len(pairing.pairs),
            clips_done=len(pairing.pairs) - len(pending),
            listener=on_progress,
        )
        device = _device(setting.device, readiness)
        for outcome in _crew(setting, readiness, out, device).measure(pending, counter.on_frames):
            counter.on_outcome(outcome)
            keep_traceback(outcome, out / _LOG_NAME)
            if outcome.kind in {"failed", "quarantined"}:
                failed[outcome.key] = outcome.error or "failed without a word"
                _log.info("%s: %s", outcome.key, failed[outcome.key])
        identities = {pair.clip_id: pair.identity for pair in pairing.pairs}
        heads, clips = _scored(jobs, records, readiness, setting.protocol, identities)
        coverage = Coverage(
            n_expected=pairing.n_expected,
            n_scored=len(clips),
            missing=pairing.missing,
            failed={name: public_message(failed[name], own=[out]) for name in sorted(failed)},
            extra=pairing.extra,
            hints=pairing.hints,
        )
        columns = [name for row in readiness.meters for name in row.columns]
        write_frames(out / FRAMES_NAME, _read_again(heads, records), columns)
        report = ScoreReport(
            protocol={**asdict(setting.protocol), "digest": setting.protocol.digest},
            policies=setting.policies.to_json(),
            real=dict(real),
            coverage=coverage,
            metrics=_summed_up(heads, clips, readiness, setting.protocol, records),
            clips={clip.scores.clip_id: clip.scores for clip in clips},
            frames_sha256=sha256_of(out / FRAMES_NAME),
            environment=_environment(device),
            notes=lines_of(
                pairing.notes,
                pairing.extra,
                {clip.scores.clip_id: clip.scores.notes for clip in clips},
            ),
        )
        write_scores(out / SCORES_NAME, report)
    return report


def _crew(setting: ScoringSetting, readiness: Readiness, out: Path, device: str) -> Crew:
    return Crew(
        policies=setting.policies,
        records=out / RECORDS_NAME,
        cache=real_cache_dir(),
        device=device,
        skeleton=setting.protocol.skeleton,
        offline=setting.offline,
        uses_torch=_uses_torch(readiness),
        workers=setting.workers,
        factory=setting.factory,
        log=out / _LOG_NAME,
    )


def _scored(
    jobs: Sequence[ClipJob],
    folder: RecordFolder,
    readiness: Readiness,
    protocol: Protocol,
    identities: Mapping[str, str | None],
) -> tuple[list[ClipRecord], list[ScoredClip]]:
    """Return the records of all finished clips, without their columns, and the clips' scores.

    One clip's columns are held at a time.
    """
    heads: list[ClipRecord] = []
    clips: list[ScoredClip] = []
    for job in jobs:
        record = finished_record(job, folder)
        if record is not None:
            identity = identities[record.clip_id]
            clips.append(score_clip_record(record, readiness.metrics, protocol, identity))
            heads.append(replace(record, columns={}))
    return heads, clips


def _read_again(heads: Sequence[ClipRecord], folder: RecordFolder) -> Iterator[ClipRecord]:
    for head in heads:
        record = folder.read(head.clip_id)
        if record is None:
            msg = f"{head.clip_id}: its record was removed during the run; run the command again"
            raise ConfigError(msg)
        yield record


def _summed_up(
    heads: Sequence[ClipRecord],
    clips: Sequence[ScoredClip],
    readiness: Readiness,
    protocol: Protocol,
    folder: RecordFolder,
) -> dict[str, MetricScore]:
    """Return the scores of all metrics in the protocol's order."""
    pooled_ids = [name for name in readiness.metrics if name in FEATURES_OF]
    pooled = pooled_metric_scores(pooled_ids, heads, folder, protocol) if heads else {}
    scores: dict[str, MetricScore] = {}
    for name in protocol.metrics:
        row = METRICS[name]
        if name in readiness.not_measured:
            scores[name] = not_measured(row, public_message(readiness.not_measured[name]))
        elif not clips:
            scores[name] = not_measured(row, "no clip could be scored")
        elif row.horizon_frames:
            scores[name] = lasting_score(row, clips)
        else:
            scores[name] = pooled.get(name) or mean_score(row, clips, protocol.clips_to_set)
    return scores


def _uses_torch(readiness: Readiness) -> bool:
    return any(row.weights for row in readiness.meters)


def _device(wanted: str, readiness: Readiness) -> str:
    """Return where networks run: "cpu" or a GPU."""
    if not _uses_torch(readiness):
        return "cpu"
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted != "cpu" and not torch.cuda.is_available():
        msg = f"device '{wanted}': torch sees no GPU on this machine; use `--device cpu`"
        raise ConfigError(msg)
    return wanted


def _environment(device: str) -> dict[str, str]:
    found = {"python": platform.python_version(), "device": device}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep a second process from writing into the same folder, and clear what a kill left."""
    from filelock import FileLock, Timeout

    folder = out / RECORDS_NAME
    if folder.is_symlink():
        msg = f"{folder}: is a link, and nothing is written or deleted through it; take it away"
        raise ConfigError(msg)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{out}: can't be used for results ({error.strerror or error})"
        raise ConfigError(msg) from error
    try:
        with FileLock(folder / ".lock", timeout=0):
            results = (f".{name}.*.tmp" for name in (SCORES_NAME, FRAMES_NAME))
            for half_written in chain(folder.glob(".*.tmp"), *map(out.glob, results)):
                if is_half_written(half_written):
                    half_written.unlink(missing_ok=True)
            yield
    except Timeout:
        msg = f"{out}: another process is scoring into it; wait for it, or name another folder"
        raise ConfigError(msg) from None
