"""`rebuild`: a pack and a folder of raw videos in, the dataset out.

A finished source is not processed again as long as its raw file has the same bytes and the files of
its clips are there. Everything else is tried anew by the next run.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tpbench.dataset import Clip, Dataset, finalise
from tpbench.dataset.cards import write_cards
from tpbench.dataset.folder import CLIP_FILES, RECORDS_FOLDER, RECORDS_LOCK
from tpbench.dataset.info import INFO_NAME, write_info
from tpbench.dataset.likeness import SAME_LIMIT
from tpbench.dataset.pack import CARRIED, Pack
from tpbench.dataset.rebuilt import Rebuilt, RebuiltClip, sum_up, write_rebuilt
from tpbench.dataset.removal import REMOVALS_NAME, Removals
from tpbench.errors import DatasetError
from tpbench.extraction.leftovers import require_own_folders
from tpbench.extraction.pipeline import WORK_FOLDER
from tpbench.extraction.raw_files import RawFiles, WantedSource, match_sources, wanted_sources
from tpbench.extraction.rebuild_records import (
    LOG_NAME,
    RAW_NAME,
    SETTINGS_NAME,
    RebuildRecords,
    RebuildSettings,
    RebuiltSource,
)
from tpbench.extraction.rebuild_task import SourceWork, task_spec
from tpbench.extraction.remaking import Remade
from tpbench.extraction.report import write_report
from tpbench.extraction.run import RECYCLE_AFTER
from tpbench.extraction.sources import Source, find_sources, plain_path
from tpbench.files import lies_in
from tpbench.spread import remove
from tpbench.work import (
    ITEM_TIMEOUT_S,
    Pool,
    ProgressCounter,
    ProgressListener,
    WorkItem,
    explain_halts,
    item_limit_s,
    num_workers,
    run_items,
)
from tpbench.work.locks import locked
from tpbench.work.records import RecordError, require_same

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildResult:
    """A rebuilt dataset, and what became of each clip of the pack."""

    dataset: Dataset
    rebuilt: Rebuilt
    clips: tuple[RebuiltClip, ...]
    """Sorted by clip id."""


def rebuild(
    pack: Pack | Path | str,
    raw: Sequence[Path | str] | Path | str,
    out: Path | str,
    *,
    removals: Path | str | None = None,
    workers: int | None = None,
    item_timeout_s: float = ITEM_TIMEOUT_S,
    on_progress: ProgressListener | None = None,
) -> RebuildResult:
    """Make a dataset again from a pack and the videos that it was made of.

    Called again after an interruption, or with more videos, it continues. Clips that show other
    pictures than the pack's are not kept.

    Args:
        pack: the pack, or its folder.
        raw: folders of videos (searched recursively) and single videos, or one of them.
        out: folder of the dataset; new, empty, or a former rebuild of the same pack.
        removals: another copy of the dataset, or its `removals.json`, where more was removed since
            the pack was made: what it lists is not made.
        workers: processes, one core each; all cores if not given.
        item_timeout_s: a source without progress for this long is retried; 0 for no limit.
        on_progress: called at every step: first "read" (raw files are hashed), then "rebuild".

    Raises:
        ConfigError: an option or an input is invalid.
        DatasetError: the pack is damaged or of another version, or `out` holds something else.
        TPBenchError: the machine has a fault; finished sources are kept.
    """
    opened = pack if isinstance(pack, Pack) else Pack.open(pack)
    count = num_workers(workers)
    limit_s = item_limit_s(item_timeout_s)
    folder = plain_path(Path(out))
    later = later_removals(removals)
    inputs = [Path(given) for given in ([raw] if isinstance(raw, str | Path) else raw)]
    files = find_sources(inputs, excluded=folder)
    with _opened(folder, opened) as records:
        packed = opened.rows()
        removed = opened.removals(folder).joined(later.tombstones)
        if removed:
            removed.write(folder)
        rows = removed.without_removed(packed)
        run = _Run(
            pack=opened,
            folder=folder,
            records=records,
            rows=rows,
            removed=tuple(row for row in packed if removed.removes_row(row)),
            removals=removed,
            wanted=wanted_sources(rows),
            workers=count,
            item_limit_s=limit_s,
            on_progress=on_progress,
        )
        interruption = run.work(files)
        result = run.publish()
    if interruption is not None:
        raise interruption
    return result


def later_removals(path: Path | str | None) -> Removals:
    """Return what was removed from another copy of a dataset.

    Args:
        path: its folder, or its `removals.json`; None for nothing.

    Raises:
        DatasetError: there is no such file, or it can't be read.
    """
    if path is None:
        return Removals()
    path = Path(path)
    return Removals.read_file(path / REMOVALS_NAME if path.is_dir() else path)


@contextmanager
def _opened(folder: Path, pack: Pack) -> Iterator[RebuildRecords]:
    """Check the output folder and lock it.

    Raises:
        DatasetError: it holds something else, lies in the pack, or is in use.
    """
    if lies_in(folder, pack.folder) or lies_in(pack.folder, folder):
        raise DatasetError(f"{folder}: lies in the pack, or the pack in it; choose another folder")
    home = folder / RECORDS_FOLDER
    settings = home / SETTINGS_NAME
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder}: is a file; choose a new or empty folder")
    if not settings.is_file() and folder.is_dir() and any(_foreign(folder)):
        raise DatasetError(
            f"{folder}: holds something else than a rebuild of this pack; choose a new or empty "
            "folder"
        )
    with explain_halts(folder):
        folder.mkdir(parents=True, exist_ok=True)
        require_own_folders(folder)
        with locked(home / RECORDS_LOCK):
            if settings.is_file():
                _require_same_pack(settings, pack)
            else:
                RebuildSettings(pack_digest=pack.info.digest).write(settings)
            shutil.rmtree(folder / WORK_FOLDER, ignore_errors=True)
            yield RebuildRecords(home, pack.info.digest)


def _foreign(folder: Path) -> Iterator[Path]:
    """Yield what a run that was killed at its very beginning would not have left."""
    for path in folder.iterdir():
        if path.name != RECORDS_FOLDER or any(path.glob("[!.]*")):
            yield path


def _require_same_pack(settings: Path, pack: Pack) -> None:
    try:
        known = RebuildSettings.read(settings)
    except RecordError as error:
        raise DatasetError(f"{error}; choose another output folder") from error
    if known.pack_digest != pack.info.digest:
        raise DatasetError(
            f"{settings.parent.parent}: was rebuilt from another pack ({known.pack_digest[:8]}, "
            f"this one is {pack.info.digest[:8]}); choose another output folder"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A rebuild that holds the lock of its folder."""

    pack: Pack
    folder: Path
    records: RebuildRecords
    rows: Sequence[Clip]
    """Of the pack, without what was removed from it or from this dataset."""
    removed: Sequence[Clip]
    """The others of the pack."""
    removals: Removals
    wanted: Sequence[WantedSource]
    workers: int
    item_limit_s: float | None
    on_progress: ProgressListener | None
    found: dict[str, tuple[Source, ...]] = field(default_factory=dict)
    """Source id -> the files to look into."""

    def work(self, files: Sequence[Source]) -> KeyboardInterrupt | None:
        """Rebuild what is not rebuilt yet; return the interruption, if any."""
        try:
            self.found.update(match_sources(self.wanted, self._hashed(files)))
            left = [source for source in self.wanted if self._is_left(source)]
            before = len(self.found) - len(left)
            progress = ProgressCounter(
                "rebuild", total=len(self.found), before=before, listener=self.on_progress
            )
            pool = Pool(
                num_workers=self.workers,
                recycle_after=RECYCLE_AFTER,
                item_timeout_s=self.item_limit_s,
                worker_log=self.records.home / LOG_NAME,
            )
            task = task_spec(
                pack=self.pack.folder.absolute(),
                folder=self.folder,
                records_id=self.records.home_id,
            )
            run_items(task, self._items(left), self.records, executor=pool, progress=progress)
        except KeyboardInterrupt as error:
            return error
        return None

    def _hashed(self, files: Sequence[Source]) -> list[Source]:
        raw = RawFiles(self.records.home / RAW_NAME, self.removals)
        counter = ProgressCounter("read", total=len(files), before=0, listener=self.on_progress)
        return raw.hashed(
            files, workers=self.workers, on_file=lambda file: counter.finish(file.key, counts={})
        )

    def _key(self, source: WantedSource) -> str:
        return self.records.key(self.found.get(source.source_id, ()))

    def _is_left(self, source: WantedSource) -> bool:
        """Whether a source with files has no valid record, or files of its clips are missing."""
        if source.source_id not in self.found:
            return False
        record = self.records.read(source.source_id, self._key(source))
        if record is None or any(clip.outcome == "unreadable" for clip in record.made()):
            return True
        kept = [clip.clip_id for clip in record.made() if clip.kept]
        paths = (kind.path(self.folder, clip_id) for clip_id in kept for kind in CLIP_FILES)
        return not all(path.is_file() for path in paths)

    def _items(self, left: Sequence[WantedSource]) -> Iterator[WorkItem]:
        for source in left:
            self.records.planned[source.source_id] = self._key(source)
            work = SourceWork.of(source, self.found[source.source_id], self.pack)
            yield WorkItem(key=source.source_id, payload=work.to_json())

    def publish(self) -> RebuildResult:
        """Write the files of the dataset from all that is rebuilt."""
        require_same(self.records.home, self.records.home_id)
        clips, made = self._outcomes()
        rows = [_row(row, clips.get(row.clip_id), made.get(row.clip_id)) for row in self.rows]
        info = self.pack.dataset
        for name in CARRIED:
            _copy_new(self.pack.folder / name, self.folder / name)
        if not (self.folder / INFO_NAME).exists():
            # So that it is split as the original is.
            write_info(self.folder, info)
        dataset = finalise(
            self.folder,
            rows,
            name=info.name,
            config=info.config,
            models=info.models,
            measurements=info.measurements,
            sources_pending=sum(
                any(clips[row.clip_id].outcome == "not processed" for row in source.clips)
                for source in self.wanted
            ),
        )
        outcomes = sorted(clips.values(), key=lambda clip: clip.clip_id)
        rebuilt = sum_up(
            outcomes,
            pack_digest=self.pack.info.digest,
            original_digest=self.pack.info.dataset_digest,
            digest=dataset.digest,
            limit=SAME_LIMIT,
            removed=[row for row in self.removed if row.status == "kept"],
        )
        write_rebuilt(self.folder, rebuilt, outcomes)
        write_cards(self.folder, dataset.info)  # once more: they tell what is in rebuild.json
        kept = {row.clip_id for row in rows if row.status == "kept"}
        self._prune(clip_id for clip_id in clips if clip_id not in kept)
        write_report(self.folder)
        return RebuildResult(dataset=dataset, rebuilt=rebuilt, clips=tuple(outcomes))

    def _outcomes(self) -> tuple[dict[str, RebuiltClip], dict[str, Remade]]:
        """Return what became of each clip of the pack, and the clips that were made, by id."""
        clips: dict[str, RebuiltClip] = {}
        made: dict[str, Remade] = {}
        for source in self.wanted:
            record = None
            if source.source_id in self.found:
                record = self.records.read(source.source_id, self._key(source))
            if record is not None:
                made |= {clip.clip_id: clip for clip in record.made()}
            for row in source.clips:
                clips[row.clip_id] = _outcome(row, made.get(row.clip_id), record, self.found)
        return clips, made

    def _prune(self, clip_ids: Iterable[str]) -> None:
        """Delete files of clips that an earlier run kept, and this one no longer does."""
        for clip_id in clip_ids:
            for kind in CLIP_FILES:
                remove(kind.home(self.folder), kind.name(clip_id))


def _outcome(
    row: Clip,
    made: Remade | None,
    record: RebuiltSource | None,
    found: Mapping[str, tuple[Source, ...]],
) -> RebuiltClip:
    if made is not None and record is not None:
        return RebuiltClip(
            clip_id=row.clip_id,
            split=row.split,
            outcome=made.outcome,
            distance=made.distance,
            shift_frames=made.shift_frames,
            raw=record.raw,
            raw_sha256=record.raw_sha256,
            error=made.error,
        )
    files = found.get(row.source_id)
    if files is None:
        said = f"no video with the bytes, the id or the name of {row.source_path}"
        return RebuiltClip(clip_id=row.clip_id, split=row.split, outcome="source gone", error=said)
    return RebuiltClip(
        clip_id=row.clip_id,
        split=row.split,
        outcome="not processed",
        raw=files[0].shown_path,
        error=f"{files[0].shown_path}: run the same command again",
    )


def _row(row: Clip, outcome: RebuiltClip | None, made: Remade | None) -> Clip:
    """Return the row of the rebuilt dataset: kept with the hashes of its files, or failed.

    It describes the original source; `rebuild.parquet` says which file the clip comes from.
    """
    if outcome is None:
        return row
    if made is not None and made.kept:
        return replace(
            row,
            source_path=outcome.raw or row.source_path,
            clip_sha256=made.clip_sha256,
            pose_sha256=made.pose_sha256,
        )
    return replace(
        row,
        status="failed",
        split=None,
        clip_sha256=None,
        keypoints_sha256=None,
        pose_sha256=None,
        error=f"{outcome.outcome}: {outcome.error}",
    )


def _copy_new(source: Path, target: Path) -> None:
    """Copy a file, or the files of a folder, unless they are there already."""
    if source.is_dir():
        target.mkdir(exist_ok=True)
        for path in sorted(source.iterdir()):
            _copy_new(path, target / path.name)
    elif source.is_file() and not target.exists():
        shutil.copyfile(source, target)
