"""The checks of `verify`: files against records, and scores against recomputed ones."""

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

from tpbench.benchmark.evaluate import pair_clips
from tpbench.benchmark.leaderboard.collect import VERIFIED_NAME
from tpbench.benchmark.request import RunPlan
from tpbench.benchmark.run_folder import ClipRecord, Run, inputs_key, now, updated
from tpbench.benchmark.run_info import RUN_INFO_NAME
from tpbench.benchmark.site import fingerprint, note, what_was_found
from tpbench.errors import SubmissionError
from tpbench.files import atomic_write_text, require_regular, sha256_of
from tpbench.metrics.registry import METRICS
from tpbench.metrics.scoring.meters import METERS
from tpbench.metrics.scoring.report import FRAMES_NAME, SCORES_NAME, ScoreReport, load_report
from tpbench.metrics.scoring.request import ScoringSetting
from tpbench.metrics.scoring.run import score_pairs
from tpbench.work import ProgressListener

if TYPE_CHECKING:
    import pandas as pd

PIXEL_TOLERANCE: Final = 1e-9
"""For values computed from pixels alone; relative, or absolute below 1."""
NETWORK_TOLERANCE: Final = 1e-5
"""For values that involve a network or a detector, since rounding differs between processors."""
_KEYS: Final = ["clip_id", "frame"]


class Disagreements:
    """Differences between the recorded scores of a run and recomputed ones.

    Args:
        written: recorded scores and file of per-frame values.
        again: the recomputed ones.
    """

    def __init__(self, written: tuple[ScoreReport, Path], again: tuple[ScoreReport, Path]) -> None:
        old, new = written[0], again[0]
        self.n_compared = 0
        """Values that agree."""
        self.intervals_compared = old.statistics == new.statistics
        """Whether intervals were compared: only if both are by the same method."""
        measured = [name for name, score in old.metrics.items() if score.status == "measured"]
        here = {name for name in measured if new.metrics[name].status == "measured"}
        self.not_measured = tuple(name for name in measured if name not in here)
        """Metrics with a recorded value that can't be measured here."""
        self.scores = (*self._of_sets(old, new, here), *self._of_clips(old, new))
        """One line per difference."""
        self.frames = tuple(self._of_frames(written[1], again[1]))
        """One line per clip with a difference."""

    def _of_sets(self, old: ScoreReport, new: ScoreReport, names: set[str]) -> Iterator[str]:
        ends = ("low", "high") if self.intervals_compared else ()
        for name in (name for name in old.metrics if name in names):
            for what in ("value", *ends):
                values = (getattr(report.metrics[name], what) for report in (old, new))
                if gap := self._difference(name, *values):
                    which = name if what == "value" else f"{name}, {what} end of the interval"
                    yield f"{which}: {gap}"

    def _of_clips(self, old: ScoreReport, new: ScoreReport) -> Iterator[str]:
        """Yield a line per differing metric: the first differing clip and how many more."""
        common = sorted(old.clips.keys() & new.clips.keys())
        for name in (name for name in old.metrics if name not in self.not_measured):
            differing = []
            for clip_id in common:
                values = (report.clips[clip_id].values.get(name) for report in (old, new))
                if gap := self._difference(name, *values):
                    differing.append(f"{clip_id}: {gap}")
            if differing:
                more = f"; and {len(differing) - 1} more clips" if len(differing) > 1 else ""
                yield f"{name} of {differing[0]}{more}"

    def _of_frames(self, written: Path, again: Path) -> Iterator[str]:
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
                yield f"{clip_id}: has other frames than the recomputed values"
            elif differing := self._of_columns(then, anew):
                first = min(differing.values())
                names = ", ".join(differing)
                yield f"{clip_id}: {names} differ, first in frame {first}"

    def _of_columns(self, then: pd.DataFrame, anew: pd.DataFrame) -> dict[str, int]:
        """Return, by differing column of one clip, the first differing frame."""
        differing: dict[str, int] = {}
        for name in anew.columns.difference(_KEYS):
            old, new = then[name].to_numpy(float), anew[name].to_numpy(float)
            apart = _apart(old, new, _tolerance_of_column(name))
            self.n_compared += int((~apart).sum())
            if apart.any():
                differing[str(name)] = int(then["frame"].iloc[int(apart.argmax())])
        return differing

    def _difference(self, metric_id: str, old: float | None, new: float | None) -> str:
        """Return both values in full and how many digits agree; empty if the values agree."""
        before, after = (math.nan if value is None else float(value) for value in (old, new))
        row = METRICS[metric_id]
        tolerance = NETWORK_TOLERANCE if row.weights or row.needs else PIXEL_TOLERANCE
        if not _apart(np.array([before]), np.array([after]), tolerance)[0]:
            self.n_compared += 1
            return ""
        told = ("nothing" if math.isnan(value) else repr(value) for value in (before, after))
        said = "recorded {}, recomputed {}".format(*told)
        if not (math.isfinite(before) and math.isfinite(after)):
            return said
        gap = abs(before - after) / max(abs(before), abs(after))
        return f"{said} (they agree in {max(0, math.floor(-math.log10(gap)))} digits)"


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


def _tolerance_of_column(column: str) -> float:
    of_networks = any(
        column in row.columns and (row.weights or row.needs_pose) for row in METERS.values()
    )
    return NETWORK_TOLERANCE if of_networks else PIXEL_TOLERANCE


logger = logging.getLogger(__name__)

Level = Literal["none", "digest", "rerun"]
"""none: there is a problem. digest: all files have the recorded sha256. rerun: and recomputed
scores agree, including those of every frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Result of verifying a run."""

    folder: Path
    level: Level
    problems: tuple[str, ...]
    """One line each, starting with the file."""
    notes: tuple[str, ...] = ()
    """What could not be checked, and why."""
    n_files: int = 0
    """Files with the recorded sha256."""
    n_values: int = 0
    """Values that agree with recomputed ones."""

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
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
    """Collects the problems of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._folder = run.folder
        self._records: dict[str, ClipRecord] = {}
        self._scores_digest = ""
        self._rerun = False
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.n_files = 0
        self.n_values = 0
        self.has_lossless = True

    def verify_files(self) -> None:
        """Read all records and hash the files they name; other files there are problems."""
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
                "the lossless frames were not kept: their sha256 can't be checked, and the "
                "scores can't be computed again"
            )
        known: set[Path] = set()
        for name, record in done.items():
            named = {self._folder.preview(name): record.preview_sha256}
            if self.has_lossless:
                named[self._folder.generated(name)] = record.generated_sha256
            for path, sha256 in named.items():
                known.add(path)
                self._verify_file(path, sha256, named_by="its record")
        unreadable = {path for name in self._unreadable() for path in self._folder.files(name)}
        for kind in ("generated", "preview"):
            for path in sorted((self._folder.path / kind).glob("*")):
                if path not in known | unreadable and not path.name.startswith("."):
                    self.problems.append(f"{path}: no record names it")
        self._verify_run_info()

    def verify_scored(self) -> Verification:
        """Check a folder of `tpbench score`: its values against their digests and `run.json`."""
        report = self.verify_scores()
        path = self._folder.path / RUN_INFO_NAME
        if report is not None and not self._run.is_stamp_of(report):
            self.problems.append(f"{path}: not of these scores; run `tpbench score` again")
        self.notes.append(
            "scored from folders of videos, which are not here: the scores were not computed again"
        )
        return self.conclude(rerun=False)

    def verify_scores(self) -> ScoreReport | None:
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
            self._verify_file(frames, report.frames_sha256, named_by=SCORES_NAME)
        else:
            self.notes.append(
                f"{path}: from a version that did not record the sha256 of {FRAMES_NAME}; only "
                "recomputing compares that file"
            )
        if self._run.is_scored:
            return report
        made = {n: r.generated_sha256 for n, r in self._records.items() if r.status == "done"}
        scored = {name: clip.generated_sha256 for name, clip in report.clips.items()}
        for name in sorted(scored.keys() - made.keys() - self._unreadable()):
            self.problems.append(f"{path}: has scores of {name}, but there is no such clip")
        for name in sorted(made.keys() - scored.keys() - report.coverage.failed.keys()):
            self.problems.append(f"{path}: has no scores of {name}, which was generated")
        for name in sorted(made.keys() & scored.keys()):
            if made[name] is not None and made[name] != scored[name]:
                self.problems.append(f"{path}: scores of {name} are not of its current file")
        return report

    def verify_inputs(self, plan: RunPlan) -> None:
        """Compare the inputs keys of the records with those by `run.json` and the dataset."""
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
                    f"{path}: was generated from other inputs than run.json and the dataset give"
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
        """Score again, in a temporary folder, the clips that have scores, and compare."""
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
            found = Disagreements(
                (report, self._folder.path / FRAMES_NAME), (again, Path(name) / FRAMES_NAME)
            )
        self.n_values = found.n_compared
        self.problems += [f"{path}: {line}" for line in found.scores]
        self.problems += [f"{path.with_name(FRAMES_NAME)}: {line}" for line in found.frames]
        if not found.intervals_compared:
            self.notes.append(
                f"{path}: its intervals are by method {report.statistics}, this tpbench has "
                f"method {again.statistics}: not compared; score the run again to update them"
            )
        if found.not_measured:
            names = ", ".join(found.not_measured)
            self.notes.append(f"can't be measured here, so not computed again: {names}")
        self._rerun = not found.not_measured

    def conclude(self, *, rerun: bool) -> Verification:
        """Return the result, and store it for leaderboards built here and in the run itself."""
        level: Level = "none"
        if not self.problems:
            level = "rerun" if (rerun and self._rerun) or self._recomputed_before() else "digest"
        self._write_verified(level)
        return Verification(
            folder=self._folder.path,
            level=level,
            problems=tuple(self.problems),
            notes=tuple(self.notes),
            n_files=self.n_files,
            n_values=self.n_values,
        )

    def _verify_file(self, path: Path, sha256: str | None, *, named_by: str) -> None:
        if not path.is_file():
            self.problems.append(f"{path}: missing, though {named_by} names it")
        elif sha256_of(path) != sha256:
            self.problems.append(f"{path}: not the file that {named_by} names (sha256 differs)")
        else:
            self.n_files += 1

    def _verify_run_info(self) -> None:
        """Compare the counts and times in `run.json` with those of the records."""
        info = self._run.info
        if self._unreadable():
            return
        n_expected = max(info.dataset.n_clips, len(self._records))
        unknown = {f"\0{at}": None for at in range(n_expected - len(self._records))}
        expected = updated(info, {**self._records, **unknown})
        for name in ("counts", "timings", "partial"):
            if getattr(expected, name) != getattr(info, name):
                path = self._folder.path / RUN_INFO_NAME
                self.problems.append(
                    f"{path}: its {name} differ from the records; if the run was killed, run it "
                    "again"
                )

    def _recorded(self) -> list[str]:
        paths = (self._folder.path / "records").glob("*.json")
        return sorted(path.stem for path in paths if not path.name.startswith("."))

    def _unreadable(self) -> set[str]:
        return set(self._recorded()) - self._records.keys()

    def _fingerprint(self) -> str:
        return fingerprint(self._run.info, self._records, self._scores_digest)

    def _recomputed_before(self) -> bool:
        """Whether an earlier check on this machine recomputed exactly these scores."""
        return what_was_found(self._fingerprint()) == "rerun"

    def _write_verified(self, level: Level) -> None:
        note(self._fingerprint(), None if level == "none" else level, date=now())
        path = self._folder.path / VERIFIED_NAME
        try:
            if level == "none":
                path.unlink(missing_ok=True)
                return
            content = {"level": level, "scores_digest": self._scores_digest, "date": now()}
            atomic_write_text(path, json.dumps(content, indent=2) + "\n")
        except OSError as error:
            logger.warning("%s: can't be written (%s)", path, error.strerror)
