"""What `verify` checks: files against records, and scores computed again."""

from __future__ import annotations

import json
import logging
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tpbench.benchmark.evaluation import pair_clips
from tpbench.benchmark.leaderboard.collect import VERIFIED_NAME
from tpbench.benchmark.request import RunPlan
from tpbench.benchmark.run_folder import ClipRecord, Run, inputs_key, now, updated
from tpbench.benchmark.run_info import RUN_INFO_NAME
from tpbench.benchmark.site import fingerprint, note, what_was_found
from tpbench.errors import SubmissionError
from tpbench.files import require_regular, sha256_of, write_text_aside
from tpbench.metrics.registry import METRICS
from tpbench.metrics.scoring.meters import METERS
from tpbench.metrics.scoring.report import FRAMES_NAME, SCORES_NAME, ScoreReport, load_report
from tpbench.metrics.scoring.run import ScoringSetting, score_pairs
from tpbench.work import ProgressListener

if TYPE_CHECKING:
    import pandas as pd

PIXEL_TOLERANCE: Final = 1e-9
"""Of what is computed from pixels alone, relative to the value, or absolute below 1."""
NETWORK_TOLERANCE: Final = 1e-5
"""Of what a network or a detector has a part in: other processors round otherwise."""
_KEYS: Final = ["clip_id", "frame"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreements:
    """What did not come out again."""

    scores: tuple[str, ...]
    """One line each."""
    frames: tuple[str, ...]
    """One line for each clip."""
    not_measured: tuple[str, ...]
    """Metrics that have a value and can't be measured here."""
    n_compared: int
    """Values that agree."""
    intervals_compared: bool
    """Whether the intervals were: not if they were made by another method than today's."""


def disagreements(
    written: tuple[ScoreReport, Path], again: tuple[ScoreReport, Path]
) -> Disagreements:
    """Compare two scorings of the same clips.

    Args:
        written: scores and the file of frames that a run has.
        again: those that come out now.
    """
    count = _Count()
    lacking = tuple(
        name
        for name, score in written[0].metrics.items()
        if score.status == "measured" and again[0].metrics[name].status != "measured"
    )
    scores = [*_of_sets(written[0], again[0], lacking, count)]
    scores += _of_clips(written[0], again[0], lacking, count)
    return Disagreements(
        scores=tuple(scores),
        frames=tuple(_of_frames(written[1], again[1], count)),
        not_measured=lacking,
        n_compared=count.agreeing,
        intervals_compared=_have_one_method(written[0], again[0]),
    )


@dataclass(slots=True)
class _Count:
    agreeing: int = 0


def _have_one_method(written: ScoreReport, again: ScoreReport) -> bool:
    return written.statistics == again.statistics


def _of_sets(
    written: ScoreReport, again: ScoreReport, lacking: tuple[str, ...], count: _Count
) -> Iterator[str]:
    ends = ("low", "high") if _have_one_method(written, again) else ()
    for name, old in written.metrics.items():
        new = again.metrics[name]
        if name in lacking or old.status != "measured":
            continue
        for what in ("value", *ends):
            before, after = _plain(getattr(old, what)), _plain(getattr(new, what))
            if _agree(before, after, _tolerance(name)):
                count.agreeing += 1
            else:
                which = name if what == "value" else f"{name}, {what} end of the interval"
                yield f"{which}: {_difference(before, after)}"


def _of_clips(
    written: ScoreReport, again: ScoreReport, lacking: tuple[str, ...], count: _Count
) -> Iterator[str]:
    """Yield a line for each metric: how many clips differ, and the first of them."""
    common = sorted(written.clips.keys() & again.clips.keys())
    for name in (name for name in written.metrics if name not in lacking):
        differing = []
        for clip_id in common:
            before = _plain(written.clips[clip_id].values.get(name))
            after = _plain(again.clips[clip_id].values.get(name))
            if _agree(before, after, _tolerance(name)):
                count.agreeing += 1
            else:
                differing.append(f"{clip_id}: {_difference(before, after)}")
        if differing:
            more = f"; and {len(differing) - 1} more clips" if len(differing) > 1 else ""
            yield f"{name} of {differing[0]}{more}"


def _of_frames(written: Path, again: Path, count: _Count) -> Iterator[str]:
    import pandas as pd

    new = pd.read_parquet(again)
    try:
        require_regular(written)
        old = pd.read_parquet(written)
    except Exception as error:  # noqa: BLE001 - pyarrow raises a dozen kinds over bad bytes
        yield f"can't be read ({str(error).splitlines()[0]})"
        return
    if missing := sorted(set(new.columns) - set(old.columns)):
        yield f"lacks {', '.join(missing)}"
        return
    of_clips = dict(list(old.groupby("clip_id", sort=True, observed=True)))
    for clip_id, anew in new.groupby("clip_id", sort=True, observed=True):
        then = of_clips.get(clip_id)
        if then is None or then["frame"].tolist() != anew["frame"].tolist():
            yield f"{clip_id}: has other frames than come out"
        else:
            yield from _of_frames_of_clip(str(clip_id), then, anew, count)


def _of_frames_of_clip(
    clip_id: str, then: pd.DataFrame, anew: pd.DataFrame, count: _Count
) -> Iterator[str]:
    differing: dict[str, int] = {}
    for name in anew.columns.difference(_KEYS):
        apart = _apart(then[name].to_numpy(float), anew[name].to_numpy(float), _of_column(name))
        count.agreeing += int((~apart).sum())
        if apart.any():
            differing[str(name)] = int(then["frame"].iloc[int(apart.argmax())])
    if differing:
        first = min(differing.values())
        yield f"{clip_id}: {', '.join(differing)} differ, the first time in frame {first}"


def _apart(
    before: NDArray[np.float64], after: NDArray[np.float64], tolerance: float
) -> NDArray[np.bool_]:
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    with np.errstate(invalid="ignore"):
        scale = np.maximum(1.0, np.maximum(np.abs(before), np.abs(after)))
        close = np.abs(before - after) <= tolerance * scale
    finite = np.isfinite(before) & np.isfinite(after)
    apart: NDArray[np.bool_] = ~(same | (finite & close))
    return apart


def _agree(before: float, after: float, tolerance: float) -> bool:
    return not _apart(np.array([before]), np.array([after]), tolerance)[0]


def _difference(before: float, after: float) -> str:
    """Return both in full, and how many of their digits agree."""
    said = f"{_shown(before)} was written, {_shown(after)} comes out"
    if not (math.isfinite(before) and math.isfinite(after)):
        return said
    gap = abs(before - after) / max(abs(before), abs(after))
    return f"{said} (they agree in {max(0, math.floor(-math.log10(gap)))} digits)"


def _shown(value: float) -> str:
    return "nothing" if math.isnan(value) else repr(value)


def _plain(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _tolerance(metric_id: str) -> float:
    row = METRICS[metric_id]
    return NETWORK_TOLERANCE if row.weights or row.needs else PIXEL_TOLERANCE


def _of_column(column: str) -> float:
    of_networks = any(
        column in row.columns and (row.weights or row.needs_pose) for row in METERS.values()
    )
    return NETWORK_TOLERANCE if of_networks else PIXEL_TOLERANCE


logger = logging.getLogger(__name__)

Level = Literal["none", "digest", "rerun"]
"""none: something is wrong. digest: all files are those that were written down. rerun: and the
scores came out again, those of every frame among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found."""

    folder: Path
    level: Level
    problems: tuple[str, ...]
    """One line each; the first word is the file."""
    notes: tuple[str, ...] = ()
    """What could not be looked at, and why."""
    n_files: int = 0
    """Files whose sha256 was right."""
    n_values: int = 0
    """Values that came out again."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "run": str(self.folder),
            "level": self.level,
            "problems": list(self.problems),
            "notes": list(self.notes),
            "files": self.n_files,
            "values": self.n_values,
        }


class RunCheck:
    """Collects what is wrong with one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._folder = run.folder
        self._records: dict[str, ClipRecord] = {}
        self._scores_digest = ""
        self._again = False
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.n_files = 0
        self.n_values = 0
        self.has_lossless = True

    def look_at_files(self) -> None:
        """Read all records, and hash what they name; nothing else may lie there."""
        for name in self._recorded():
            try:
                self._records[name] = ClipRecord.read(self._folder.record(name))
            except SubmissionError as error:
                self.problems.append(str(error))
        done = {name: r for name, r in self._records.items() if r.status == "done"}
        generated = [self._folder.generated(name) for name in done]
        if done and not any(path.exists() for path in generated):
            self.has_lossless = False
            self.notes.append(
                "the lossless frames were not kept: their sha256 can't be looked at, and the "
                "scores can't be computed again"
            )
        known: set[Path] = set()
        for name, record in done.items():
            named = {self._folder.preview(name): record.preview_sha256}
            if self.has_lossless:
                named[self._folder.generated(name)] = record.generated_sha256
            for path, sha256 in named.items():
                known.add(path)
                self._look_at_file(path, sha256, named_by="its record")
        unreadable = {path for name in self._unreadable() for path in self._folder.files(name)}
        for kind in ("generated", "preview"):
            for path in sorted((self._folder.path / kind).glob("*")):
                if path not in known | unreadable and not path.name.startswith("."):
                    self.problems.append(f"{path}: no record names it")
        self._look_at_run_info()

    def look_at_scores(self) -> ScoreReport | None:
        """Read `scores.json`; its clips must be those of the records."""
        path = self._folder.path / SCORES_NAME
        if not path.is_file():
            self.problems.append(f"{path}: missing: the run is not scored")
            return None
        try:
            report, self._scores_digest = load_report(self._folder.path)
        except SubmissionError as error:
            self.problems.append(str(error))
            return None
        frames = path.with_name(FRAMES_NAME)
        if report.frames_sha256:
            self._look_at_file(frames, report.frames_sha256, named_by=SCORES_NAME)
        else:
            self.notes.append(
                f"{path}: written before it named the sha256 of {FRAMES_NAME}; only computing "
                "again compares that"
            )
        made = {n: r.generated_sha256 for n, r in self._records.items() if r.status == "done"}
        scored = {name: clip.generated_sha256 for name, clip in report.clips.items()}
        for name in sorted(scored.keys() - made.keys() - self._unreadable()):
            self.problems.append(f"{path}: has scores of {name}, of which there is no clip")
        for name in sorted(made.keys() - scored.keys() - report.coverage.failed.keys()):
            self.problems.append(f"{path}: has no scores of {name}, which was made")
        for name in sorted(made.keys() & scored.keys()):
            if made[name] is not None and made[name] != scored[name]:
                self.problems.append(f"{path}: scores of {name} are of another file than there is")
        return report

    def look_at_inputs(self, plan: RunPlan) -> None:
        """Compare what the clips were made from with what `run.json` and the dataset say."""
        info = self._run.info
        clips = {clip.clip_id: clip for clip in plan.selection.clips}
        for name, record in self._records.items():
            path = self._folder.record(name)
            if name not in clips:
                self.problems.append(f"{path}: the run has no such clip")
                continue
            key = inputs_key(
                clips[name],
                configuration=info.model.configuration,
                model=info.model.name,
                task=plan.task,
                seed=info.seed,
                encoding=info.encoding,
            )
            if record.inputs != key:
                self.problems.append(
                    f"{path}: was made from other inputs than run.json and the dataset say"
                )
        for name in sorted(clips.keys() & self._records.keys()):
            clip = clips[name].driving
            real = plan.dataset.clip_path(clip)
            if not real.is_file() or sha256_of(real) != clip.clip_sha256:
                self.problems.append(f"{real}: not the file that the manifest describes")

    def compute_again(
        self,
        plan: RunPlan,
        report: ScoreReport,
        scoring: ScoringSetting,
        on_progress: ProgressListener | None,
    ) -> None:
        """Score the clips that have scores in a folder of their own, and compare."""
        path = self._folder.path / SCORES_NAME
        clips = [clip for clip in plan.selection.clips if clip.clip_id in report.clips]
        pairing = pair_clips(clips, plan.dataset, self._folder)
        with tempfile.TemporaryDirectory(prefix="tpbench-verify-") as name:
            again = score_pairs(
                pairing,
                out=Path(name),
                setting=scoring,
                real=plan.real,
                on_progress=on_progress,
            )
            for clip_id, error in again.coverage.failed.items():
                self.problems.append(f"{path}: {clip_id} can't be scored again: {error}")
            found = disagreements(
                (report, self._folder.path / FRAMES_NAME), (again, Path(name) / FRAMES_NAME)
            )
        self.n_values = found.n_compared
        self.problems += [f"{path}: {line}" for line in found.scores]
        self.problems += [f"{path.with_name(FRAMES_NAME)}: {line}" for line in found.frames]
        if not found.intervals_compared:
            self.notes.append(
                f"{path}: its intervals are by method {report.statistics} of another tpbench (this "
                f"one has {again.statistics}): not compared; score the run again to renew them"
            )
        if found.not_measured:
            names = ", ".join(found.not_measured)
            self.notes.append(f"can't be measured here, so not computed again: {names}")
        self._again = not found.not_measured

    def conclude(self, *, rerun: bool) -> Verification:
        """Say what was found, note it for leaderboards made here, and leave it in the run."""
        level: Level = "none"
        if not self.problems:
            level = "rerun" if (rerun and self._again) or self._came_out_before() else "digest"
        self._leave(level)
        return Verification(
            folder=self._folder.path,
            level=level,
            problems=tuple(self.problems),
            notes=tuple(self.notes),
            n_files=self.n_files,
            n_values=self.n_values,
        )

    def _look_at_file(self, path: Path, sha256: str | None, *, named_by: str) -> None:
        if not path.is_file():
            self.problems.append(f"{path}: missing, though {named_by} names it")
        elif sha256_of(path) != sha256:
            self.problems.append(f"{path}: not the file that {named_by} names (sha256 differs)")
        else:
            self.n_files += 1

    def _look_at_run_info(self) -> None:
        """Compare the counts and times in `run.json` with those of the records."""
        info = self._run.info
        if self._unreadable():
            return
        n_expected = max(info.dataset.n_clips, len(self._records))
        unknown = {f"\0{at}": None for at in range(n_expected - len(self._records))}
        told = updated(info, {**self._records, **unknown})
        for name in ("counts", "timings", "partial"):
            if getattr(told, name) != getattr(info, name):
                path = self._folder.path / RUN_INFO_NAME
                self.problems.append(
                    f"{path}: its {name} are not those of the records; if it was killed, run it "
                    "again"
                )

    def _recorded(self) -> list[str]:
        paths = (self._folder.path / "records").glob("*.json")
        return sorted(path.stem for path in paths if not path.name.startswith("."))

    def _unreadable(self) -> set[str]:
        return set(self._recorded()) - self._records.keys()

    def _fingerprint(self) -> str:
        return fingerprint(self._run.info, self._records, self._scores_digest)

    def _came_out_before(self) -> bool:
        """Whether an earlier look, by whoever looks now, computed these very scores again."""
        return what_was_found(self._fingerprint()) == "rerun"

    def _leave(self, level: Level) -> None:
        note(self._fingerprint(), None if level == "none" else level, date=now())
        path = self._folder.path / VERIFIED_NAME
        try:
            if level == "none":
                path.unlink(missing_ok=True)
                return
            content = {"level": level, "scores_digest": self._scores_digest, "date": now()}
            write_text_aside(path, json.dumps(content, indent=2) + "\n")
        except OSError as error:
            logger.warning("%s: can't be written (%s)", path, error.strerror)
