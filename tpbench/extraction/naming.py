"""Ids of sources: short ones, and longer ones where two different videos would share one.

An id is a file name's stem and 8 digits of a sha256. Videos of one name are common
(`<person>/00001.mp4`), so among many of them two will share the digits. The second one gets more.
Who is second hangs on the order in which the ledger knows them, and what is done keeps its id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from tpbench.errors import MediaError
from tpbench.execution import LedgerEntry
from tpbench.extraction.sources import Source, hashed, id_stem, source_id
from tpbench.extraction.worker import payload_of, source_of
from tpbench.work import WorkItem

_DIGITS: Final = (8, 16, 32, 64)


class SourceNames:
    """Gives the sources of a run their ids, one after the other, before a worker gets them.

    Only a file whose name another one bears has to be read for it; its sha256 then goes to the
    worker, who does not read it again.

    Args:
        entries: all of the ledger.
    """

    def __init__(self, entries: Iterable[LedgerEntry]) -> None:
        self._bearers: Counter[str] = Counter()
        self._owner: dict[str, str] = {}
        """Source id -> sha256."""

        self._done: dict[str, Source] = {}
        """sha256 -> the source that bears it."""

        for entry in entries:
            source = source_of(entry.payload)
            self._bearers[id_stem(source)] += 1
            if entry.result is not None and source.duplicate_of is None:
                for clip in entry.result["clips"]:
                    self._owner.setdefault(clip["source_id"], entry.result["source_sha256"])
            if entry.state == "done" and entry.result is not None and source.duplicate_of is None:
                self._done[entry.result["source_sha256"]] = source

    def __call__(self, item: WorkItem) -> WorkItem:
        """Return the item with the sha256 and the id of its source, where they matter."""
        source = source_of(item.payload)
        if source.duplicate_of is not None or self._bearers[id_stem(source)] < 2:
            return item
        try:
            source = hashed(source)
        except MediaError:
            return item  # the worker will say so, in the row of this source
        sha256 = source.sha256 or ""
        first = self._done.setdefault(sha256, source)
        if first.path != source.path and id_stem(first) == id_stem(source):
            # Not seen before: one of the two could not be read when the run was planned.
            source = replace(source, duplicate_of=first.shown_path)
            return replace(item, payload=payload_of(source))
        for digits in _DIGITS:
            source = replace(source, id_digits=digits)
            if self._owner.setdefault(source_id(source), sha256) == sha256:
                break
        return replace(item, payload=payload_of(source))
