"""Datasets of earlier versions: conversion of their SQLite ledger into records, once."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tpbench.dataset import Clip
from tpbench.dataset.folder import OLD_LEDGER, RECORDS_FOLDER
from tpbench.errors import DatasetError
from tpbench.extraction.records import (
    SETTINGS_FILE,
    Settings,
    SourceRecord,
    kept_clips,
    write_record,
)
from tpbench.extraction.speed import RunTimes
from tpbench.files import sync
from tpbench.foreign import printable
from tpbench.work.locks import locked

logger = logging.getLogger(__name__)

_APPLICATION_ID: Final = 0x7470626C
_VERSION: Final = 1
_STAGING: Final = ".records.converting"
_REPLACED: Final = "replaced:"
"""Prefix of a key in the table meta: the result of that source before it was reprocessed."""
_DAMAGES: Final = (
    sqlite3.Error,
    DatasetError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
)
"""What reading a damaged ledger raises."""


def convert_ledger(folder: Path) -> None:
    """Write the records of a dataset that has only a ledger, then move the ledger aside.

    After a kill at any point, the next call starts over or completes the conversion.

    Raises:
        DatasetError: a run of an earlier version is active there, or the ledger is damaged.
    """
    ledger, aside = folder / OLD_LEDGER, folder / RECORDS_FOLDER / "ledger"
    if not ledger.is_file() or aside.exists():
        return
    with locked(ledger.with_name(f"{ledger.name}.lock")):
        if not (folder / SETTINGS_FILE).exists():
            _convert(folder)
        ledger.parent.rename(aside)


def _convert(folder: Path) -> None:
    """Write the records to a staging folder, and rename it once it is complete."""
    ledger, staging = folder / OLD_LEDGER, folder / _STAGING
    shutil.rmtree(staging, ignore_errors=True)
    address = f"{ledger.resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as opened:
            count = _write_records(opened, staging)
    except _DAMAGES as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise DatasetError(
            f"{ledger}: damaged, or no ledger of tpbench ({printable(error)}); put back a copy "
            "of its folder, or choose another output folder; published files stay as they are"
        ) from error
    staging.rename(folder / RECORDS_FOLDER)
    sync(folder)
    logger.warning(
        "%s: its ledger was converted into records of %d sources (%s); earlier versions of tpbench "
        "can't extend it any more",
        folder,
        count,
        RECORDS_FOLDER,
    )


def _write_records(ledger: sqlite3.Connection, staging: Path) -> int:
    """Write all records below `staging`; return how many."""
    ledger.row_factory = sqlite3.Row
    for name, wanted in (("application_id", _APPLICATION_ID), ("user_version", _VERSION)):
        found = ledger.execute(f"PRAGMA {name}").fetchone()[0]
        if found != wanted:
            raise ValueError(f"its {name} is {found}, not {wanted}")
    problem = ledger.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise ValueError(problem)
    meta = dict(ledger.execute("SELECT key, value FROM meta").fetchall())
    settings = Settings(settings=meta["config_digest"], config=json.loads(meta["config"]))
    settings.write(staging / SETTINGS_FILE.name)
    RunTimes(wall_s=float(meta.get("wall_s", 0))).write(staging / "run.json")
    count = 0
    for record in _records(ledger, meta):
        write_record(staging, record, settings)
        count += 1
    return count


def _records(ledger: sqlite3.Connection, meta: dict[str, str]) -> Iterator[SourceRecord]:
    """Yield a record of each source that was ever tried."""
    for row in ledger.execute("SELECT * FROM items ORDER BY id"):
        state = "pending" if row["state"] == "leased" else row["state"]
        result = None if row["result"] is None else _checked(json.loads(row["result"]))
        if state == "pending" and not row["attempts"] and result is None:
            continue
        before = meta.get(f"{_REPLACED}{row['key']}")
        fields = {
            "item": row["key"],
            "state": state,
            "source": json.loads(row["payload"]),
            "result": result,
            "replaced": [] if before is None else kept_clips(json.loads(before)),
        }
        plain = ("attempts", "error", "error_detail", "wall_s", "cpu_s")
        yield SourceRecord.model_validate(fields | {name: row[name] for name in plain})


def _checked(result: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a source after checking every field that is used later."""
    for row in result["clips"]:
        Clip.from_json(row)
    numbers = (result["n_frames"], result["duration_s"], *result["stage_s"].values())
    if not isinstance(result["source_sha256"], str) or not all(map(_is_number, numbers)):
        raise TypeError(f"a source gave {result!r:.80}")
    return result


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < float("inf")
