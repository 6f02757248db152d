"""`import`: an existing set of clips in, a dataset out, so that the benchmark runs on it.

Nothing is filtered: every clip that can be read is kept. Records, workers and the way in which an
interrupted run continues are those of an extraction.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tpbench.canonical import digest_of, settings_digest
from tpbench.dataset import Clip, Dataset, SplitName, SplitRequest, finalise, make_split
from tpbench.dataset.folder import CLIP_FILES
from tpbench.dataset.manifest import Table, first_known
from tpbench.detectors.base import Device
from tpbench.devices import require_device
from tpbench.extraction.existing_sets import ExistingClip, find_clips, with_poses, with_table
from tpbench.extraction.former import read_former
from tpbench.extraction.leftovers import PRUNED_BY, prune, sweep
from tpbench.extraction.planning import ID_DIGITS, make_folder
from tpbench.extraction.publishing import published
from tpbench.extraction.records import (
    FINAL_STATES,
    WORKER_LOG,
    SourceRecord,
    SourceRecords,
    open_records,
)
from tpbench.extraction.removed_files import delete_left_out
from tpbench.extraction.report import write_report
from tpbench.extraction.run import RECYCLE_AFTER, process_items
from tpbench.extraction.sources import plain_path
from tpbench.extraction.speed import Tally, gpus_of
from tpbench.extraction.squares import OUT_SIZE_PX, Fit, payload_of, stem_of, task_spec
from tpbench.extraction.steadying import visibility
from tpbench.files import atomic_write_text
from tpbench.wholebody import PoseSource
from tpbench.work import (
    ITEM_TIMEOUT_S,
    Pool,
    ProgressCounter,
    ProgressListener,
    WorkItem,
    explain_halts,
    item_limit_s,
    num_workers,
)

logger = logging.getLogger(__name__)

_ROWS_VERSION: Final = 1
"""Incremented when the same settings would give other rows; part of the digest of the settings."""
FPS: Final = Fraction(25)
"""Rate of folders of pictures, unless another one is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What is to be imported, and how."""

    folder: Path
    """The set: videos, or folders of numbered pictures."""
    out: Path
    """Of the dataset."""
    poses: Path | None = None
    """Folder of keypoints; those of clips without a file are detected."""
    table: Path | None = None
    """CSV: clip, split, identity, fps."""
    fit: Fit = "pad"
    fps: Fraction = FPS
    """Rate of folders of pictures."""
    skeleton: PoseSource = "dwpose"
    workers: int | None = None
    """All cores if None."""
    device: Device = "auto"
    offline: bool = False
    retry_failed: bool = False
    redo: bool = False
    name: str | None = None
    """Of the dataset; None: its former name, or the folder's."""
    item_timeout_s: float = ITEM_TIMEOUT_S


def import_clips(request: ImportRequest, on_progress: ProgressListener | None = None) -> Dataset:
    """Turn an existing set of clips into a dataset.

    Called again after an interruption, it continues with the unfinished clips. Clips that failed
    have a row with their error.

    Raises:
        ConfigError: an option, the folder, the poses or the table is wrong.
        MissingWeightsError: a model file is missing, and keypoints have to be detected.
        DatasetError: `out` can't hold this dataset, or its records are damaged or incomplete.
        TPBenchError: the machine has a fault; finished clips are kept.
    """
    with _opened(request) as run:
        interruption = run.work(on_progress)
        dataset = run.publish()
    # The dataset is free again, which a split asks for.
    dataset = _split_as_given(dataset, run.sides())
    if interruption is not None:
        raise interruption
    return dataset


def _found(request: ImportRequest, out: Path) -> list[ExistingClip]:
    clips = find_clips(plain_path(request.folder), excluded=out)
    if request.poses is not None:
        clips = with_poses(clips, request.poses)
    return clips if request.table is None else with_table(clips, request.table)


@contextmanager
def _opened(request: ImportRequest) -> Iterator[_Run]:
    """Check everything, lock the folder and plan, before any clip is processed."""
    from tpbench.detectors.base import weights_digest

    folder = plain_path(request.out)
    workers = num_workers(request.workers)
    item_limit_s(request.item_timeout_s)
    clips = _found(request, folder)
    detects = any(clip.poses is None for clip in clips)
    models = None
    if detects:
        require_device(request.device, library="onnxruntime")
        models = weights_digest(request.skeleton, offline=request.offline)
    make_folder(folder)
    former = read_former(folder)
    config = _described(request, clips, detects=detects) | {"models": models}
    with (
        explain_halts(folder),
        open_records(
            folder,
            settings=settings_digest([config, _ROWS_VERSION]),
            config=config,
            redo=request.redo,
        ) as records,
    ):
        sweep(folder)
        _plan(records, clips, retry_failed=request.retry_failed)
        yield _Run(
            request=request,
            folder=folder,
            clips={clip.source.key: clip for clip in clips},
            detects=detects,
            workers=workers,
            name=request.name or (former.name if former is not None else folder.name),
            records=records,
        )


def _described(
    request: ImportRequest, clips: Sequence[ExistingClip], *, detects: bool
) -> dict[str, Any]:
    """Return the settings of an import as they are recorded, without the model files."""
    rates = {clip.name: str(clip.fps) for clip in clips if clip.fps is not None}
    return {
        "imported": True,
        "fit": request.fit,
        "out_size_px": OUT_SIZE_PX,
        "pictures_fps": str(request.fps),
        "rates_in_table": digest_of(rates)[:16] if rates else None,
        "skeleton": request.skeleton if detects else None,
        "visibility": visibility(request.skeleton) if detects else "as given",
    }


def _plan(records: SourceRecords, clips: Sequence[ExistingClip], *, retry_failed: bool) -> None:
    """Put the clips to process into `records.planned`, and forget failed ones that are gone."""
    for clip in clips:
        key = clip.source.key
        record = records.known.get(key)
        if record is not None and _is_finished(
            record, clip, records.folder, retry_failed=retry_failed
        ):
            continue
        if record is not None and record.state in FINAL_STATES:
            records.start_over(key)
        records.planned[key] = clip.recorded
    keys = {clip.source.key for clip in clips}
    for record in list(records.known.values()):
        if record.item not in keys and record.state in FINAL_STATES - {"done"}:
            records.forget(record.item)


def _is_finished(
    record: SourceRecord,
    clip: ExistingClip,
    folder: Path,
    *,
    retry_failed: bool,
) -> bool:
    if record.state in {"pending", "postponed"}:
        return False
    then, now = record.source, clip.recorded
    if (then.size_bytes, then.mtime_ns) != (now.size_bytes, now.mtime_ns):
        return False
    if record.state != "done":
        return not retry_failed
    files = [kind.path(folder, name) for name, _ in record.kept() for kind in CLIP_FILES]
    return all(path.is_file() for path in files)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A planned run that holds the lock of its folder."""

    request: ImportRequest
    folder: Path
    clips: Mapping[str, ExistingClip]
    """By the key of their source."""
    detects: bool
    """Whether the keypoints of any clip are detected."""
    workers: int
    name: str
    records: SourceRecords

    @property
    def gpus(self) -> int:
        return gpus_of(self.request.skeleton, self.request.device) if self.detects else 0

    def work(self, on_progress: ProgressListener | None) -> KeyboardInterrupt | None:
        """Process the planned clips; return the interruption, if any."""
        total, before = len(self.clips), self.records.num_finished(self.clips.keys())
        progress = ProgressCounter("import", total=total, before=before, listener=on_progress)
        request = self.request
        task = task_spec(
            folder=self.folder,
            records_id=self.records.home_id,
            fit=request.fit,
            pictures_fps=request.fps,
            skeleton=request.skeleton if self.detects else None,
            device=request.device,
            offline=request.offline,
        )
        pool = Pool(
            num_workers=self.workers,
            recycle_after=RECYCLE_AFTER,
            item_timeout_s=item_limit_s(request.item_timeout_s),
            worker_log=self.folder / WORKER_LOG,
        )
        tally = Tally(workers=self.workers, gpus=self.gpus)
        return process_items(
            task,
            self._items(),
            self.records,
            executor=pool,
            tally=tally,
            progress=progress,
            keys=self.clips.keys(),
            workers=self.workers,
        )

    def _items(self) -> Iterator[WorkItem]:
        """Yield the planned clips. Those of one name get more digits of their sha256, each."""
        bearers: Counter[str] = Counter()
        for key, clip in self.clips.items():
            stem = stem_of(clip.name)
            digits = ID_DIGITS[min(bearers[stem], len(ID_DIGITS) - 1)]
            bearers[stem] += 1
            if key not in self.records.planned:
                continue
            self.records.require_in_place()
            record = self.records.known.get(key)
            payload = payload_of(
                clip.source, name=clip.name, digits=digits, poses=clip.poses, fps=clip.fps
            )
            yield WorkItem(
                key=key, payload=payload, attempts=0 if record is None else record.attempts
            )

    def publish(self) -> Dataset:
        """Write the dataset's files from all finished clips."""
        self.records.require_in_place()
        identities = {clip.source.shown_path: clip.identity for clip in self.clips.values()}

        def told(row: Clip) -> Clip:
            """Return a row with the identity that the table gives it now."""
            identity = identities.get(row.source_path)
            return row if identity is None else replace(row, identity=identity)

        table, stats = published(self.records, workers=self.workers, gpus=self.gpus, told=told)
        sweep(self.folder)
        dataset = finalise(
            self.folder,
            table,
            name=self.name,
            config=_described(self.request, list(self.clips.values()), detects=self.detects),
            models=_models(table),
            measurements=(),
            run=stats,
            sources_pending=self.records.num_pending(self.clips.keys()),
        )
        delete_left_out(dataset, table)
        del table  # what follows reads the columns that it needs
        prune(self.folder, dataset.table(PRUNED_BY), self.records.replaced_clips())
        self.records.end_period()
        write_report(self.folder)
        self.records.require_in_place()
        return dataset

    def sides(self) -> dict[str, SplitName]:
        """Return the split of each clip that has one, by the path of its source."""
        return {
            clip.source.shown_path: clip.split
            for clip in self.clips.values()
            if clip.split is not None
        }


def _split_as_given(dataset: Dataset, sides: Mapping[str, SplitName]) -> Dataset:
    """Split a dataset as the table or the folders of the set do, unless it is split so already.

    A set that has one side only stays whole.

    Args:
        dataset: finished.
        sides: path of a source -> its split.
    """
    wanted = {
        clip.clip_id: (clip.split, side)
        for clip in dataset.clips()
        if (side := sides.get(clip.source_path)) is not None
    }
    is_so = all(now == side for now, side in wanted.values())
    if is_so or len({side for _, side in wanted.values()}) < 2:
        return dataset
    if dataset.info.split is not None and dataset.info.split.method != "lists":
        logger.warning(
            "%s: was split by `tpbench split` since it was imported, and stays so", dataset.folder
        )
        return dataset
    lines = [f"{clip_id},{side}" for clip_id, (_, side) in wanted.items()]
    with TemporaryDirectory() as folder:
        table = Path(folder) / "sides.csv"
        atomic_write_text(table, "\n".join(["clip_id,side", *lines, ""]))
        make_split(dataset.folder, SplitRequest(lists=(table,), joins=("none",)))
    return Dataset.open(dataset.folder)


def _models(table: Table) -> dict[str, str]:
    digest = first_known(table, "skeleton_digest")
    return {} if digest is None else {"skeleton": digest}
