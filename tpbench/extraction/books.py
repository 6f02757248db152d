"""Before a run: do the books of a dataset tell all that is published, and is every row whole?"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any, Final

from tpbench.dataset import Clip, DatasetInfo, read_clips
from tpbench.dataset.folder import COLUMNS, LEDGER_FILE, MANIFEST_NAME
from tpbench.dataset.info import INFO_NAME, read_info
from tpbench.errors import DatasetError
from tpbench.execution import Ledger, LedgerEntry
from tpbench.execution.ledger import damaged_row
from tpbench.execution.ledger_file import HOW_TO_MEND
from tpbench.extraction.worker import source_of
from tpbench.work import JsonObject

logger = logging.getLogger(__name__)

_NUMBER: Final = (int, float)
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "int64": (int,),
    "float64": _NUMBER,
    "list": (list,),
}


def read_former(folder: Path) -> DatasetInfo | None:
    """Read what `dataset.json` tells, before any work is done; None if it is not there.

    Raises:
        DatasetError: it is damaged. The ledger knows all but two things in it.
    """
    if not (folder / INFO_NAME).exists():
        return None
    try:
        return read_info(folder)
    except DatasetError as error:
        raise DatasetError(
            f"{error}; put it back from a copy, or delete it and run again: no clip is lost by "
            "that, only the dataset's name (--name) and how it was split (`tpbench split`)"
        ) from error


def check_books(ledger: Ledger, folder: Path) -> None:
    """Hold the ledger against what is published: it must know every clip that the manifest keeps.

    A manifest that can't be read is written anew from a ledger that knows as many clips as
    `dataset.json` counts.

    Raises:
        DatasetError: it knows less (it is an older copy, or not whole), or a row is damaged.
    """
    known = {
        (clip["clip_id"], clip["clip_sha256"])
        for result in chain(_results(ledger, folder), ledger.replaced())
        for clip in result["clips"]
        if clip["status"] == "kept"
    }
    published = _published(folder)
    if published is not None:
        kept, missing, where = len(published), sum(c not in known for c in published), MANIFEST_NAME
    else:
        former = read_former(folder)
        kept, where = (0 if former is None else former.counts.kept), INFO_NAME
        missing = max(0, kept - len(known))
    if missing:
        raise DatasetError(
            f"{folder / LEDGER_FILE}: knows nothing of {missing} of the {kept} clips "
            f"that {where} keeps: it is older, or not whole; {HOW_TO_MEND}"
        )


def _published(folder: Path) -> list[tuple[str, str | None]] | None:
    """Return id and sha256 of the clips that the manifest keeps; None if it can't be read."""
    if not (folder / MANIFEST_NAME).exists():
        return None
    try:
        return [(c.clip_id, c.clip_sha256) for c in read_clips(folder, status="kept")]
    except DatasetError as error:
        logger.warning("%s; it is written anew", error)
        return None


def _results(ledger: Ledger, folder: Path) -> Iterator[JsonObject]:
    """Yield what all items gave, after looking at every field that is used later."""
    for entry in ledger.entries():
        try:
            require_well_formed(entry)
        except (DatasetError, TypeError, ValueError, KeyError, AttributeError) as error:
            said = f"{type(error).__name__}: {error}"
            raise damaged_row(folder / LEDGER_FILE, entry.key, said) from error
        if entry.result is not None:
            yield entry.result


def require_well_formed(entry: LedgerEntry) -> None:
    """Look at every field of a row that is used later.

    Raises:
        ValueError, KeyError, TypeError, DatasetError: one is not there, or of another kind.
    """
    source = source_of(entry.payload)
    for name in ("size_bytes", "mtime_ns", "id_digits"):
        _require(getattr(source, name), (int,), name)
    _require(source.shown_path, (str,), "shown_path")
    for value in (source.sha256, source.duplicate_of):
        _require(value or "", (str,), "sha256 or duplicate_of")
    for name in ("error", "error_detail"):
        value = getattr(entry, name)
        if value is not None:
            _require(value, (str,), name)
    for name in ("attempts", "wall_s", "cpu_s"):
        _require(getattr(entry, name), _NUMBER, name)
    if entry.result is not None:
        _require_result(entry.result)


def _require_result(result: JsonObject) -> None:
    _require(result["source_sha256"], (str,), "source_sha256")
    for name in ("n_frames", "duration_s"):
        _require(result[name], _NUMBER, name)
    for name, seconds in result["stage_s"].items():
        _require(seconds, _NUMBER, name)
    _require(result["clips"], (list,), "clips")
    for row in result["clips"]:
        Clip.from_json(row)
        for name, kind in COLUMNS.items():
            if row.get(name) is not None:
                _require(row[name], _KINDS[kind], name)
        for group in ("measurements", "thresholds"):
            for name, value in row.get(group, {}).items():
                _require(value, _NUMBER, name, finite=False)


def _require(
    value: Any,  # noqa: ANN401 - any JSON
    kinds: tuple[type, ...],
    name: str,
    *,
    finite: bool = True,
) -> None:
    endless = finite and isinstance(value, float) and not isfinite(value)
    if not isinstance(value, kinds) or isinstance(value, bool) or endless:
        raise TypeError(f"{name} is {value!r:.60}")
