"""A dataset of two clips for commands that make runs of it."""

from pathlib import Path

import pytest

from tests.benchmark.conftest import write_dataset


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a dataset that no test may change."""
    folder = tmp_path_factory.mktemp("cli") / "data"
    write_dataset(folder, {"a": 101, "b": 102})
    return folder
