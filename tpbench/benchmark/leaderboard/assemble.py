"""Assembles comparable runs into a leaderboard: one row per model, with its command."""

from __future__ import annotations

import hashlib
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from tpbench.baselines import registry
from tpbench.baselines.registry import load_reported
from tpbench.benchmark.how_to_report import how_to_report
from tpbench.benchmark.judging import (
    clip_badness,
    clip_means,
    distance_of,
    identities_of,
    score_over_seeds,
)
from tpbench.benchmark.leaderboard.board import (
    ANCHORS,
    ClipInfo,
    Leaderboard,
    Row,
    SeedRun,
    marks_of,
)
from tpbench.benchmark.leaderboard.collect import (
    Collection,
    ScoredRun,
    Verified,
    require_agreement,
)
from tpbench.benchmark.previews import ClipPreviews, preview_record
from tpbench.benchmark.run_info import DatasetStamp, ModelStamp, Session
from tpbench.benchmark.tasks import PAIR_JOINT, TASKS
from tpbench.errors import SubmissionError
from tpbench.metrics.registry import (
    METRICS,
    PROTOCOLS,
    RETIRED_PROTOCOLS,
    MetricRow,
    as_pooled,
    metric_at,
)
from tpbench.privacy import public_message, public_option

DATASET: Final = "DATASET"
"""Placeholder in commands for the folder of the dataset, whose path differs between machines."""
WEIGHTS: Final = "WEIGHTS"
"""Placeholder for the folder of checkpoints."""
VIDEOS: Final = "VIDEOS"
"""Placeholder for the folder of videos that were generated elsewhere."""
_PLACEHOLDERS: Final = {"--weights": WEIGHTS, "--videos": VIDEOS}
_STRENGTH: Final[tuple[Verified, ...]] = ("none", "digest", "rerun")
_COPIES: Final = frozenset({"precomputed"})
"""Models that copy frames made elsewhere, besides the anchors: their speed is that of the disk."""
_WEIGHT_FREE: Final = frozenset({"anchor", "baseline"})


def assemble(collection: Collection, *, data: Path | None = None) -> Leaderboard:
    """Return the leaderboard of collected runs.

    Args:
        collection: the runs.
        data: folder of their dataset, as given by the user who builds the leaderboard.

    Raises:
        SubmissionError: the runs are not comparable.
    """
    runs = collection.runs
    require_agreement(runs)
    first = runs[0]
    metrics = _metrics(first)
    rows = _rows(runs, metrics)
    identities = identities_of([run.report for run in runs])
    there = {row.id for row in rows if row.kind == "anchor"}
    retired = first.info.task.protocol in RETIRED_PROTOCOLS
    has_anchors = not retired and not first.run.is_scored  # no model generated scored videos
    wanted = [anchor for anchor in ANCHORS if anchor not in there and has_anchors]
    return Leaderboard(
        task=first.info.task,
        dataset=_dataset(first, identities),
        protocol=first.report.protocol,
        policies=first.report.policies,
        data=data,
        metrics=metrics,
        rows=rows,
        marks={metric.id: marks_of(metric, rows, identities) for metric in metrics},
        clips=_clips(runs),
        missing_anchors={anchor: _command(first, anchor, [first.info.seed]) for anchor in wanted},
        reported=load_reported(),
        left_out=collection.left_out,
        notes=(*collection.notes, *_remarks(rows)),
        how_to_report=how_to_report([run.report for run in runs]),
    )


def _dataset(run: ScoredRun, identities: Mapping[str, str | None]) -> DatasetStamp:
    """Return the dataset; scored folders name only the identities that they have clips of."""
    if not run.run.is_scored or None in identities.values():
        return run.info.dataset
    return run.info.dataset.model_copy(update={"n_identities": len(set(identities.values()))})


def _metrics(run: ScoredRun) -> tuple[MetricRow, ...]:
    """Return the metrics in the protocol's order, or the registry's if metrics were chosen.

    Each in the version that scored the run, pooled as in its protocol.
    """
    scores = run.report.metrics
    chosen = "+" in str(run.report.protocol["id"])
    rows = (metric_at(name, scores[name].version) for name in scores)
    settings = run.report.protocol
    found = {row.id: as_pooled(row, settings) for row in rows if row is not None}
    order = [name for name in METRICS if name in found] if chosen else list(found)
    return tuple(found[name] for name in order)


def _remarks(rows: Sequence[Row]) -> list[str]:
    return [
        f"{row.id}: coverage {row.coverage:.3f}: values are those of the {row.n_clips} clips with "
        "scores, and it is never marked as best"
        for row in rows
        if not row.complete
    ]


def _clips(runs: Sequence[ScoredRun]) -> tuple[ClipInfo, ...]:
    crossed = runs[0].info.task.id.partition(".")[0] == "cross"
    found = {clip_id: scores for run in runs for clip_id, scores in run.report.clips.items()}
    clips = []
    for clip_id in sorted(found):
        driving, _, reference = clip_id.partition(PAIR_JOINT) if crossed else (clip_id, "", clip_id)
        clips.append(
            ClipInfo(
                id=clip_id,
                identity=found[clip_id].identity,
                n_frames=found[clip_id].n_frames,
                reference_clip=reference,
                driving_clip=driving,
            )
        )
    return tuple(clips)


def _rows(runs: Sequence[ScoredRun], metrics: Sequence[MetricRow]) -> tuple[Row, ...]:
    """Return the rows: models by display name, then the anchors."""
    groups = groupby(runs, key=lambda run: run.info.model.row_name)
    rows = sorted((_row(list(group), metrics) for _name, group in groups), key=_place)
    shown = Counter(row.id for row in rows)
    if alike := [name for name, times in shown.items() if times > 1]:
        raise SubmissionError(
            f"two models are shown as '{alike[0]}': their names differ in invisible characters "
            "only; give one of them another name by `--name`"
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
    scores = {metric.id: score_over_seeds(metric, by_seed) for metric in metrics}
    identities = identities_of(reports)
    n_expected = sum(run.info.counts.expected for run in runs)
    peaks = [b for run in runs if (b := run.info.timings.peak_gpu_bytes) is not None]
    return Row(
        id=one_line(stamp.row_name),
        display_name=one_line(stamp.full_name),
        kind="anchor" if stamp.kind == "anchor" else "measured",
        description=_description(stamp),
        **_links(stamp),
        scores=scores,
        distances={
            metric.id: distance_of(metric, reports)
            for metric in metrics
            if metric.target is not None
            and metric.reduction != "set"
            and not math.isnan(scores[metric.id].value)
        },
        values={
            metric.id: clip_means(reports, metric.id)
            for metric in metrics
            if metric.reduction != "set"
        },
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
        hardware=_joined(_machine(session) for run in runs for session in run.info.sessions),
        code=_joined(session.code.short for run in runs for session in run.info.sessions),
        licence_code=_licence(stamp.licence_code),
        licence_weights=_weights_licence(stamp),
        run_digest=_row_digest(runs),
        verified=min((run.verified for run in runs), key=_STRENGTH.index),
        claimed=min((run.claimed for run in runs), key=_STRENGTH.index),
        date=max(_date(run) for run in runs),
        command=_command_of(runs),
    )


def one_line(text: str) -> str:
    r"""Return a name without line breaks, control characters, or marks of text direction.

    >>> one_line(" two\nlines\t\u202e ")
    'two lines'
    """
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(plain.split()) or "unnamed"


def _description(stamp: ModelStamp) -> str:
    row = registry.MODELS.get(stamp.name.partition(":")[0])
    return row.description if row is not None and row.kind == stamp.kind else ""


def _links(stamp: ModelStamp) -> dict[str, str]:
    """Return the addresses of a model; older runs have that of the code only."""
    row = registry.MODELS.get(stamp.name.partition(":")[0])
    known = row if row is not None and row.kind == stamp.kind else None
    found = {
        "url": stamp.url,
        "paper_url": stamp.paper_url or (known.paper_url if known else ""),
        "weights_url": stamp.weights_url or (known.weights_url if known else ""),
    }
    return {name: one_line(address) if address else "" for name, address in found.items()}


def _seed_run(run: ScoredRun) -> SeedRun:
    report = run.report
    failed = dict.fromkeys(report.coverage.missing, "nothing was generated for it")
    failed |= {name: record.reason for name, record in run.records.items() if record.reason}
    failed |= report.coverage.failed
    previews = {name: r.preview_sha256 for name in report.clips if (r := run.records.get(name))}
    of_scored = _of_scored(run)
    previews |= {name: record.generated_sha256 for name, record in of_scored.items()}
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
            # Runs of older versions contain whole paths of files.
            clip_id: one_line(public_message(failed[clip_id], own=[run.path]))
            for clip_id in sorted(failed)
        },
        previews={clip_id: sha256 for clip_id, sha256 in previews.items() if sha256},
        real_previews={name: sha for name, one in of_scored.items() if (sha := one.real_sha256)},
    )


def _of_scored(run: ScoredRun) -> dict[str, ClipPreviews]:
    """Return, by clip, the previews in a folder of `tpbench score`; a run of `eval` has records."""
    if not run.run.is_scored:
        return {}
    found = {clip_id: preview_record(run.run.folder, clip_id) for clip_id in run.report.clips}
    return {clip_id: record for clip_id, record in found.items() if record is not None}


def _frames_per_s(runs: Sequence[ScoredRun]) -> float | None:
    stamp = runs[0].info.model
    if stamp.kind == "anchor" or stamp.name.partition(":")[0] in _COPIES:
        return None
    if len(runs) == 1:
        return runs[0].info.timings.frames_per_s
    took_s = sum(run.info.timings.gen_s for run in runs)
    return sum(run.info.counts.frames for run in runs) / took_s if took_s else None


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
    return max((s.ended_at or s.started_at for s in run.info.sessions), default="")[:10]


def _command_of(runs: Sequence[ScoredRun]) -> str | None:
    """Return the command that generates the runs of one model again; None if only Python can.

    Options of the model come from the recorded commands, the rest from `run.json`; folders, limits
    and the like don't affect results. Secrets and folders among the options are replaced by
    placeholders. A run generated by a call from Python has no recorded options, so none are given.
    """
    first = runs[0]
    name = first.info.model.name
    if first.run.is_scored:
        return _score_command(first)
    if first.info.model.kind == "custom" and ":" not in name:
        return None
    if "spec" in first.info.model.configuration:  # from a spec outside the package
        name = f"{name}.yaml"
    recorded = next((s.command for s in first.info.sessions if s.command), ())
    given = first.info.model.given_name
    options = [*(["--name", given] if given else []), *_model_options(recorded)]
    return _command(first, name, [run.info.seed for run in runs], options)


def _command(like: ScoredRun, model: str, seeds: Sequence[int], options: Iterable[str] = ()) -> str:
    """Return the command that evaluates a model under the same conditions as a run."""
    words = ["tpbench", "eval", "--model", model, *options, *_conditions(like)]
    return shlex.join([*words, "--seeds", ",".join(map(str, seeds))])


def _score_command(run: ScoredRun) -> str:
    """Return the command that scores the videos of a method again."""
    info, given = run.info, run.info.model.row_name
    whole = PROTOCOLS.get(info.task.protocol)
    words = ["tpbench", "score", "--real", DATASET, "--generated", f"{given}={VIDEOS}"]
    if info.dataset.split != "all":
        words += ["--split", info.dataset.split]
    words += ["--protocol", info.task.protocol]
    if str(run.report.protocol["id"]).endswith("+custom"):
        words += ["--metrics", ",".join(run.report.metrics)]
    for name, value in run.report.policies.items():
        if value != (getattr(whole, name, None) if name != "first_frame" else 0):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def _conditions(run: ScoredRun) -> Iterator[str]:
    task, protocol = run.info.task, run.report.protocol
    yield from ("--data", DATASET, "--split", run.info.dataset.split)
    task_id, _, variant = task.id.partition(".")
    yield from ("--task", task_id)
    if variant or (task_id in TASKS and TASKS[task_id].min_frames != task.min_frames):
        yield from ("--min-frames", str(task.min_frames))
    yield from ("--protocol", task.protocol.removesuffix("+custom"))
    if str(protocol["id"]).endswith("+custom"):
        yield from ("--metrics", ",".join(run.report.metrics))


def _model_options(recorded: Sequence[str]) -> Iterator[str]:
    """Yield the options of a recorded command that affect the generated frames."""
    words = iter(recorded)
    for word in words:
        option, equals, value = word.partition("=")
        if option == "--reference-quirks":
            yield option
        elif option in _PLACEHOLDERS:
            next(words, "") if not equals else None
            yield from (option, _PLACEHOLDERS[option])
        elif option == "--option":
            yield from (option, public_option(value if equals else next(words, "")))
