"""Small videos of scored clips, for the page: a folder of `tpbench score` holds no others.

preview/<name>.mp4     the generated clip, as browsers play it
real/<name>.mp4        the real clip; none if the real clips are those of a dataset
preview/<name>.json    the record: sha256 of both, and of what they were made from
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from tpbench import work
from tpbench.benchmark.run_folder import RunFolder
from tpbench.errors import SubmissionError, TPBenchError
from tpbench.files import link_or_copy, sha256_of
from tpbench.metrics.scoring.pairing import Pair
from tpbench.metrics.scoring.report import ClipScores, ScoreReport
from tpbench.video import PREVIEW, Footage, VideoWriter, open_footage
from tpbench.work.records import Record

logger = logging.getLogger(__name__)

_FACTORY: Final = f"{__name__}:build"
_LOG_NAME: Final = "previews.log"
_RATE_OF_PICTURES: Final = Fraction(25)


class ClipPreviews(Record):
    """The previews of one scored clip."""

    clip_id: str
    real_from: str
    """sha256 of the real clip."""
    generated_from: str
    """sha256 of the generated clip."""
    generated_sha256: str
    """Of the preview of the generated clip."""
    real_sha256: str | None
    """Of the preview of the real clip; None: there is none."""


def preview_record(folder: RunFolder, clip_id: str) -> ClipPreviews | None:
    """Return the record of a clip's previews; None if there is none that can be read."""
    try:
        found = ClipPreviews.read(folder.preview(clip_id).with_suffix(".json"))
    except SubmissionError:
        return None
    return found if found.clip_id == clip_id else None


def make_previews(  # noqa: PLR0913 - what to show, and how it is made
    folder: RunFolder,
    pairs: Mapping[str, Pair],
    report: ScoreReport,
    *,
    with_real: bool,
    other: RunFolder | None = None,
    workers: int | None = None,
    item_timeout_s: float = work.ITEM_TIMEOUT_S,
    on_progress: work.ProgressListener | None = None,
) -> None:
    """Make the previews of all scored clips that have none yet.

    A clip that can't be shown is logged and left out.

    Args:
        folder: of the scores.
        pairs: by clip: its videos.
        report: the scores, with the sha256 of the videos.
        with_real: whether to make previews of the real clips.
        other: folder of another method with the same real clips, whose previews are linked.
        workers: processes; None: one per core.
        item_timeout_s: a clip without progress for so long is tried again; 0 for no limit.
        on_progress: called with the progress.
    """
    items = []
    for clip_id, scores in report.clips.items():
        if _is_complete(folder, scores, with_real=with_real):
            continue
        if with_real:
            _settle_real(folder, other, scores)
        payload = {
            "clip_id": clip_id,
            "real": str(pairs[clip_id].real) if with_real else None,
            "generated": str(pairs[clip_id].generated),
            "real_from": scores.real_sha256,
            "generated_from": scores.generated_sha256,
        }
        items.append(work.WorkItem(key=clip_id, payload=payload))
    if not items:
        return
    total = len(report.clips)
    progress = work.ProgressCounter(
        "preview", total=total, before=total - len(items), listener=on_progress
    )
    task = work.TaskSpec(factory=_FACTORY, config={"folder": str(folder.path)})
    executor: work.Executor = work.InThisProcess(build=build)
    count = min(workers or work.usable_cores(), len(items))
    if count > 1:
        executor = work.Pool(
            num_workers=count,
            item_timeout_s=work.item_limit_s(item_timeout_s),
            worker_log=folder.path / _LOG_NAME,
        )
    outcomes = _Outcomes(folder.path / _LOG_NAME)
    work.run_items(task, items, outcomes, executor=executor, progress=progress)


def _is_complete(folder: RunFolder, scores: ClipScores, *, with_real: bool) -> bool:
    record = preview_record(folder, scores.clip_id)
    sources = (scores.real_sha256, scores.generated_sha256)
    if record is None or (record.real_from, record.generated_from) != sources:
        return False
    wanted = {folder.preview(scores.clip_id): record.generated_sha256}
    if with_real:
        wanted[folder.real_preview(scores.clip_id)] = record.real_sha256 or ""
    return all(path.is_file() and sha256_of(path) == sha for path, sha in wanted.items())


def _settle_real(folder: RunFolder, other: RunFolder | None, scores: ClipScores) -> None:
    """Keep a valid preview of the real clip, or take that of another method; delete any other."""
    target = folder.real_preview(scores.clip_id)
    for source in (folder, *([other] if other else [])):
        path, record = source.real_preview(scores.clip_id), preview_record(source, scores.clip_id)
        if record is None or record.real_from != scores.real_sha256 or not path.is_file():
            continue
        if sha256_of(path) == record.real_sha256:
            if path != target:
                link_or_copy(path, target)
            return
    target.unlink(missing_ok=True)


class _Outcomes:
    """Logs the clips without a preview; workers write the records."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def add(self, outcome: work.Outcome, progress: work.ProgressCounter) -> None:
        """See `tpbench.work.Records`."""
        work.keep_traceback(outcome, self._log)
        if outcome.kind in {"failed", "quarantined"}:
            logger.warning("no preview of %s: %s", outcome.key, outcome.error)
        if outcome.kind != "retried":
            progress.finish(outcome.key, counts={"failed": int(outcome.result is None)})


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewMaker:
    """Makes the previews of one clip after the other: the task of workers."""

    folder: RunFolder

    def __call__(self, payload: work.JsonObject, report: work.ProgressReport) -> dict[str, Any]:
        """Make the previews of a clip, and write their record."""
        clip_id, real = payload["clip_id"], payload["real"]
        n_frames = 0

        def on_frame() -> None:
            nonlocal n_frames
            n_frames += 1
            report({"frames": n_frames})

        generated, of_real = open_footage(Path(payload["generated"])), None
        fps = generated.fps
        if real is not None:
            of_real = open_footage(Path(real))
            fps = fps or of_real.fps
            if not self.folder.real_preview(clip_id).is_file():
                _write(self.folder.real_preview(clip_id), of_real, of_real.fps or fps, on_frame)
        _write(self.folder.preview(clip_id), generated, fps, on_frame)
        ClipPreviews(
            clip_id=clip_id,
            real_from=payload["real_from"],
            generated_from=payload["generated_from"],
            generated_sha256=sha256_of(self.folder.preview(clip_id)),
            real_sha256=None if real is None else sha256_of(self.folder.real_preview(clip_id)),
        ).write(self.folder.preview(clip_id).with_suffix(".json"))
        return {"frames": n_frames}

    def close(self) -> None:
        """Nothing is held."""


def _write(
    path: Path, footage: Footage, fps: Fraction | None, on_frame: Callable[[], None]
) -> None:
    width_px, height_px = footage.width_px // 2 * 2, footage.height_px // 2 * 2
    if min(width_px, height_px) < 2:
        raise TPBenchError(f"{footage.path}: too small for a preview")
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(
        path,
        width_px=width_px,
        height_px=height_px,
        fps=fps or _RATE_OF_PICTURES,
        encoding=PREVIEW,
    ) as writer:
        for image in footage.images():
            writer.write(image[:height_px, :width_px])
            on_frame()


def build(config: work.JsonObject) -> PreviewMaker:
    """Return the task (the factory named in the task's specification).

    Args:
        config: `folder` of the scores.
    """
    return PreviewMaker(folder=RunFolder(path=Path(config["folder"])))
