"""Commands in this process, and a dataset of two clips for those that make runs of it."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.benchmark.conftest import write_dataset
from tpbench.cli.main import app
from tpbench.cli.progress import PlainLines


def invoke(*arguments: str | Path) -> Result:
    """Run `tpbench` with these arguments; errors that it would print are raised."""
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a dataset that no test may change."""
    folder = tmp_path_factory.mktemp("cli") / "data"
    write_dataset(folder, {"a": 101, "b": 102})
    return folder


@pytest.fixture(scope="session", autouse=True)
def no_line_by_the_clock() -> Iterator[None]:
    """Print no line of progress on a slow machine, where tests compare all of stderr."""
    with pytest.MonkeyPatch.context() as patch:
        defaults = {**(PlainLines.__init__.__kwdefaults__ or {}), "every_s": math.inf}
        patch.setattr(PlainLines.__init__, "__kwdefaults__", defaults)
        yield
