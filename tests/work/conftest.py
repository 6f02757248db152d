"""What the tests of executors and drivers share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tpbench.work import TaskSpec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the tasks of `worker_tasks` leave their marks."""
    path = tmp_path / "marks"
    path.mkdir()
    return path


@pytest.fixture
def task(folder: Path, monkeypatch: pytest.MonkeyPatch) -> TaskSpec:
    """The marking task, findable by workers."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return TaskSpec(factory="worker_tasks:mark", config={"folder": str(folder)})
