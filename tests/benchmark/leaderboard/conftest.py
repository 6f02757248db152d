"""Runs without clips: `run.json`, records and scores, written by the code that writes real ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tpbench.benchmark.leaderboard.assemble import assemble
from tpbench.benchmark.leaderboard.board import Leaderboard
from tpbench.benchmark.leaderboard.collect import collect
from tpbench.benchmark.run_folder import ClipRecord, RunFolder, run_path
from tpbench.benchmark.run_info import (
    CodeStamp,
    DatasetStamp,
    EnvironmentStamp,
    HardwareStamp,
    ModelStamp,
    RunCounts,
    RunInfo,
    Session,
    TaskStamp,
    Timings,
    write_run_info,
)
from tpbench.metrics.registry import METRICS, PROTOCOLS
from tpbench.metrics.scoring.reduce import ScoredClip, mean_score, not_measured
from tpbench.metrics.scoring.report import (
    SCORES_NAME,
    ClipScores,
    Coverage,
    MetricScore,
    ScoreReport,
    write_scores,
)

METRIC_IDS = ("psnr", "identical_share", "fid", "tje_d2", "motion_ratio", "drift_psnr_slope")

PEOPLE = tuple(f"person{number}" for number in range(6))
"""Identity of each clip; `clip0` is the first."""

DATASET_DIGEST = "d" * 64

COMMAND = ("tpbench", "eval", "--model", "mine", "--data", "/home/me/talks", "--device", "cpu")


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def of_part(part: str, **changes: Any) -> Callable[[RunInfo], RunInfo]:  # noqa: ANN401 - any field
    """A change of one part of `run.json`."""

    def change(info: RunInfo) -> RunInfo:
        return info.model_copy(update={part: getattr(info, part).model_copy(update=changes)})

    return change


def of_report(**changes: Mapping[str, Any]) -> Callable[[ScoreReport], ScoreReport]:
    """A change of mappings in the scores."""

    def change(report: ScoreReport) -> ScoreReport:
        merged: dict[str, Any] = {n: {**getattr(report, n), **new} for n, new in changes.items()}
        return replace(report, **merged)

    return change


def of_score(name: str, **changes: Any) -> Callable[[ScoreReport], ScoreReport]:  # noqa: ANN401
    """A change of one metric of the scores."""
    return lambda report: of_report(metrics={name: replace(report.metrics[name], **changes)})(
        report
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Writes runs below one folder."""

    out: Path
    data: Path

    def __call__(
        self,
        model: str = "mine",
        *,
        kind: str = "custom",
        display_name: str | None = None,
        seed: int = 42,
        people: Sequence[str | None] = PEOPLE,
        clip_ids: Sequence[str] | None = None,
        failed: Mapping[str, str] | None = None,
        sets: Mapping[str, float] | None = None,
        blank: Mapping[str, str] | None = None,
        info: Callable[[RunInfo], RunInfo] | None = None,
        report: Callable[[ScoreReport], ScoreReport] | None = None,
        **values: float | Sequence[float],
    ) -> Path:
        """Write a run.

        Args:
            model: its name.
            kind: of the model.
            display_name: its name if not given.
            seed: of the run.
            people: identity of each clip.
            clip_ids: `clip0`, `clip1` and so on if not given.
            failed: clip -> reason, of clips that were not made.
            sets: value of each metric over all clips.
            blank: metric -> reason, of metrics that were not measured.
            info: changes `run.json` before it is written.
            report: changes the scores before they are written.
            values: by metric, for every clip or all of them; 1 for those not named.
        """
        made = self._info(model, kind, display_name or model, seed, people, failed or {})
        made = info(made) if info else made
        path = run_path(
            self.out,
            model=model,
            dataset=made.dataset.name,
            split=made.dataset.split,
            digest=made.dataset.digest,
            task=made.task.id,
            protocol=made.task.protocol,
            seed=seed,
        )
        folder = RunFolder(path=path)
        write_run_info(path, made)
        names = clip_ids or [f"clip{n}" for n in range(len(people))]
        identities = dict(zip(names, people, strict=True))
        for clip_id in identities:
            _record(clip_id, model, seed, failed or {}).write(folder.record(clip_id))
        scored = {clip: name for clip, name in identities.items() if clip not in (failed or {})}
        scores = _report(made, scored, values, sets or {"fid": 10.0}, blank or {})
        write_scores(path / SCORES_NAME, report(scores) if report else scores)
        return path

    def anchors(self) -> list[Path]:
        """Write a run of each anchor."""
        names = ("frozen", "gt-reencode", "oracle")
        return [self(name, kind="anchor", display_name=f"The {name}") for name in names]

    def _info(
        self,
        model: str,
        kind: str,
        display_name: str,
        seed: int,
        people: Sequence[str | None],
        failed: Mapping[str, str],
    ) -> RunInfo:
        return RunInfo(
            model=ModelStamp(
                name=model, display_name=display_name, kind=kind, configuration={"gain": 0.9}
            ),
            dataset=DatasetStamp(
                name="Small talks",
                digest=DATASET_DIGEST,
                split="test",
                clips_digest=sha("clips"),
                n_clips=len(people),
                n_identities=len(set(people)),
                left_out={"short": 90},
                folder=str(self.data),
            ),
            task=TaskStamp(id="self", version=1, min_frames=101, protocol="tpbench-v2"),
            seed=seed,
            encoding="ffv1",
            partial=False,
            counts=RunCounts(
                expected=len(people),
                done=len(people) - len(failed),
                failed=len(failed),
                quarantined=0,
                not_run=0,
                frames=120 * (len(people) - len(failed)),
            ),
            timings=Timings(
                gen_s=60.0, frames_per_s=12.0, peak_host_bytes=10**9, peak_gpu_bytes=None
            ),
            sessions=(_session(model),),
        )


def _session(model: str) -> Session:
    return Session(
        command=(*COMMAND[:3], model, *COMMAND[4:]),
        started_at="2026-03-01T23:00:00+00:00",
        ended_at="2026-03-02T01:00:00+00:00",
        workers=2,
        device="cpu, cpu",
        clips_to_do=6,
        code=CodeStamp(version="0.1.0"),
        environment=EnvironmentStamp(python="3.11.9", platform="Linux", packages={}),
        hardware=HardwareStamp(processor="A processor", cores=2, memory_bytes=10**10),
    )


def _record(clip_id: str, model: str, seed: int, failed: Mapping[str, str]) -> ClipRecord:
    if clip_id in failed:
        return ClipRecord(
            clip_id=clip_id, status="failed", inputs=sha("in"), reason=failed[clip_id]
        )
    return ClipRecord(
        clip_id=clip_id,
        status="done",
        inputs=sha("in"),
        n_frames=120,
        fps="25",
        width_px=64,
        height_px=64,
        encoding="ffv1",
        generated_sha256=sha(f"{model} {seed} {clip_id}"),
        frames_sha256=sha(f"frames of {model} {seed} {clip_id}"),
        gen_s=10.0,
    )


def _report(
    info: RunInfo,
    identities: Mapping[str, str | None],
    values: Mapping[str, float | Sequence[float]],
    sets: Mapping[str, float],
    blank: Mapping[str, str],
) -> ScoreReport:
    protocol = PROTOCOLS["tpbench-v2"].with_metrics(METRIC_IDS)
    clips = [
        ScoredClip(
            scores=ClipScores(
                clip_id=clip_id,
                identity=identity,
                n_frames=119,
                real_sha256=sha(clip_id),
                generated_sha256=sha(f"{info.model.name} {info.seed} {clip_id}"),
                codec="ffv1",
                notes=(),
                values={
                    name: _of_clip(values.get(name, 1.0), number)
                    for name in METRIC_IDS
                    if name != "fid" and name not in blank
                },
            ),
            too_short=frozenset(),
        )
        for number, (clip_id, identity) in enumerate(identities.items())
    ]
    settings = {name: getattr(protocol, name) for name in protocol.__dataclass_fields__}
    return ScoreReport(
        protocol={**settings, "digest": protocol.digest},
        policies={"length": "fail", "resize": "fail", "rate": "fail", "first_frame": 1},
        real={
            "kind": "dataset",
            "name": info.dataset.name,
            "digest": info.dataset.digest,
            "split": info.dataset.split,
        },
        coverage=Coverage(
            n_expected=info.dataset.n_clips,
            n_scored=len(clips),
            missing=(),
            failed={},
            extra=(),
        ),
        metrics={name: _score(name, clips, sets, blank) for name in METRIC_IDS},
        clips={clip.scores.clip_id: clip.scores for clip in clips},
        frames_sha256=sha("frames"),
        environment={"python": "3.11.9"},
    )


def _of_clip(given: float | Sequence[float], number: int) -> float:
    return float(given) if isinstance(given, int | float) else float(given[number])


def _score(
    name: str, clips: Sequence[ScoredClip], sets: Mapping[str, float], blank: Mapping[str, str]
) -> MetricScore:
    if name in blank:
        return not_measured(METRICS[name], blank[name])
    if name not in sets:
        return mean_score(METRICS[name], clips)
    empty = not_measured(METRICS[name], "")
    return replace(
        empty,
        status="measured",
        value=sets[name],
        reason=None,
        interval_reason="all clips together give one value",
        n_clips=len(clips),
    )


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    data = tmp_path / "talks"
    data.mkdir()
    return Runs(out=tmp_path / "runs", data=data)


def board_of(*paths: Path) -> Leaderboard:
    """The leaderboard of these runs."""
    return assemble(collect(paths))
