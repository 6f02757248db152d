"""One row per model, from its runs with all seeds."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final

from tpbench.baselines import registry
from tpbench.benchmark.leaderboard.collect import ScoredRun
from tpbench.benchmark.leaderboard.command import command_of
from tpbench.benchmark.leaderboard.model import ANCHORS, Row, SeedRun, Verified
from tpbench.benchmark.leaderboard.seeds import cell, clip_badness, identities_of
from tpbench.benchmark.run_info import ModelStamp, Session
from tpbench.errors import SubmissionError
from tpbench.metrics.registry import MetricRow
from tpbench.privacy import public_message

_STRENGTH: Final[tuple[Verified, ...]] = ("none", "digest", "rerun")

_WEIGHT_FREE: Final = frozenset({"anchor", "baseline"})


def rows_of(runs: Sequence[ScoredRun], metrics: Sequence[MetricRow]) -> tuple[Row, ...]:
    """Return the rows: measured ones by display name, then the anchors.

    Args:
        runs: that agree (see `require_agreement`), by model and seed.
        metrics: of the columns.

    Raises:
        SubmissionError: two names can't be told apart.
    """
    groups = groupby(runs, key=lambda run: run.info.model.name)
    rows = sorted((_row(list(group), metrics) for _name, group in groups), key=_place)
    shown = Counter(row.id for row in rows)
    if alike := [name for name, times in shown.items() if times > 1]:
        raise SubmissionError(
            f"two models are shown as '{alike[0]}': their names differ in what can't be seen"
        )
    return tuple(rows)


def _place(row: Row) -> tuple[bool, int, str, str]:
    order = ANCHORS.index(row.id) if row.id in ANCHORS else len(ANCHORS)
    anchor = row.kind == "anchor"
    return anchor, order if anchor else 0, row.display_name.casefold(), row.id


def _row(runs: Sequence[ScoredRun], metrics: Sequence[MetricRow]) -> Row:
    stamp = runs[0].info.model
    reports = [run.report for run in runs]
    by_seed = {run.info.seed: run.report for run in runs}
    identities = identities_of(reports)
    n_expected = sum(run.info.counts.expected for run in runs)
    peaks = [b for run in runs if (b := run.info.timings.peak_gpu_bytes) is not None]
    return Row(
        id=one_line(stamp.name),
        display_name=_display_name(stamp),
        kind="anchor" if stamp.kind == "anchor" else "measured",
        description=_description(stamp),
        url=one_line(stamp.url) if stamp.url else "",
        cells={metric.id: cell(metric, by_seed) for metric in metrics},
        badness={
            metric.id: clip_badness(metric, reports)
            for metric in metrics
            if metric.reduction != "set"
        },
        runs=tuple(_seed_run(run) for run in runs),
        n_clips=len(identities),
        n_identities=len({name for name in identities.values() if name is not None}),
        coverage=sum(len(report.clips) for report in reports) / n_expected,
        params_b=stamp.params_b,
        gen_fps=_frames_per_s(runs),
        peak_gpu_gb=max(peaks) / 1e9 if peaks else None,
        hardware=_hardware(runs),
        code=_joined(session.code.short for run in runs for session in run.info.sessions),
        licence_code=_licence(stamp.licence_code),
        licence_weights=_weights_licence(stamp),
        run_digest=_row_digest(runs),
        verified=min((run.verified for run in runs), key=_STRENGTH.index),
        claimed=min((run.claimed for run in runs), key=_STRENGTH.index),
        date=max(_date(run) for run in runs),
        command=command_of(runs),
    )


def one_line(text: str) -> str:
    r"""Return a name without line breaks, control characters, or those that turn text around.

    >>> one_line(" two\nlines\t\u202e ")
    'two lines'
    """
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(plain.split()) or "unnamed"


def _display_name(stamp: ModelStamp) -> str:
    """Return the name for people; that of a variant says which it is."""
    name, (_id, _, variant) = one_line(stamp.display_name), stamp.name.partition(":")
    known = stamp.kind != "custom"
    return f"{name} ({one_line(variant)})" if known and variant else name


def _description(stamp: ModelStamp) -> str:
    row = registry.MODELS.get(stamp.name.partition(":")[0])
    return row.description if row is not None and row.kind == stamp.kind else ""


def _seed_run(run: ScoredRun) -> SeedRun:
    report = run.report
    failed = dict.fromkeys(report.coverage.missing, "nothing was generated for it")
    failed |= {name: record.reason for name, record in run.records.items() if record.reason}
    failed |= report.coverage.failed
    previews = {name: run.records[name].preview_sha256 for name in report.clips}
    return SeedRun(
        seed=run.info.seed,
        folder=run.path,
        digest=run.digest,
        scores_digest=run.scores_digest,
        verified=run.verified,
        claimed=run.claimed,
        date=_date(run),
        n_scored=len(report.clips),
        failed={
            # Runs of older versions name files by their whole path.
            clip_id: one_line(public_message(failed[clip_id], own=[run.path]))
            for clip_id in sorted(failed)
        },
        previews={clip_id: sha256 for clip_id, sha256 in previews.items() if sha256},
    )


def _frames_per_s(runs: Sequence[ScoredRun]) -> float | None:
    if len(runs) == 1:
        return runs[0].info.timings.frames_per_s
    took_s = sum(run.info.timings.gen_s for run in runs)
    return sum(run.info.counts.frames for run in runs) / took_s if took_s else None


def _hardware(runs: Sequence[ScoredRun]) -> str:
    return _joined(_machine(session) for run in runs for session in run.info.sessions)


def _machine(session: Session) -> str:
    hardware = session.hardware
    if hardware.gpus and "cuda" in session.device:
        return ", ".join(hardware.gpus)
    return f"{hardware.processor}, {hardware.cores} cores"


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(one_line(text) for text in texts))


def _licence(text: str) -> str:
    return one_line(text) if text.strip() else "not stated"


def _weights_licence(stamp: ModelStamp) -> str:
    if stamp.kind in _WEIGHT_FREE and not stamp.licence_weights:
        return "no weights"
    return _licence(stamp.licence_weights)


def _row_digest(runs: Sequence[ScoredRun]) -> str:
    if len(runs) == 1:
        return runs[0].digest
    return hashlib.sha256("\n".join(run.digest for run in runs).encode()).hexdigest()


def _date(run: ScoredRun) -> str:
    sessions = run.info.sessions
    times: Mapping[str, None] = dict.fromkeys(s.ended_at or s.started_at for s in sessions)
    return max(times, default="")[:10]
