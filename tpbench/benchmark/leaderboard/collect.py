"""Finds and reads runs, and checks that they are comparable in one table."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from tpbench.benchmark.run_folder import ClipRecord, Run
from tpbench.benchmark.run_info import RUN_INFO_NAME, RunInfo
from tpbench.benchmark.site import fingerprint, what_was_found
from tpbench.benchmark.tasks import SplitChoice
from tpbench.canonical import digest_of
from tpbench.errors import ConfigError, SubmissionError, TPBenchError, number_of
from tpbench.files import missing_folder
from tpbench.foreign import ForeignFileError, opened_inside, printable, read_json
from tpbench.metrics.registry import METRICS, RETIRED_PROTOCOLS, metric_at
from tpbench.metrics.scoring.report import FRAMES_NAME, SCORES_NAME, ScoreReport, load_report
from tpbench.privacy import public_message

VERIFIED_NAME: Final = "verified.json"
"""Written into a run by `tpbench verify`: level, scores_digest, date. Its author's claim only."""
Verified = Literal["none", "digest", "rerun"]
"""digest: every file had the recorded sha256. rerun: and recomputed scores agreed. Found by
`verify` on the machine that builds the leaderboard; a run's own claim proves nothing."""
_CUSTOM: Final = "+custom"
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A run that was found but is not in the table."""

    folder: Path
    reason: str
    refused: bool = False
    """True: it is broken or was tampered with. False: it is not finished."""

    @property
    def name(self) -> str:
        """Its folder, without the private path above it."""
        return run_name(self.folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRun:
    """A finished run with its scores."""

    run: Run
    report: ScoreReport
    scores_digest: str
    digest: str
    records: Mapping[str, ClipRecord]
    verified: Verified
    """Level found by `tpbench verify` on this machine."""
    claimed: Verified
    """Level that the run claims for itself."""

    @property
    def info(self) -> RunInfo:
        """Its `run.json`."""
        return self.run.info

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.run.folder.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Runs for a table, and runs left out."""

    runs: tuple[ScoredRun, ...]
    """Without duplicates, by model and seed."""
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Only:
    """Which runs are taken from folders that hold many; None: all."""

    digest: str | None = None
    """Digest of the dataset."""
    split: SplitChoice | None = None
    task: str | None = None
    """`self`, `cross`, `self.min24`, `score`."""

    def reason_against(self, info: RunInfo) -> str | None:
        """Return why a run is not taken; None if it is."""
        dataset = info.dataset
        if self.digest not in (None, dataset.digest):
            return f"not asked for: of the dataset {dataset.name} {_short(dataset.digest)}"
        if self.split not in (None, dataset.split):
            return f"not asked for: of the split {dataset.split}"
        if self.task not in (None, info.task.id):
            return f"not asked for: of the task {info.task.id}"
        return None


def collect(paths: Sequence[Path | str], only: Only = Only()) -> Collection:
    """Find and read runs, and leave out those that can't be in a table.

    Runs may come from anyone: a run that is broken, was changed after it was generated, or does not
    match its scores is left out with a reason; the others are kept.

    Args:
        paths: folders of runs, or folders that contain such at any depth; hidden ones are ignored.
        only: which of them to take; the others are left out.

    Raises:
        ConfigError: no path is given, or there is no such folder.
        SubmissionError: there is no run at all, or none that could be in a table.
    """
    given = Counter(_run_folders(paths))
    runs: dict[str, ScoredRun] = {}
    left_out: list[LeftOut] = []
    notes = [
        f"{run_name(folder)} was given {times} times: it counts once"
        for folder, times in sorted(given.items())
        if times > 1
    ]
    for folder in sorted(given):
        found = _read_or_refuse(folder, only)
        if isinstance(found, LeftOut):
            left_out.append(found)
        elif found.digest in runs:
            notes.append(f"{run_name(folder)} was found in two folders: it counts once")
        else:
            runs[found.digest] = found
    if not runs:
        msg = f"none of {len(given)} runs can be in a table; {left_out[0].folder}: "
        msg += left_out[0].reason
        raise SubmissionError(msg)
    return Collection(
        runs=tuple(sorted(runs.values(), key=lambda run: (run.info.model.row_name, run.info.seed))),
        left_out=tuple(left_out),
        notes=tuple(notes),
    )


def run_digest(info: RunInfo, scores_digest: str) -> str:
    """Return the sha256 over a run's identity and the digest of its scores (canonical JSON).

    The digest of the scores is not enough: models with the same frames share it.
    """
    return digest_of({"run": info.identity(), "scores": scores_digest})


def _run_folders(paths: Sequence[Path | str]) -> list[Path]:
    if not paths:
        raise ConfigError("name at least one run, or a folder of runs")
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            raise ConfigError(f"{path}: {missing_folder(path)}")
        below = [path] if (path / RUN_INFO_NAME).is_file() else _runs_below(path)
        if not below:
            raise SubmissionError(
                f"{path}: no run in it ({RUN_INFO_NAME}); create one with `tpbench eval`"
            )
        found += (folder.resolve() for folder in below)
    return found


def _runs_below(path: Path) -> list[Path]:
    files = (file.relative_to(path) for file in path.rglob(RUN_INFO_NAME))
    shown = (file for file in files if not any(part.startswith(".") for part in file.parts))
    return sorted(path / file.parent for file in shown)


def _read_or_refuse(folder: Path, only: Only) -> ScoredRun | LeftOut:
    try:
        run = Run.open(folder)
        if reason := only.reason_against(run.info):
            return LeftOut(folder=folder, reason=printable(reason))
        return _read(run)
    except TPBenchError as error:
        # The folder is named elsewhere; its path on this disk must not be published.
        reason = public_message(str(error).removeprefix(f"{folder}: "), own=[folder])
        return LeftOut(folder=folder, reason=printable(reason), refused=True)


def _read(run: Run) -> ScoredRun | LeftOut:
    folder, counts = run.folder.path, run.info.counts
    if run.info.partial:
        tried = counts.expected - counts.not_run
        reason = f"partial: {tried} of {counts.expected} clips were tried; finish the run"
        return LeftOut(folder=folder, reason=reason)
    if not (folder / SCORES_NAME).is_file():
        reason = f"not scored ({SCORES_NAME} is missing); run `tpbench eval` on it"
        return LeftOut(folder=folder, reason=reason)
    report, scores_digest = load_report(folder)
    _require_belonging(run, report)
    records = {} if run.is_scored else run.records()
    if outdated := [] if run.is_scored else _outdated(records, report):
        reason = (
            f"{SCORES_NAME} is not of the current clips ({len(outdated)} differ, the first "
            f"is '{outdated[0]}'); score them again"
        )
        return LeftOut(folder=folder, reason=reason)
    _require_possible_counts(run, report)
    _require_own_frames(run, report)
    if not report.clips:
        return LeftOut(folder=folder, reason="no clip of it has scores")
    return ScoredRun(
        run=run,
        report=report,
        scores_digest=scores_digest,
        digest=run_digest(run.info, scores_digest),
        records=records,
        verified=what_was_found(fingerprint(run.info, records, scores_digest)) or "none",
        claimed=_claimed(folder, scores_digest),
    )


def _require_belonging(run: Run, report: ScoreReport) -> None:
    """Refuse scores of a dataset or protocol that is not the run's own, or of other videos."""
    real, info = report.real, run.info
    own = {
        "dataset": (real.get("digest"), info.dataset.digest),
        "protocol": (_plain(str(report.protocol.get("id"))), _plain(info.task.protocol)),
    }
    if run.is_scored and not run.is_stamp_of(report):
        raise SubmissionError(
            f"{run.folder.path}: its {RUN_INFO_NAME} is not of its scores; score it again"
        )
    for what, (scored, made) in own.items():
        if scored != made:
            raise SubmissionError(
                f"{run.folder.path}: was generated for the {what} {made} but scored for {scored}; "
                "score it again"
            )


def _require_possible_counts(run: Run, report: ScoreReport) -> None:
    expected, scored = run.info.counts.expected, report.coverage.n_expected
    if expected != scored or not len(report.clips) <= expected:
        raise SubmissionError(
            f"{run.folder.path}: has {number_of(expected, 'clip')}, but its scores are of "
            f"{scored}, with values for {len(report.clips)}; score it again"
        )


def _require_own_frames(run: Run, report: ScoreReport) -> None:
    """Refuse per-frame values that don't belong to the scores, or lie outside the run's folder."""
    path = run.folder.path / FRAMES_NAME
    try:
        with opened_inside(run.folder.path, path) as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == report.frames_sha256
    except FileNotFoundError:
        return  # the page has no curves for this run
    except (ForeignFileError, OSError) as error:
        raise SubmissionError(f"{path}: can't be read ({error})") from error
    if report.frames_sha256 and not same:
        raise SubmissionError(f"{path}: not the file that {SCORES_NAME} names (sha256 differs)")


def _plain(protocol_id: str) -> str:
    return protocol_id.removesuffix(_CUSTOM)


def _outdated(records: Mapping[str, ClipRecord], report: ScoreReport) -> list[str]:
    """Return clips whose scores are missing or are not of the current clips."""
    done = {name: record for name, record in records.items() if record.status == "done"}
    known = report.clips.keys() | report.coverage.failed.keys()
    unscored = done.keys() - known
    gone = report.clips.keys() - done.keys()
    changed = {
        name
        for name in done.keys() & report.clips.keys()
        # Without lossless frames there is nothing to compare the scores with.
        if (sha256 := done[name].generated_sha256) is not None
        and sha256 != report.clips[name].generated_sha256
    }
    return sorted(unscored | gone | changed)


def _claimed(folder: Path, scores_digest: str) -> Verified:
    """Return the level for these scores that `verified.json` in the run claims."""
    try:
        content = read_json(folder / VERIFIED_NAME)
    except (OSError, ForeignFileError):
        return "none"
    if not isinstance(content, dict) or content.get("scores_digest") != scores_digest:
        return "none"
    return _known(content.get("level"), get_args(Verified))


def _known(level: object, levels: Iterable[Verified]) -> Verified:
    return next((known for known in levels if known == level), "none")


_SEED: Final = re.compile(r"seed-?\d+(\.shard\d+of\d+)?")
_DIGEST: Final = re.compile(r".*@[0-9a-f]{1,8}")


def run_name(folder: Path) -> str:
    """Return the parts of a folder's path that describe the run: model, dataset, task, seed.

    For a folder named otherwise, only the last part: the path above it is private.

    >>> from pathlib import Path
    >>> run_name(Path("/home/me/runs/warp/talks@1a2b3c4d/self-tpbench-v1/seed42"))
    'warp/talks@1a2b3c4d/self-tpbench-v1/seed42'
    >>> run_name(Path("/home/me/sent by somebody"))
    'sent by somebody'
    """
    parts = folder.parts[-4:]
    own = len(parts) == 4 and _SEED.fullmatch(parts[-1]) and _DIGEST.fullmatch(parts[1])
    return printable("/".join(parts) if own else folder.name)


def require_agreement(runs: Sequence[ScoredRun]) -> None:
    """Refuse runs that are not comparable in one table.

    Raises:
        SubmissionError: two runs differ in task, protocol, dataset, split, or versions of metrics;
            a metric has a version unknown to this tpbench; or a model has two configurations, or
            two runs with one seed. The message names two runs and what differs.
    """
    first = runs[0]
    for other in runs[1:]:
        _require_same_conditions(first, other)
    _require_known_metrics(first)
    by_model: dict[str, ScoredRun] = {}
    by_seed: dict[tuple[str, int], ScoredRun] = {}
    for run in runs:
        name, seed = run.info.model.row_name, run.info.seed
        _require_same_form(by_model.setdefault(name, run), run)
        if (twin := by_seed.setdefault((name, seed), run)) is not run:
            raise SubmissionError(
                f"{twin.path} and {run.path} are both '{name}' with seed {seed}, and their results "
                "differ: leave one out, or give one a name of its own by `--name`"
            )


def _require_same_conditions(one: ScoredRun, other: ScoredRun) -> None:
    ours, theirs = _conditions(one), _conditions(other)
    differences = [
        f"{what} ({ours[what]} and {theirs[what]})" for what in ours if ours[what] != theirs[what]
    ]
    # Different protocols have different metrics; listing these adds nothing.
    if ours["protocol"] == theirs["protocol"]:
        differences += _metric_differences(one, other)
    if differences:
        raise SubmissionError(
            f"{one.path} and {other.path} can't be in one table: they differ in "
            f"{'; '.join(differences)}"
            f"{how_to_agree((one.run, one.report), (other.run, other.report))}"
        )


def _conditions(run: ScoredRun) -> Mapping[str, str]:
    """Return the conditions that must be equal, as short but unambiguous text."""
    info, report = run.info, run.report
    task, dataset, protocol = info.task, info.dataset, report.protocol
    policies = ", ".join(f"{name} {value}" for name, value in sorted(report.policies.items()))
    return {
        "task": f"{task.id} v{task.version}, {task.min_frames} frames or more",
        "protocol": f"{protocol.get('id')} {_short(protocol.get('digest'))}",
        "policies": policies,
        "dataset": f"{dataset.name} {_short(dataset.digest)}",
        "split": dataset.split,
        "clips": f"{number_of(dataset.n_clips, 'clip')} {_short(dataset.clips_digest)}",
    }


def how_to_agree(one: tuple[Run, ScoreReport], other: tuple[Run, ScoreReport]) -> str:
    """Return advice for two runs that can't share a table, as the end of a sentence, or ""."""
    (run, report), (other_run, other_report) = one, other
    if run.is_scored != other_run.is_scored:
        scored = run if run.is_scored else other_run
        name = shlex.quote(scored.info.model.row_name)
        return (
            ": to put the scored videos beside runs of `tpbench eval`, score them on its dataset, "
            f"too: tpbench eval --model precomputed --name {name} --videos VIDEOS --data DATASET"
        )
    if run.is_scored and report.policies != other_report.policies:
        names = [
            f"--{name.replace('_', '-')}"
            for name in report.policies
            if report.policies[name] != other_report.policies.get(name)
        ]
        return f": score both by `tpbench score` with the same {', '.join(names)}"
    ids = [str(each.protocol.get("id")) for each in (report, other_report)]
    custom = {name.endswith(_CUSTOM) for name in ids}
    digests = {each.protocol.get("digest") for each in (report, other_report)}
    if ids[0].removesuffix(_CUSTOM) == ids[1].removesuffix(_CUSTOM) and len(digests) > 1:
        if custom == {True, False}:
            return ": one was scored with --metrics; score both with the same, or both without"
        if custom == {True}:
            return ": score both with the same --metrics"
    return _newer_protocol(report.protocol, other_report.protocol) or _other_protocol(
        report.protocol, other_report.protocol
    )


def _newer_protocol(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return advice if two runs were scored by two versions of a protocol, else ""."""
    (first, v1), (second, v2) = (
        (str(protocol.get("id")).partition("+")[0], protocol.get("version"))
        for protocol in (one, other)
    )
    now = RETIRED_PROTOCOLS.get(first, first)
    if (first, v1) == (second, v2) or now != RETIRED_PROTOCOLS.get(second, second):
        return ""
    return f": score the older one again by protocol '{now}', or keep the two kinds apart"


def _other_protocol(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return advice if two runs were scored by different protocols, else ""."""
    first, second = (str(protocol.get("id")).removesuffix(_CUSTOM) for protocol in (one, other))
    if first == second:
        return ""
    return ": name the runs that belong together, or keep each protocol in a folder of its own"


def _metric_differences(one: ScoredRun, other: ScoredRun) -> Iterator[str]:
    """Yield metrics that differ in version or that only one run has."""
    ours = {name: score.version for name, score in one.report.metrics.items()}
    theirs = {name: score.version for name, score in other.report.metrics.items()}
    for name in sorted(ours.keys() & theirs.keys()):
        if ours[name] != theirs[name]:
            yield f"the version of {name} ({ours[name]} and {theirs[name]})"
    if alone := sorted(ours.keys() ^ theirs.keys()):
        more = f" and {len(alone) - _SHOWN} more" if len(alone) > _SHOWN else ""
        yield f"their metrics (only one has {', '.join(alone[:_SHOWN])}{more})"


def _require_known_metrics(run: ScoredRun) -> None:
    for name, score in run.report.metrics.items():
        if metric_at(name, score.version) is None:
            row = METRICS.get(name)
            known = "has no such metric" if row is None else f"has version {row.version}"
            raise SubmissionError(
                f"{run.path}: {name} was scored by version {score.version}, and this tpbench "
                f"{known}; score the run again"
            )


def _require_same_form(one: ScoredRun, other: ScoredRun) -> None:
    ours, theirs = one.info.model.configuration, other.info.model.configuration
    if ours == theirs:
        return
    keys = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
    raise SubmissionError(
        f"{one.path} and {other.path} are both '{one.info.model.row_name}', but differ in "
        f"{', '.join(keys)}: leave one out, or give one a name of its own by `--name`"
    )


def _short(digest: object) -> str:
    return str(digest)[:12]
