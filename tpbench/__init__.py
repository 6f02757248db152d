"""A toolkit for pose-driven human animation: datasets from talk videos, runs, metrics, leaderboard.

The names below are imported when they are first used: `import tpbench` itself imports no torch.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tpbench.benchmark.evaluate import evaluate
    from tpbench.benchmark.scored import score
    from tpbench.dataset import Dataset
    from tpbench.extraction.run import extract

    __version__: str

__all__ = ["Dataset", "__version__", "evaluate", "extract", "score"]

_HOME = {
    "Dataset": "tpbench.dataset",
    "evaluate": "tpbench.benchmark.evaluate",
    "extract": "tpbench.extraction.run",
    "score": "tpbench.benchmark.scored",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the checker sees the imports above instead
    if name == "__version__":
        return _version()
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'tpbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


@cache  # every row of a dataset names it, and finding it takes a millisecond
def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tpbench")
    except PackageNotFoundError:
        return "0+unknown"  # run from a checkout that was never installed
