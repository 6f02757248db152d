"""The plan of a run: which sources are new, changed, moved or equal, and which ids they get."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from tpbench.dataset.folder import CLIP_FILES, RECORDS_FOLDER
from tpbench.errors import DatasetError, MediaError
from tpbench.extraction.leftovers import holds_work, require_own_folders
from tpbench.extraction.pipeline import WORK_FOLDER
from tpbench.extraction.rebuild_records import SETTINGS_NAME
from tpbench.extraction.records import (
    FAILED_STATES,
    FINAL_STATES,
    SETTINGS_FILE,
    SourceRecord,
    SourceRecords,
)
from tpbench.extraction.sharing import part_of
from tpbench.extraction.sources import (
    Source,
    hashed,
    id_stem,
    is_there,
    mark_duplicates,
    source_id,
)
from tpbench.spread import entries
from tpbench.work import WorkItem
from tpbench.work.records import Shard

logger = logging.getLogger(__name__)

_CLIP_FOLDERS: Final = frozenset(kind.folder_name for kind in CLIP_FILES)
ID_DIGITS: Final = (8, 16, 32, 64)
"""Digits of the sha256 in a source's id: more where fewer would not tell two sources apart."""


def make_folder(folder: Path) -> None:
    """Create the folder of a dataset, or check that it is one.

    Raises:
        DatasetError: it can't be created or written to, or it holds something else or a dataset
            that can't be extended.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (why := refusal(folder)) is not None:
            raise DatasetError(why)
        require_own_folders(folder)
        (folder / RECORDS_FOLDER).mkdir(exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{folder}: can't write a dataset here ({error.strerror})") from error


def refusal(folder: Path) -> str | None:
    """Return why a folder can't become a dataset or be extended; None if it can."""
    if not folder.exists() or (folder / SETTINGS_FILE).is_file():
        return None
    if not folder.is_dir():
        return f"{folder}: is a file; choose a new or empty folder"
    return _why_refused(folder) if any(map(_is_foreign, folder.iterdir())) else None


def _is_foreign(entry: Path) -> bool:
    """Whether an entry is not one that a run without results leaves behind."""
    if entry.name in {RECORDS_FOLDER, WORK_FOLDER}:
        return False
    return entry.name not in _CLIP_FOLDERS or not entry.is_dir() or not _is_empty(entry)


def _is_empty(home: Path) -> bool:
    """Whether a folder holds nothing but empty sub-folders."""
    return not any(entries(home))


def _why_refused(folder: Path) -> str:
    if (folder / RECORDS_FOLDER / SETTINGS_NAME).is_file():
        return (
            f"{folder}: was rebuilt from a pack, whose clips alone it holds; choose another output "
            "folder"
        )
    if holds_work(folder):
        return (
            f"{folder}: a dataset without its records ({RECORDS_FOLDER}): it can be read, not "
            f"extended; put its folder {RECORDS_FOLDER} back from a copy, or choose another output "
            "folder"
        )
    return f"{folder}: holds files but no dataset of tpbench; choose a new or empty folder"


def plan(
    records: SourceRecords,
    sources: Sequence[Source],
    *,
    retry_failed: bool = False,
    shard: Shard | None = None,
    workers: int = 1,
) -> Set[str]:
    """Put the sources to process into `records.planned`; return the keys of all inputs.

    A finished source stays finished while its size and modification time are unchanged; otherwise
    it is reprocessed unless its bytes are the same. A file with the same bytes as another is not
    processed again, and one that merely moved is recognised. A failed source that no longer exists
    is forgotten. A source with a missing clip file is reprocessed, even if it moved. Sources that
    were out of reach are retried.

    Args:
        records: of the dataset.
        sources: all inputs.
        retry_failed: retry sources that failed or were given up.
        shard: plan only this part of the sources.
        workers: processes that read durations, for the division among shards.
    """
    keys = {source.key for source in sources}
    known = dict(records.known)
    again, finished = _to_reprocess(records, sources, retry_failed=retry_failed)
    for key in again:
        records.start_over(key)
    if shard is None:
        for record in known.values():
            if record.item not in again and _failed_and_removed(record, keys):
                records.forget(record.item)
    to_do = [
        source
        for source in sources
        if source.key not in known or source.key in again or known[source.key].state == "pending"
    ]
    marked = mark_duplicates(to_do, finished)
    ours = _in_shard(records, shard, sources, marked, workers)
    for source in marked:
        former = None if source.duplicate_of is None else finished.get(source.sha256 or "")
        planned = source if former is None else _as_duplicate_or_moved(former, source, records)
        if planned is None:
            logger.info("%s was processed before it moved", source.place)
            keys.discard(source.key)
            continue
        if former is not None and planned.duplicate_of is None:
            finished[planned.sha256 or ""] = planned
            if source.key in ours:
                _transfer_record(records, former, planned)
        if source.key in ours:
            records.planned[planned.key] = planned
    return keys & ours


def _in_shard(
    records: SourceRecords,
    shard: Shard | None,
    sources: Sequence[Source],
    to_do: Sequence[Source],
    workers: int,
) -> Set[str]:
    """Return the keys of a shard's sources; `to_do` of all shards, duplicates cost nothing."""
    if shard is None:
        return {source.key for source in sources}
    left = {source.key for source in to_do if source.duplicate_of is None}
    return part_of(records.home, sources, shard, left=left, workers=workers)


def sources_left(
    records: SourceRecords, sources: Sequence[Source], *, retry_failed: bool = False
) -> list[Source]:
    """Return the sources that a run would process, before it looks for equal ones. Writes nothing.

    Args:
        records: of the dataset.
        sources: all inputs.
        retry_failed: see `plan`.
    """
    known = records.known
    again, _ = _to_reprocess(records, sources, retry_failed=retry_failed)
    return [
        source
        for source in sources
        if source.key not in known or source.key in again or known[source.key].state == "pending"
    ]


def _to_reprocess(
    records: SourceRecords, sources: Sequence[Source], *, retry_failed: bool
) -> tuple[set[str], dict[str, Source]]:
    """Return the keys of known sources to reprocess, and the other finished ones by sha256."""
    known = records.known
    keys = {source.key for source in sources}
    again = {
        source.key
        for source in sources
        if source.key in known
        and _needs_reprocessing(
            known[source.key], source, records.folder, retry_failed=retry_failed
        )
    }
    again |= _sharing_an_id(known.values()) & keys
    same = [record for key, record in known.items() if key not in again]
    finished = _finished_by_sha256(same)
    return again | _without_original(same, finished, sources), finished


def _as_duplicate_or_moved(former: Source, source: Source, records: SourceRecords) -> Source | None:
    """Return how to process a source with the bytes of a finished one; None if not at all.

    A source that merely moved is not reprocessed unless files of its clips are missing.
    """
    if is_there(former):
        return replace(source, duplicate_of=former.shown_path)
    if former.key in records.known and not _lacks_files(records.known[former.key], records.folder):
        return None
    return replace(source, duplicate_of=None)


def _transfer_record(records: SourceRecords, former: Source, source: Source) -> None:
    """Transfer the record of a moved source, with its result, to its new path."""
    at_new_place = records.known.get(source.key)
    if former.key in records.known and (at_new_place is None or at_new_place.result is None):
        records.rename(former.key, source)


def work_items(records: SourceRecords) -> Iterator[WorkItem]:
    """Yield the planned sources; each gets its id when it is drawn.

    Raises:
        HaltError: the records were removed or replaced.
    """
    names = SourceNames(records)
    for key in records.planned:
        yield work_item(records, key, names)


def work_item(records: SourceRecords, key: str, names: SourceNames) -> WorkItem:
    """Return a planned source as an item, after giving it its id.

    Raises:
        HaltError: the records were removed or replaced.
    """
    records.require_in_place()
    former = records.known.get(key)
    attempts = 0 if former is None else former.attempts
    records.planned[key] = named = names.named(records.planned[key])
    return WorkItem(key=key, payload=named.to_json(), attempts=attempts)


def is_finished(records: SourceRecords, key: str, *, retry_failed: bool) -> bool:
    """Whether a source need not be processed even if its file is no longer there.

    Args:
        records: of the dataset.
        key: of the source.
        retry_failed: see `plan`.
    """
    record = records.known.get(key)
    if record is None or record.state in {"pending", "postponed"}:
        return False
    if record.state == "done":
        return not _lacks_files(record, records.folder)
    return not retry_failed


class SourceNames:
    """Gives sources their ids: short ones, and longer ones where two videos would share one.

    An id is a file name's stem and 8 digits of a sha256. Equal file names are common
    (`<person>/00001.mp4`), so among many of them two will share the digits. The second one gets
    more digits; finished sources keep their ids. Only files that share a name are hashed for this;
    the sha256 is passed to the worker, which does not compute it again.

    Args:
        records: of the dataset, with the planned sources.
    """

    def __init__(self, records: SourceRecords) -> None:
        sources = {key: record.source for key, record in records.known.items()} | records.planned
        self._bearers = Counter(map(id_stem, sources.values()))
        self._owner: dict[str, str] = {}
        """Source id -> sha256."""
        self._done: dict[str, Source] = {}
        """sha256 -> the first source with these bytes."""
        for record in records.known.values():
            if record.result is None or record.source.duplicate_of is not None:
                continue
            sha256 = record.result["source_sha256"]
            for clip in record.result["clips"]:
                self._owner.setdefault(clip["source_id"], sha256)
            if record.state == "done":
                self._done[sha256] = record.source

    def named(self, source: Source) -> Source:
        """Return the source with its sha256 and the digits of its id, where they matter."""
        if source.duplicate_of is not None or self._bearers[id_stem(source)] < 2:
            return source
        try:
            source = hashed(source)
        except MediaError:
            return source  # the worker reports it in the row of this source
        sha256 = source.sha256 or ""
        first = self._done.setdefault(sha256, source)
        if first.key != source.key and id_stem(first) == id_stem(source):
            # Not noticed earlier: one of the two could not be read when the run was planned.
            return replace(source, duplicate_of=first.shown_path)
        for digits in ID_DIGITS:
            source = replace(source, id_digits=digits)
            if self._owner.setdefault(source_id(source), sha256) == sha256:
                break
        return source


def _needs_reprocessing(
    record: SourceRecord, source: Source, folder: Path, *, retry_failed: bool
) -> bool:
    if record.state == "postponed" or (retry_failed and record.state in FAILED_STATES):
        return True
    return _has_changed(record, source) or _lacks_files(record, folder)


def _has_changed(record: SourceRecord, source: Source) -> bool:
    then = record.source
    if then.stamp == source.stamp:
        return False
    if record.state != "done":
        return True
    try:
        return hashed(source).sha256 != record.sha256
    except MediaError:
        return True


def _sharing_an_id(records: Iterable[SourceRecord]) -> set[str]:
    """Return the keys of sources to which shards or earlier versions gave the same id.

    The files of one have overwritten those of the other, so both are reprocessed.
    """
    bearers: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for record in records:
        if record.state == "done":
            for clip_id, _ in record.kept():
                bearers[clip_id][record.item] = record.sha256
    return {key for same in bearers.values() if len(set(same.values())) > 1 for key in same}


def _lacks_files(record: SourceRecord, folder: Path) -> bool:
    """Whether a file of a kept clip is missing. Damaged ones are found by `inspect --verify`."""
    for clip_id, _ in record.kept():
        for path in (kind.path(folder, clip_id) for kind in CLIP_FILES):
            if not path.is_file():
                logger.warning("%s is missing; its source is reprocessed", path)
                return True
    return False


def _finished_by_sha256(records: Iterable[SourceRecord]) -> dict[str, Source]:
    """Return the sources that earlier runs have finished, by sha256; duplicates left out."""
    return {
        record.sha256: record.source
        for record in records
        if record.state in FINAL_STATES and record.source.duplicate_of is None and record.sha256
    }


def _without_original(
    records: Iterable[SourceRecord], finished: Mapping[str, Source], sources: Sequence[Source]
) -> set[str]:
    """Return the keys of finished duplicates whose original changed or was never finished.

    Args:
        records: the unchanged ones.
        finished: originals, by sha256.
        sources: this run's inputs, which may include a new original.
    """
    keys = {source.key for source in sources}
    orphans = {
        record.item: record
        for record in records
        if record.state == "done" and record.source.duplicate_of and record.item in keys
        if record.sha256 not in finished
    }
    sizes = {record.source.size_bytes for record in orphans.values()}
    coming = set()
    for source in sources:
        if source.size_bytes in sizes and source.key not in orphans:
            with suppress(MediaError):
                coming.add(hashed(source).sha256)
    return {key for key, record in orphans.items() if record.sha256 not in coming}


def _failed_and_removed(record: SourceRecord, keys: Set[str]) -> bool:
    failed = record.state in FAILED_STATES
    return failed and record.item not in keys and not is_there(record.source)
