"""What every test of scoring stands on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.metrics.scoring import stand_ins


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own: nothing of other tests, and no weights."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("TPBENCH_CACHE", str(cache))
    return cache


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks with made-up weights in place of the published ones, in this process."""
    stand_ins.put_in(monkeypatch.setattr)
    stand_ins.make_ready(monkeypatch.setattr)
