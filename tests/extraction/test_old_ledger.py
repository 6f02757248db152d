"""Datasets of earlier versions had a SQLite ledger in the place of records."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.extraction.test_nothing_lost import extracted, files, finished, write
from tpbench.dataset import Dataset
from tpbench.dataset.folder import OLD_LEDGER
from tpbench.errors import DatasetError
from tpbench.extraction import old_ledger, run
from tpbench.extraction.records import Settings, read_records
from tpbench.extraction.speed import RunTimes

__all__ = ["finished"]

pytestmark = pytest.mark.usefixtures("quick_clips")

SCHEMA = """
CREATE TABLE items (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, payload TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', attempts INTEGER NOT NULL DEFAULT 0, result TEXT,
    error TEXT, error_detail TEXT, wall_s REAL NOT NULL DEFAULT 0, cpu_s REAL NOT NULL DEFAULT 0);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
PRAGMA application_id = 0x7470626C;
PRAGMA user_version = 1;
"""


@pytest.fixture
def old(finished: Path, tmp_path: Path) -> Path:
    """A finished dataset as an earlier version left it, with one more source to be done."""
    folder = shutil.copytree(finished, tmp_path / "dataset")
    settings = Settings.read(folder / ".records" / "settings.json")
    (folder / OLD_LEDGER).parent.mkdir()
    with closing(sqlite3.connect(folder / OLD_LEDGER)) as ledger:
        ledger.executescript(SCHEMA)
        for record in read_records(folder):
            ledger.execute(
                "INSERT INTO items (key, payload, state, attempts, result, wall_s, cpu_s)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    record.item,
                    json.dumps(record.source.to_json()),
                    record.state,
                    record.attempts,
                    json.dumps(record.result),
                    record.wall_s,
                    record.cpu_s,
                ),
            )
        payload = json.dumps(record.source.to_json())
        ledger.execute("INSERT INTO items (key, payload) VALUES ('never tried', ?)", (payload,))
        ledger.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            [
                ("config_digest", settings.settings),
                ("config", json.dumps(settings.config)),
                ("wall_s", "12.5"),
            ],
        )
        ledger.commit()
    shutil.rmtree(folder / ".records")
    return folder


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return write(tmp_path / "new" / "e.mp4", "e").parent


def test_an_old_dataset_goes_on_and_nothing_is_done_again(
    old: Path, finished: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "run_items", lambda _, items, *__, **___: list(items))
    assert Dataset.open(old).verify() == []
    extracted(old, finished.parent / "talks")
    assert list(read_records(old)) == list(read_records(finished))
    assert files(old) == files(finished)
    assert Dataset.open(old).digest == Dataset.open(finished).digest
    assert RunTimes.read(old / ".records" / "run.json").wall_s >= 12.5
    assert not (old / OLD_LEDGER).exists()
    (said,) = [r.getMessage() for r in caplog.records if "ledger" in r.getMessage()]
    assert said.startswith(f"{old}: its ledger was converted into records of 2 sources (.records);")


def test_what_is_new_is_done_and_the_rest_known(old: Path, new: Path) -> None:
    dataset = extracted(old, new)
    assert (dataset.info.counts.kept, dataset.verify()) == (4, [])
    assert extracted(old, new).digest == dataset.digest


def test_a_conversion_that_was_killed_begins_again(
    old: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(old_ledger, "write_record", die)
        with pytest.raises(KeyboardInterrupt):
            extracted(old, new)
    assert not (old / ".records").exists()
    assert extracted(old, new).info.counts.kept == 4
    assert not (old / ".records.converting").exists()


def test_a_run_killed_before_the_ledger_was_put_aside_is_finished_by_the_next(
    old: Path, new: Path
) -> None:
    extracted(old, new)
    before = list(read_records(old))
    (old / ".records" / "ledger").rename(old / OLD_LEDGER.parent)
    extracted(old, new)
    assert list(read_records(old)) == before
    assert not (old / OLD_LEDGER.parent).exists()
    assert (old / ".records" / "ledger" / OLD_LEDGER.name).is_file()


def changed(statement: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as ledger:
            ledger.execute(statement)
            ledger.commit()

    return change


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("x" * 9000),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        changed("DROP TABLE meta"),
        changed("DELETE FROM meta"),
        changed("UPDATE items SET state = 'dome'"),
        changed("UPDATE items SET result = '{\"clips\": [' WHERE result IS NOT NULL"),
        changed("UPDATE items SET payload = '[]'"),
        changed("UPDATE items SET result = x'ff00' WHERE result IS NOT NULL"),
        changed("UPDATE items SET result = json_remove(result, '$.clips')"),
        changed("UPDATE items SET result = json_remove(result, '$.clips[0].status')"),
        changed("UPDATE items SET result = json_set(result, '$.clips[0]', 'x')"),
        changed("UPDATE items SET result = json_set(result, '$.stage_s', json('[1]'))"),
        changed("UPDATE items SET cpu_s = 'long'"),
        changed("UPDATE items SET cpu_s = 9e999"),
        changed("PRAGMA user_version = 99"),
    ],
)
def test_a_damaged_ledger_is_one_line_and_stays_as_it_is(
    damage: Callable[[Path], object], old: Path, new: Path
) -> None:
    damage(old / OLD_LEDGER)
    before, ledger = files(old), (old / OLD_LEDGER).read_bytes()
    with pytest.raises(DatasetError, match=r"damaged, or no ledger of tpbench.*copy") as said:
        extracted(old, new)
    assert "\n" not in str(said.value)
    assert (files(old), (old / OLD_LEDGER).read_bytes()) == (before, ledger)
    assert not (old / ".records").exists()


def test_a_ledger_that_knows_less_than_the_manifest_is_refused(old: Path, new: Path) -> None:
    changed("DELETE FROM items WHERE id = 1")(old / OLD_LEDGER)
    before = files(old)
    with pytest.raises(DatasetError, match=r"has no record of 2 of the 3 clips"):
        extracted(old, new)
    assert files(old) == before
