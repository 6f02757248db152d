from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tpbench.dataset.folder import LEDGER_FILE
from tpbench.execution import Ledger
from tpbench.extraction.bookkeeping import WORKER_LOG, plan
from tpbench.extraction.progress import ProgressCounter, RunProgress
from tpbench.extraction.sources import find_sources
from tpbench.work import Outcome


@pytest.fixture
def told() -> list[RunProgress]:
    return []


@pytest.fixture
def counter(tmp_path: Path, told: list[RunProgress]) -> Iterator[ProgressCounter]:
    """Of a run over three sources, one of which an earlier run has done."""
    (tmp_path / "talks").mkdir()
    for name in "abc":
        (tmp_path / "talks" / f"{name}.mp4").write_text(name)
    sources = find_sources([tmp_path / "talks"], excluded=tmp_path / "out")
    with Ledger.open(tmp_path / "out" / LEDGER_FILE, config_digest="c") as ledger:
        keys = plan(ledger, sources, tmp_path / "out")
        first = next(ledger.lease())
        ledger.record(Outcome(key=first.key, kind="failed", attempts=1, error="is bad"))
        yield ProgressCounter(ledger, tmp_path / "out", keys, told.append)


def outcome(tmp_path: Path, name: str, *statuses: str, frames: int = 100) -> Outcome:
    result = {"clips": [{"status": status} for status in statuses], "n_frames": frames}
    return Outcome(
        key=str(tmp_path / "talks" / f"{name}.mp4"), kind="done", attempts=1, result=result
    )


def test_the_beginning_counts_what_was_done_before(
    counter: ProgressCounter, told: list[RunProgress]
) -> None:
    counter.start()
    assert told == [
        RunProgress(sources_total=3, sources_done=1, kept=0, rejected=0, failed=0, frames=0)
    ]


def test_frames_of_running_and_finished_sources_add_up(
    counter: ProgressCounter, told: list[RunProgress], tmp_path: Path
) -> None:
    b, c = (str(tmp_path / "talks" / name) for name in ("b.mp4", "c.mp4"))
    counter.on_frames(b, {"frames": 50})
    counter.on_frames(c, {"frames": 50})
    counter.on_frames(b, {"frames": 100})
    counter.on_outcome(outcome(tmp_path, "b", "kept", "kept", "rejected", frames=110))
    assert [state.frames for state in told] == [50, 100, 150, 150]
    assert told[-1] == RunProgress(
        sources_total=3, sources_done=2, kept=2, rejected=1, failed=0, frames=150
    )


def test_a_failure_is_counted_and_told_with_its_name(
    counter: ProgressCounter,
    told: list[RunProgress],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    key = str(tmp_path / "talks" / "b.mp4")
    counter.on_outcome(Outcome(key=key, kind="failed", attempts=1, error="is empty"))
    assert (told[-1].failed, told[-1].sources_done) == (1, 2)
    assert [record.getMessage() for record in caplog.records] == ["talks/b.mp4: is empty"]
    assert not (tmp_path / "out" / WORKER_LOG).exists()


def test_the_traceback_of_a_bug_is_kept(
    counter: ProgressCounter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = str(tmp_path / "talks" / "b.mp4")
    detail = "Traceback (most recent call last):\nKeyError: 'x'\n"
    counter.on_outcome(
        Outcome(key=key, kind="failed", attempts=3, error="KeyError: 'x'", error_detail=detail)
    )
    assert (tmp_path / "out" / WORKER_LOG).read_text() == f"talks/b.mp4:\n{detail}"
    assert f"more on it: {WORKER_LOG}" in caplog.text
