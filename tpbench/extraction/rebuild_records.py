"""The records of a rebuild: what became of the clips of each source.

    DATASET/.records/
      rebuild.json                     the pack that this folder is rebuilt from
      raw.json                         sha256 of raw files
      rebuilt/<ab>/<digits>.json       one per source

A record is valid as long as pack, raw file and versions are the same.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from tpbench.canonical import settings_digest
from tpbench.dataset.pack import encoders
from tpbench.dataset.removal import Removals
from tpbench.extraction.rebuild_task import source_name
from tpbench.extraction.remaking import Remade
from tpbench.extraction.sources import Source
from tpbench.spread import entries, existing_path, make_place
from tpbench.work import JsonObject, Outcome, ProgressCounter, keep_traceback
from tpbench.work.records import Record, RecordError, folder_id, require_same

logger = logging.getLogger(__name__)

SETTINGS_NAME: Final = "rebuild.json"
RAW_NAME: Final = "raw.json"
REBUILT: Final = "rebuilt"
LOG_NAME: Final = "workers.log"
_VERSION: Final = 1
"""Incremented when the same pack and files would give another result."""
_REMADE: Final = TypeAdapter(tuple[Remade, ...])


class RebuildSettings(Record):
    """Which pack a folder is rebuilt from."""

    pack_digest: str


class RebuiltSource(Record):
    """What became of the clips of one source."""

    indent = None

    source_id: str
    key: str
    """Digest of all that it depends on: pack, raw files, versions."""
    raw: str
    raw_sha256: str | None
    clips: list[dict[str, Any]]
    """Fields of `Remade`."""

    def made(self) -> tuple[Remade, ...]:
        """Return what became of the clips."""
        return _REMADE.validate_python(self.clips)


class RebuildRecords:
    """The records of a rebuild, in a locked folder.

    Args:
        home: their folder.
        pack_digest: of the pack.
    """

    def __init__(self, home: Path, pack_digest: str) -> None:
        self.home = home
        self.home_id = folder_id(home)
        self.planned: dict[str, str] = {}
        """Source id -> key of the record to be written."""
        self._pack_digest = pack_digest

    def key(self, candidates: Sequence[Source]) -> str:
        """Return what the result of a source depends on."""
        files = [[source.sha256, source.path.name] for source in candidates]
        return settings_digest([_VERSION, self._pack_digest, encoders(), files])

    def read(self, source_id: str, key: str) -> RebuiltSource | None:
        """Return the record of a source; None if there is none that is valid."""
        try:
            record = RebuiltSource.read(existing_path(self.home / REBUILT, _file(source_id)))
        except RecordError:
            return None
        return record if record.key == key else None

    def add(self, outcome: Outcome, progress: ProgressCounter) -> None:
        """Record what became of a source; see `Records.add` of `tpbench.work`."""
        require_same(self.home, self.home_id)
        if outcome.kind == "retried":
            return
        counts: Counter[str] = Counter()
        if outcome.result is None:
            counts["failed"] = 1
            logger.warning("%s: %s", outcome.key, outcome.error)
            keep_traceback(outcome, self.home / LOG_NAME)
        else:
            made = _REMADE.validate_python(outcome.result["clips"])
            counts.update(clip.outcome for clip in made)
            counts["failed"] = int(not all(clip.kept for clip in made))
            self._write(outcome.key, outcome.result)
        progress.finish(outcome.key, counts=counts)

    def _write(self, source_id: str, result: JsonObject) -> None:
        record = RebuiltSource(source_id=source_id, key=self.planned[source_id], **result)
        record.write(make_place(self.home / REBUILT, _file(source_id)))


def _file(source_id: str) -> str:
    return f"{source_name(source_id)}.json"


def forget_rebuilt(home: Path, removals: Removals) -> None:
    """Delete the records of sources of which something was removed, and the list of raw files.

    Args:
        home: folder of all records.
        removals: of the dataset.
    """
    for path in list(entries(home / REBUILT)):
        try:
            record = RebuiltSource.read(path)
        except RecordError:  # of no use to anybody
            path.unlink()
            continue
        ids = [clip["clip_id"] for clip in record.clips]
        if removals.removes_source(source_id=record.source_id, sha256=record.raw_sha256) or any(
            map(removals.removes_clip_id, ids)
        ):
            path.unlink()
    (home / RAW_NAME).unlink(missing_ok=True)
