"""The looks that `verify` takes at a run, and what it finds."""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tpbench.benchmark.agree import disagreements
from tpbench.benchmark.bookkeeping import now, updated
from tpbench.benchmark.keeper import fingerprint, note, what_was_found
from tpbench.benchmark.leaderboard.collect import VERIFIED_NAME
from tpbench.benchmark.leaderboard.scores import load_report
from tpbench.benchmark.records import inputs_key, read_record
from tpbench.benchmark.run_info import RUN_INFO_NAME
from tpbench.benchmark.scoring import pair_clips, score_run
from tpbench.errors import SubmissionError
from tpbench.files import sha256_of, write_text_aside
from tpbench.metrics.scoring.report import FRAMES_NAME, SCORES_NAME

if TYPE_CHECKING:
    from tpbench.benchmark.bookkeeping import RunPlan
    from tpbench.benchmark.records import ClipRecord
    from tpbench.benchmark.run_folder import Run
    from tpbench.metrics.scoring.driver import ProgressListener
    from tpbench.metrics.scoring.report import ScoreReport
    from tpbench.metrics.scoring.run import ScoringSetting

_log = logging.getLogger(__name__)

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
                self._records[name] = read_record(self._folder.record(name))
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
            again = score_run(
                plan, pairing, out=Path(name), scoring=scoring, on_progress=on_progress
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
            _log.warning("%s: can't be written (%s)", path, error.strerror)
