from __future__ import annotations

from pathlib import Path

import pytest

from tpbench.work import Outcome
from tpbench.work.attempts import Attempts
from tpbench.work.worker import OutcomeKind


def lost(attempts: int, kind: OutcomeKind = "retried") -> Outcome:
    return Outcome(key="sub/a b", kind=kind, attempts=attempts, error="the worker was lost")


def test_lost_attempts_are_known_to_the_next_run_until_none_is_left(tmp_path: Path) -> None:
    found = []
    for attempts, kind in ((1, "retried"), (2, "retried"), (3, "quarantined")):
        Attempts(tmp_path).note(lost(attempts, kind), "key")  # type: ignore[arg-type]  # literals
        record = Attempts(tmp_path).of("sub/a b", "key")
        assert record is not None
        found.append((record.attempts, record.given_up, record.error))
    assert found == [
        (1, False, "the worker was lost"),
        (2, False, "the worker was lost"),
        (3, True, "the worker was lost"),
    ]


def test_attempts_at_something_else_do_not_count(tmp_path: Path) -> None:
    Attempts(tmp_path).note(lost(2), "key")
    assert Attempts(tmp_path).of("sub/a b", "other key") is None
    assert Attempts(tmp_path).of("another", "key") is None


@pytest.mark.parametrize("kind", ["done", "failed"])
def test_what_is_done_or_invalid_leaves_nothing(kind: OutcomeKind, tmp_path: Path) -> None:
    attempts = Attempts(tmp_path)
    attempts.note(lost(2), "key")
    attempts.note(lost(3, kind), "key")
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_reached_keeps_its_attempts(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path)
    attempts.note(lost(2), "key")
    attempts.note(lost(2, "postponed"), "key")
    assert attempts.of("sub/a b", "key") is not None


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    Attempts(tmp_path).note(lost(3), "key")
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    assert Attempts(tmp_path).of("sub/a b", "key") is None


def test_all_can_be_forgotten(tmp_path: Path) -> None:
    (tmp_path / "other.json").touch()
    Attempts(tmp_path).note(lost(3), "key")
    assert Attempts(tmp_path, forget=True).of("sub/a b", "key") is None
    assert [path.name for path in tmp_path.iterdir()] == ["other.json"]
