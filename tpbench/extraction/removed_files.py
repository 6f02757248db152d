"""Deletion of what belongs to removed clips: their files, thumbnails, records and logs.

Everything is found by the tombstones, so a removal that was killed is finished by repeating it.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Final

from tpbench.dataset import Dataset
from tpbench.dataset.folder import CLIP_FILES, RECORDS_FOLDER
from tpbench.dataset.manifest import Table
from tpbench.dataset.removal import Removals, SourceMarks, Tombstone, today
from tpbench.extraction.leftovers import LEFTOVERS
from tpbench.extraction.rebuild_records import forget_rebuilt
from tpbench.extraction.records import FAILED_STATES, SourceRecord, row_of_failure, stored_records
from tpbench.extraction.thumbnails import THUMBNAILS
from tpbench.files import atomic_write_text, is_temporary
from tpbench.foreign import ForeignFileError, read_json
from tpbench.spread import entries, new_path

logger = logging.getLogger(__name__)

_ENDINGS: Final = frozenset(kind.ending for kind in CLIP_FILES)


def clip_files(folder: Path, removals: Removals, gone: Set[str]) -> Iterator[Path]:
    """Yield the files of removed clips, each once.

    Args:
        folder: of the dataset.
        removals: its tombstones. Files of no row are found by them, unless behind a link.
        gone: ids of rows that are removed, whose files may have any name.
    """
    homes = [folder, folder / LEFTOVERS]
    for home in (kind.home(base) for base in homes for kind in CLIP_FILES):
        found = {
            path
            for path in entries(home, follow_links=False)
            if path.suffix in _ENDINGS and removals.removes_clip_id(path.stem)
        }
        for name in (f"{clip_id}{ending}" for clip_id in gone for ending in _ENDINGS):
            found |= {path for path in (new_path(home, name), home / name) if _is_there(path)}
        yield from sorted(found)


def delete_clip_files(folder: Path, removals: Removals, gone: Set[str]) -> None:
    """Delete what `clip_files` finds."""
    for path in clip_files(folder, removals, gone):
        logger.info("deleting %s: its clip was removed from the dataset", path)
        path.unlink()


def delete_left_out(dataset: Dataset, given: Table) -> None:
    """Delete what `finalise` left out of a dataset.

    A new source of a person who was removed before is removed as well: it gets its own tombstone.

    Args:
        dataset: just finalised.
        given: the rows that it was given, as columns.
    """
    import pyarrow.compute as pc

    folder = dataset.folder
    removals = Removals.read(folder)
    if not removals:
        return
    left = dataset.table(["clip_id", "source_id"])
    stays = pc.is_in(given["clip_id"], value_set=left["clip_id"].combine_chunks())
    gone = given.select(["clip_id", "source_id"]).filter(pc.invert(stays))
    delete_clip_files(folder, removals, {*gone["clip_id"].to_pylist()})
    sources = {*gone["source_id"].to_pylist()} - {*left["source_id"].to_pylist()}
    of_people = [
        Tombstone(kind="source", id=name, date=today(), reason="of a person who was removed")
        for name in sorted(sources)
        if not removals.removes_source(source_id=name)
    ]
    if of_people:
        removals = removals.joined(of_people)
        removals.write(folder)
        forget_thumbnails(folder, removals, frozenset())
        forget_records(folder, removals)


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.is_file()


def forget_thumbnails(folder: Path, removals: Removals, gone: Set[str]) -> int:
    """Delete the thumbnails of removed stretches; return how many files changed.

    Args:
        folder: of the dataset.
        removals: its tombstones.
        gone: ids of rows that are removed.
    """
    changed = 0
    for path in list(entries(folder / THUMBNAILS, follow_links=False)):
        if is_temporary(path):
            path.unlink()
        if path.suffix != ".json" or not path.is_file():
            continue
        if removals.removes_source(source_id=path.stem):
            path.unlink()
            changed += 1
        elif removals.spans_of(SourceMarks(source_id=path.stem)) or _of_source(gone, path.stem):
            changed += _without(path, removals, gone)
    return changed


def _of_source(gone: Set[str], source_id: str) -> bool:
    return any(clip_id.startswith(source_id) for clip_id in gone)


def _without(path: Path, removals: Removals, gone: Set[str]) -> bool:
    """Drop the pictures of removed stretches from the file of a source; whether there were any."""
    try:
        pictures = dict(read_json(path)["thumbnails"])
    except (OSError, ForeignFileError, ValueError, TypeError, KeyError) as error:
        logger.warning("%s: deleted, as it can't be read (%s)", path, error)
        path.unlink()
        return True
    stay = {
        clip_id: picture
        for clip_id, picture in pictures.items()
        if clip_id not in gone and not removals.removes_clip_id(clip_id)
    }
    if stay:
        atomic_write_text(path, json.dumps({"thumbnails": stay}, indent=1) + "\n")
    else:
        path.unlink()
    return stay != pictures


def forget_records(folder: Path, removals: Removals) -> int:
    """Delete the records of removed sources, and what others say about removed stretches.

    The logs of workers and the ledger of an earlier version are deleted: they name sources.

    Returns:
        How many records were deleted or written anew.

    Raises:
        DatasetError: a record is damaged.
    """
    home = folder / RECORDS_FOLDER
    changed = 0
    for path, record in stored_records(folder):
        stays = _what_stays(record, removals)
        if stays is None:
            path.unlink()
        elif stays != record:
            stays.write(path)
        changed += stays != record
    forget_rebuilt(home, removals)
    for path in list(home.rglob("*")):
        if is_temporary(path) or path.suffix == ".log":
            path.unlink()
    shutil.rmtree(home / "ledger", ignore_errors=True)
    return changed


def _what_stays(record: SourceRecord, removals: Removals) -> SourceRecord | None:
    stays = record.without_removed(removals)
    if stays is None or record.state not in FAILED_STATES:
        return stays
    # The id of a source that was never read is known only from its row.
    return None if removals.removes_row(row_of_failure(record)) else stays
