"""Scores folders of generated videos, and stamps each result so that tables can hold it.

`tpbench score` writes `scores.json` and `frames.parquet` like a run of `eval`. A `run.json` beside
them names the method, the real clips and the rule by which frames were chosen, so `compare` and
`leaderboard build` read such a folder like a run. It holds no videos of its own.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from tpbench.benchmark.compare import Comparison, compare_runs
from tpbench.benchmark.how_to_report import how_to_report
from tpbench.benchmark.leaderboard.tables import BuiltLeaderboard, build_leaderboard
from tpbench.benchmark.paper_table import Method, PaperTable, paper_table
from tpbench.benchmark.previews import make_previews
from tpbench.benchmark.request import checked_name
from tpbench.benchmark.run_folder import RunFolder, safe_name, timings_of
from tpbench.benchmark.run_info import (
    RUN_INFO_NAME,
    SCORED,
    DatasetStamp,
    ModelStamp,
    RunCounts,
    RunInfo,
    TaskStamp,
    read_run_info,
    write_run_info,
)
from tpbench.errors import ConfigError, SubmissionError, number_of
from tpbench.files import lies_in, missing_folder
from tpbench.metrics.registry import DEFAULT_PROTOCOL
from tpbench.metrics.scoring.policies import LengthPolicy, RatePolicy, ResizePolicy
from tpbench.metrics.scoring.report import ScoreReport, load_report
from tpbench.metrics.scoring.request import RealSide, ScoreRequest, open_real, pair_folder
from tpbench.metrics.scoring.run import score_pairs
from tpbench.work import ITEM_TIMEOUT_S, LOCAL, Engine, Progress, ProgressListener, explain_halts

log = logging.getLogger(__name__)

BOARD_NAME: Final = "leaderboard"
"""Folder of the table and the page, inside the folder of several scored methods."""
_ENCODING: Final = "files of the user"
_TASK: Final = "score"
_TASK_VERSION: Final = 1


def score(  # noqa: PLR0913 - one argument per option
    real: Path | str,
    generated: Path | str,
    *,
    out: Path | str,
    name: str | None = None,
    protocol: str = DEFAULT_PROTOCOL,
    metrics: Sequence[str] | None = None,
    split: str | None = None,
    length: LengthPolicy | None = None,
    resize: ResizePolicy | None = None,
    rate: RatePolicy | None = None,
    first_frame: int = 0,
    identities: Path | str | None = None,
    device: str = "auto",
    workers: int | None = None,
    offline: bool = False,
    strict: bool = False,
    engine: Engine = LOCAL,
    item_timeout_s: float = ITEM_TIMEOUT_S,
    retry_failed: bool = False,
    on_progress: ProgressListener | None = None,
) -> ScoreReport:
    """Score a folder of generated videos against real ones; see `score_named`.

    `real` is a dataset of tpbench or any folder of videos, `out` the folder for the results, and
    `name` that of the method in tables (None: the name of the folder `generated`). The other
    arguments are the fields of `metrics.scoring.request.ScoreRequest`, which documents them.
    """
    request = ScoreRequest(
        real=real,
        protocol=protocol,
        metrics=metrics,
        split=split,
        length=length,
        resize=resize,
        rate=rate,
        first_frame=first_frame,
        identities=identities,
        device=device,
        workers=workers,
        offline=offline,
        strict=strict,
        engine=engine,
        item_timeout_s=item_timeout_s,
        retry_failed=retry_failed,
    )
    called = name or Path(generated).resolve().name
    return score_named(request, called, Path(generated), out=Path(out), on_progress=on_progress)


def score_named(
    request: ScoreRequest,
    name: str,
    generated: Path,
    *,
    out: Path,
    real: RealSide | None = None,
    on_progress: ProgressListener | None = None,
) -> ScoreReport:
    """Score the videos of one method in one pass over the frames, and stamp the results.

    An interrupted scoring is resumed, and results of earlier ones into `out` are reused.

    Args:
        request: the real videos, and how to score.
        name: of the method, for tables.
        generated: the folder with its videos.
        out: folder for `scores.json`, `frames.parquet`, `run.json` and the records.
        real: the real clips of the request, if they are open already.
        on_progress: called with the progress.

    Raises:
        ConfigError, DatasetError: an option, a name, or a folder is wrong, or `out` holds a run of
            `eval`.
        SubmissionError: nothing matches, or two generated videos claim one clip.
    """
    name, setting = checked_name(name), request.setting()
    _require_no_run(out)
    _require_outside(out, request, generated)
    _warn_of_replaced(out, name, setting.protocol.metrics)
    real = real or open_real(request)
    pairing = pair_folder(real, generated, request.identities)
    with explain_halts(out):
        report = score_pairs(
            pairing, out=out, setting=setting, real=real.about, on_progress=on_progress
        )
        write_run_info(out, stamp(report, name=name, folder=generated))
    return report


def _require_outside(out: Path, request: ScoreRequest, generated: Path) -> None:
    for folder in (Path(request.real), generated):
        if folder.is_dir() and lies_in(out, folder):
            raise ConfigError(
                f"{out}: results can't lie in the videos that are scored ({folder}); choose "
                "another --out"
            )


def _require_no_run(out: Path) -> None:
    if not (out / RUN_INFO_NAME).exists():
        return
    try:
        kind = read_run_info(out).model.kind
    except SubmissionError as error:
        raise ConfigError(f"{error}; choose another --out") from error
    if kind != SCORED:
        raise ConfigError(f"{out}: holds a run of `tpbench eval`; choose another --out")


def _warn_of_replaced(out: Path, name: str, metrics: Sequence[str]) -> None:
    """Warn if `out` has the scores of another method, or scores of more metrics."""
    try:
        before, (report, _) = read_run_info(out).model.row_name, load_report(out)
    except SubmissionError:
        return
    if before != name:
        log.warning("%s: the scores of '%s' are replaced by those of '%s'", out, before, name)
    elif lost := report.metrics.keys() - set(metrics):
        log.warning(
            "%s: it had scores of %s more; what was measured is kept, and the same command with "
            "them shows it again without measuring",
            out,
            number_of(len(lost), "metric"),
        )


def methods_in(out: Path) -> dict[str, Path]:
    """Return the methods that have been scored into folders inside `out`, by name."""
    found = {}
    for path in sorted(out.glob(f"*/{RUN_INFO_NAME}")):
        try:
            model = read_run_info(path.parent).model
        except SubmissionError:
            continue
        if model.kind == SCORED:
            found[model.row_name] = path.parent
    return found


def stamp(report: ScoreReport, *, name: str, folder: Path) -> RunInfo:
    """Return the content of `run.json` for a scored folder.

    The task is `score`, or `score.from1` if frames before frame 1 are not scored: methods share a
    table only if the same frames of the same real clips were scored by the same policies.

    Args:
        report: its scores.
        name: of the method.
        folder: of its videos; only its name is recorded.
    """
    coverage, real = report.coverage, report.real
    expected = sorted({*report.clips, *coverage.missing, *coverage.failed})
    identities = {clip.identity for clip in report.clips.values()} - {None}
    first = report.policies["first_frame"]
    return RunInfo(
        model=ModelStamp(
            name=SCORED,
            display_name=name,
            given_name=name,
            kind=SCORED,
            configuration={
                "folder": folder.resolve().name,
                "videos_sha256": report.videos_digest,
            },
        ),
        dataset=DatasetStamp(
            name=str(real["name"]),
            digest=str(real["digest"]),
            split=real["split"] or "all",
            clips_digest=hashlib.sha256(json.dumps(expected).encode()).hexdigest(),
            n_clips=len(expected),
            n_identities=len(identities),
            left_out={},
            folder=str(real["name"]),
        ),
        task=TaskStamp(
            id=f"{_TASK}.from{first}" if first else _TASK,
            version=_TASK_VERSION,
            min_frames=1,
            protocol=str(report.protocol["id"]).removesuffix("+custom"),
        ),
        seed=0,
        encoding=_ENCODING,
        partial=False,
        counts=RunCounts(
            expected=len(expected),
            done=len(report.clips),
            failed=len(coverage.failed) + len(coverage.missing),
            quarantined=0,
            not_run=0,
            frames=sum(clip.n_frames for clip in report.clips.values()),
        ),
        timings=timings_of([]),
    )


MethodListener = Callable[[str, Progress], None]
"""Called with the method's name and its progress after every step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredMethods:
    """Several methods, scored against the same real clips."""

    folders: Mapping[str, Path]
    """By method, in the given order: the folder of its results."""
    reports: Mapping[str, ScoreReport]
    """By method: its scores."""
    board: BuiltLeaderboard | None
    """The table, and the page unless it was not requested; None: no clip could be scored."""
    comparisons: tuple[Comparison, ...]
    """The first method against every other: paired differences over their common clips."""
    earlier: tuple[str, ...] = ()
    """Those of the methods that had been scored into the same folder before."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Methods that had been scored into the same folder otherwise, and why they are not in it."""

    @property
    def complete(self) -> bool:
        """Whether every real clip was scored for every method."""
        return all(report.complete for report in self.reports.values())

    @property
    def methods(self) -> list[Method]:
        """The rows of a table, in the given order, with the marks of the leaderboard."""
        board = self.board.leaderboard if self.board else None
        marked = {row.display_name: board.marked(row) for row in board.rows} if board else {}
        return [
            Method(
                name=name,
                scores=report.metrics,
                marked=marked.get(name.strip(), frozenset()),
                judged=report.complete,
            )
            for name, report in self.reports.items()
        ]

    @property
    def how_to_report(self) -> str:
        """What a paper has to say of the numbers."""
        reports = list(self.reports.values())
        return how_to_report([report for report in reports if report.clips] or reports)

    def table(self, *, every: bool = False) -> PaperTable:
        """Return the table of all methods, in the given order.

        Args:
            every: whether to show all metrics instead of the headline.
        """
        protocol = next(iter(self.reports.values())).protocol
        return paper_table(self.methods, protocol, every=every, note=self.how_to_report)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "methods": {
                name: {"folder": str(self.folders[name]), "scores": report.to_json()}
                for name, report in self.reports.items()
            },
            "files": [str(path) for path in self.board.files] if self.board else [],
            "comparisons": [found.to_json() for found in self.comparisons],
            "earlier": list(self.earlier),
            "left_out": dict(self.left_out),
        }


def score_methods(
    request: ScoreRequest,
    generated: Mapping[str, Path],
    *,
    out: Path,
    page: bool = True,
    on_progress: MethodListener | None = None,
) -> ScoredMethods:
    """Score several folders of generated videos against the same real ones, and compare them.

    Each method has its own folder inside `out`, named after it. What networks and detectors find in
    the real clips is computed for the first method and reused for the others. Methods that were
    scored into `out` before join the table, behind the given ones, if they are comparable.

    Args:
        request: the real videos, and how to score.
        generated: by name of the method: the folder of its videos.
        out: folder for the results, and for `leaderboard/` with the table and the page.
        page: also write the page; without it, the table only.
        on_progress: called with the progress.

    Raises:
        ConfigError, DatasetError, SubmissionError: as `score_named`; or two names would have the
            same folder, or `out` holds the scores of one method.
    """
    folders = _folders(generated, out)
    if (out / RUN_INFO_NAME).exists():
        raise ConfigError(f"{out}: holds the scores of one method; choose another --out")
    real = open_real(request)
    for name, videos in generated.items():  # before hours of work on the others
        _require_no_run(folders[name])
        if not videos.is_dir():
            raise ConfigError(f"{videos}: {missing_folder(videos)} (the videos of '{name}')")
        _require_outside(out, request, videos)
    first = RunFolder(path=next(iter(folders.values())))
    reports = {}
    with request.engine.session():
        for name, videos in generated.items():
            listener = None if on_progress is None else partial(on_progress, name)
            reports[name] = report = score_named(
                request, name, videos, out=folders[name], real=real, on_progress=listener
            )
            if page:
                run = RunFolder(path=folders[name])
                _preview(run, report, request, videos, real=real, other=first, on_progress=listener)
    scored = [folders[name] for name, report in reports.items() if report.clips]
    data = Path(request.real) if real.is_dataset else None
    comparisons = [compare_runs(scored[0], other) for other in scored[1:]]
    earlier, left_out = _earlier(out, folders, scored)
    comparisons += earlier.values()
    joined = {found.b.info.model.row_name: path for path, found in earlier.items()}
    scored += joined.values()
    return ScoredMethods(
        folders={**folders, **joined},
        reports={**reports, **{name: load_report(path)[0] for name, path in joined.items()}},
        board=build_leaderboard(scored, out / BOARD_NAME, data=data, page=page) if scored else None,
        comparisons=tuple(comparisons),
        earlier=tuple(joined),
        left_out=left_out,
    )


def _preview(
    run: RunFolder,
    report: ScoreReport,
    request: ScoreRequest,
    videos: Path,
    *,
    real: RealSide,
    other: RunFolder,
    on_progress: ProgressListener | None,
) -> None:
    """Make the small videos of the page; `other` may have those of the real clips already."""
    pairs = {pair.clip_id: pair for pair in pair_folder(real, videos, request.identities).pairs}
    make_previews(
        run,
        pairs,
        report,
        with_real=not real.is_dataset,
        other=other,
        workers=request.workers,
        item_timeout_s=request.item_timeout_s,
        on_progress=on_progress,
    )


def _earlier(
    out: Path, folders: Mapping[str, Path], scored: Sequence[Path]
) -> tuple[dict[Path, Comparison], dict[str, str]]:
    """Compare the methods scored into `out` before with the first of the given ones.

    Args:
        out: the folder of all methods.
        folders: of the given methods.
        scored: those with a scored clip.

    Returns:
        The comparisons by folder, and the reasons why other methods can't be in the table.
    """
    taken = {folder.name.casefold() for folder in folders.values()}
    found: dict[Path, Comparison] = {}
    left_out: dict[str, str] = {}
    for name, path in methods_in(out).items() if scored else ():
        if path.name.casefold() in taken:
            continue
        try:
            found[path] = compare_runs(scored[0], path)
        except SubmissionError as error:
            left_out[name] = str(error)
    return found, left_out


def _folders(names: Mapping[str, Path], out: Path) -> dict[str, Path]:
    """Return a folder for each method.

    Raises:
        ConfigError: two names would share a folder, or one would be that of the table.
    """
    folders: dict[str, Path] = {}
    taken = {BOARD_NAME.casefold(): BOARD_NAME}
    for name in names:
        own = safe_name(checked_name(name))
        if other := taken.get(own.casefold()):
            raise ConfigError(
                f"the folders of '{name}' and '{other}' in {out} would both be called '{own}'; "
                "give one another name"
            )
        taken[own.casefold()] = name
        folders[name] = out / own
    return folders
