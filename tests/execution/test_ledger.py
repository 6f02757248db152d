from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from tpbench.errors import DatasetError, TPBenchError
from tpbench.execution import Ledger, read_ledger
from tpbench.work import Outcome, OutcomeKind, WorkItem


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dataset" / ".ledger" / "local.sqlite"


def open_ledger(path: Path) -> Ledger:
    return Ledger.open(path, config_digest="c1")


def items(*keys: str) -> list[WorkItem]:
    return [WorkItem(key=key, payload={"path": f"{key}.mp4"}) for key in keys]


def outcome(key: str, kind: OutcomeKind = "done", attempts: int = 1) -> Outcome:
    return Outcome(key=key, kind=kind, attempts=attempts)


def leave_as_a_killed_driver(ledger: Ledger) -> None:
    """End as SIGKILL would: nothing released, the lock given back by the kernel."""
    ledger._database.close()
    os.close(ledger._lock_fd)


def test_items_are_leased_once_in_the_order_of_adding(path: Path) -> None:
    with open_ledger(path) as ledger:
        assert ledger.add(items("b", "a", "c")) == 3
        assert [item.key for item in ledger.lease()] == ["b", "a", "c"]
        assert list(ledger.lease()) == []
        assert ledger.counts()["leased"] == 3


def test_an_item_is_leased_when_it_is_drawn_and_not_before(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.add(items("a", "b", "c"))
        drawn = next(ledger.lease())
        assert drawn == WorkItem(key="a", payload={"path": "a.mp4"})
        assert ledger.counts()["pending"] == 2


def test_only_wanted_keys_are_leased(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.add(items("a", "b", "c"))
        assert [item.key for item in ledger.lease({"c", "a"})] == ["a", "c"]
        assert ledger.counts()["pending"] == 1


def test_adding_again_counts_nothing_and_moves_only_pending_payloads(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.add(items("a", "b"))
        next(ledger.lease())
        ledger.record(outcome("a"))
        again = [WorkItem(key=key, payload={"path": "moved.mp4"}) for key in ("a", "b")]
        assert ledger.add(again) == 0
        assert [entry.payload["path"] for entry in ledger.entries()] == ["a.mp4", "moved.mp4"]


def test_all_of_an_outcome_is_kept(path: Path) -> None:
    result = {"clips": [{"id": "ü", "m_yaw": 0.25}], "none": None}
    with open_ledger(path) as ledger:
        ledger.add(items("a", "b"))
        list(ledger.lease())
        ledger.record(
            Outcome(key="a", kind="done", attempts=2, result=result, wall_s=1.5, cpu_s=0.5)
        )
        ledger.record(
            Outcome(key="b", kind="failed", attempts=1, error="no video", error_detail="Trace")
        )

    done, failed = read_ledger(path)
    assert (done.state, done.attempts, done.result) == ("done", 2, result)
    assert (done.wall_s, done.cpu_s, done.error) == (1.5, 0.5, None)
    assert (failed.state, failed.error, failed.error_detail) == ("failed", "no video", "Trace")
    assert failed.result is None


def test_what_a_dead_driver_had_leased_is_pending_without_an_attempt(path: Path) -> None:
    ledger = open_ledger(path)
    ledger.add(items("a", "b", "c"))
    list(islice(ledger.lease(), 2))
    ledger.record(outcome("a"))
    leave_as_a_killed_driver(ledger)
    with open_ledger(path) as ledger:
        assert [(item.key, item.attempts) for item in ledger.lease()] == [("b", 0), ("c", 0)]


def test_closing_gives_leases_back(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.add(items("a"))
        list(ledger.lease())
    assert [entry.state for entry in read_ledger(path)] == ["pending"]


def test_failed_tries_are_remembered_over_runs(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.add(items("a"))
        list(ledger.lease())
        ledger.record(outcome("a", "retried", attempts=2))
        assert ledger.counts()["leased"] == 1
    with open_ledger(path) as ledger:
        assert [item.attempts for item in ledger.lease()] == [2]


@pytest.mark.parametrize("kind", ["done", "failed", "quarantined"])
def test_a_finished_item_never_changes(
    path: Path, kind: Literal["done", "failed", "quarantined"]
) -> None:
    with open_ledger(path) as ledger:
        ledger.add(items("a"))
        list(ledger.lease())
        ledger.record(outcome("a", kind))
        with pytest.raises(ValueError, match="not leased"):
            ledger.record(outcome("a", "done"))
        assert ledger.counts()[kind] == 1


def test_an_item_that_was_never_added_is_not_recorded(path: Path) -> None:
    with open_ledger(path) as ledger, pytest.raises(ValueError, match="not leased"):
        ledger.record(outcome("a"))


def test_forgotten_items_start_anew_and_others_stay(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.add(items("a", "b"))
        for item in ledger.lease():
            ledger.record(outcome(item.key, "failed", attempts=3))
        ledger.forget(["a", "unknown"])
        assert [(item.key, item.attempts) for item in ledger.lease()] == [("a", 0)]
        assert ledger.counts()["failed"] == 1


def test_another_config_is_refused_and_named(path: Path) -> None:
    open_ledger(path).close()
    with pytest.raises(DatasetError, match=r"another config \(c1, now c2\).*--redo"):
        Ledger.open(path, config_digest="c2")
    open_ledger(path).close()


def test_redo_forgets_everything_and_keeps_the_new_config(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.add(items("a"))
        list(ledger.lease())
        ledger.record(outcome("a"))
    with Ledger.open(path, config_digest="c2", redo=True) as ledger:
        assert ledger.counts()["pending"] == 1
        assert ledger.get_meta("config_digest") == "c2"
    Ledger.open(path, config_digest="c2").close()


def test_meta_keeps_the_last_value(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.set_meta("tool_version", "0.1")
        ledger.set_meta("tool_version", "0.2")
    with open_ledger(path) as ledger:
        assert ledger.get_meta("tool_version") == "0.2"
        assert ledger.get_meta("unknown") is None


def test_a_second_driver_is_told_who_holds_the_ledger(path: Path) -> None:
    with open_ledger(path), pytest.raises(DatasetError, match=f"process {os.getpid()} on "):
        open_ledger(path)
    open_ledger(path).close()


def test_a_killed_holder_leaves_no_lock(path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from tpbench.execution import Ledger\n"
        "ledger = Ledger.open(Path(sys.argv[1]), config_digest='c1')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert killed.returncode == -9
    open_ledger(path).close()


def test_a_reader_sees_what_a_live_driver_has_recorded(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.add(items("a", "b"))
        next(ledger.lease())
        ledger.record(outcome("a"))
        assert [entry.state for entry in read_ledger(path)] == ["done", "pending"]


def test_entries_come_all_and_in_order_over_many_pages(path: Path) -> None:
    keys = [f"{number:03d}" for number in range(250)]
    with open_ledger(path) as ledger:
        ledger.add(items(*keys))
        ledger.add(items("999"))
        assert [entry.key for entry in ledger.entries()] == [*keys, "999"]


def test_no_ledger_where_one_is_read_is_a_dataset_error(path: Path) -> None:
    with pytest.raises(DatasetError, match=re.escape(str(path))):
        list(read_ledger(path))


def test_a_text_file_is_no_ledger_and_stays_as_it_is(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("clip_id,identity\n" * 100)
    with pytest.raises(DatasetError, match="no ledger of tpbench"):
        open_ledger(path)
    assert path.read_text().startswith("clip_id")


def test_a_foreign_database_is_no_ledger_and_stays_as_it_is(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE items (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(DatasetError, match="no ledger of tpbench"):
        open_ledger(path)
    assert path.read_bytes() == before


def test_a_ledger_of_another_version_is_refused(path: Path) -> None:
    open_ledger(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(DatasetError, match="schema version 99"):
        open_ledger(path)


def test_a_damaged_ledger_is_a_dataset_error_and_not_left_locked(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.add(items(*(f"key {number}" for number in range(500))))
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 8192)
    for _ in range(2):
        with pytest.raises(DatasetError, match="damaged"):
            open_ledger(path)


def test_an_empty_file_becomes_a_ledger(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.touch()  # what a kill right at the creation leaves
    with open_ledger(path) as ledger:
        assert ledger.add(items("a")) == 1


def test_a_full_disk_is_one_line_and_loses_nothing_finished(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.add(items("a", "b"))
        list(ledger.lease())
        ledger.record(outcome("a"))
        pages = ledger._database.execute("PRAGMA page_count").fetchone()[0]
        ledger._database.execute(f"PRAGMA max_page_count = {pages}")
        huge = Outcome(key="b", kind="done", attempts=1, result={"rows": "x" * 100_000})
        with pytest.raises(TPBenchError, match="the disk is full"):
            ledger.record(huge)
    assert [entry.state for entry in read_ledger(path)] == ["done", "pending"]


def test_an_output_that_is_a_file_is_a_dataset_error(tmp_path: Path) -> None:
    (tmp_path / "dataset").touch()
    with pytest.raises(DatasetError, match="must be writable"):
        open_ledger(tmp_path / "dataset" / ".ledger" / "local.sqlite")


def test_an_item_that_is_no_json_adds_nothing_at_all(path: Path) -> None:
    with open_ledger(path) as ledger:
        with pytest.raises(TypeError):
            ledger.add([*items("a"), WorkItem(key="b", payload={"path": Path("b.mp4")})])
        assert sum(ledger.counts().values()) == 0


class LedgerMachine(RuleBasedStateMachine):
    """Any order of adding, leasing, recording, forgetting, closing and being killed."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.ledger = open_ledger(self.folder / "ledger.sqlite")
        self.ledger._database.execute("PRAGMA synchronous = OFF")
        self.states: dict[str, str] = {}
        self.attempts: dict[str, int] = {}
        self.leasing = self.ledger.lease()

    @rule(target=keys, key=st.sampled_from("abcdef"))
    def add(self, key: str) -> str:
        assert self.ledger.add(items(key)) == (key not in self.states)
        self.states.setdefault(key, "pending")
        self.attempts.setdefault(key, 0)
        return key

    @rule(restart=st.booleans())
    def lease(self, restart: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        if restart:
            self.leasing = self.ledger.lease()
        item = next(self.leasing, None)
        if item is None:
            self.leasing = self.ledger.lease()
            return
        assert self.states[item.key] == "pending"
        assert item.attempts == self.attempts[item.key]
        self.states[item.key] = "leased"

    @rule(key=keys, kind=st.sampled_from(["done", "failed", "quarantined", "retried"]))
    def record(self, key: str, kind: OutcomeKind) -> None:
        news = outcome(key, kind, attempts=self.attempts[key] + 1)
        if self.states[key] != "leased":
            with pytest.raises(ValueError, match="not leased"):
                self.ledger.record(news)
            return
        self.ledger.record(news)
        self.attempts[key] += 1
        self.states[key] = "leased" if kind == "retried" else kind

    @rule(key=keys)
    def forget(self, key: str) -> None:
        self.ledger.forget([key])
        if self.states[key] != "leased":
            self.states[key], self.attempts[key] = "pending", 0

    @rule(killed=st.booleans())
    @precondition(lambda self: self.states)
    def end_the_run(self, killed: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        if killed:
            leave_as_a_killed_driver(self.ledger)
        else:
            self.ledger.close()
        self.ledger = open_ledger(self.folder / "ledger.sqlite")
        self.leasing = self.ledger.lease()
        for key, state in self.states.items():
            self.states[key] = "pending" if state == "leased" else state

    @invariant()
    def nothing_is_lost_and_nothing_finished_moves(self) -> None:
        seen = {entry.key: (entry.state, entry.attempts) for entry in self.ledger.entries()}
        assert seen == {key: (self.states[key], self.attempts[key]) for key in self.states}

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)


LedgerMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLedgerMachine = LedgerMachine.TestCase


def test_the_file_holds_json_and_no_pickle(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.add(items("a"))
        list(ledger.lease())
        ledger.record(Outcome(key="a", kind="done", attempts=1, result={"clips": []}))
    with closing(sqlite3.connect(path)) as database:
        payload, result = database.execute("SELECT payload, result FROM items").fetchone()
    assert (json.loads(payload), json.loads(result)) == ({"path": "a.mp4"}, {"clips": []})
