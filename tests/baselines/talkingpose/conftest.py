"""A folder of tiny weights, written once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.baselines.talkingpose.tiny import write_tiny_weights


@pytest.fixture(scope="session")
def tiny_talkingpose_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for `--weights` with tiny networks; read only."""
    return write_tiny_weights(tmp_path_factory.mktemp("talkingpose_weights"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
