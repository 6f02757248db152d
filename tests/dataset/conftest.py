"""A small dataset folder without any video in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dataset.rows import FAILED, kept, make_dataset, rejected
from tpbench.dataset import Dataset


@pytest.fixture
def small(tmp_path: Path) -> Dataset:
    """Two kept clips of two identities, one rejected, one failed source."""
    rows = [
        rejected("c_rejected"),
        kept("b_kept", identity="bob", source_id="bob"),
        kept("a_kept", identity="ann", source_id="ann"),
        FAILED,
    ]
    return make_dataset(tmp_path / "talks", rows)
