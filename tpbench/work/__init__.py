"""Processing of work items: executors, worker processes, progress and records."""

from tpbench.work.crew import ITEM_TIMEOUT_S
from tpbench.work.engine import LOCAL, Engine
from tpbench.work.faults import HaltError, PostponedError, explain_halts
from tpbench.work.pool import (
    Executor,
    InThisProcess,
    Pool,
    Records,
    item_limit_s,
    keep_traceback,
    num_workers,
    run_items,
    terminate_as_interrupt,
    usable_cores,
)
from tpbench.work.progress import (
    IN_WORK,
    Progress,
    ProgressCounter,
    ProgressListener,
    Stall,
    StallWatch,
)
from tpbench.work.worker import (
    JsonObject,
    Outcome,
    OutcomeKind,
    Process,
    ProgressReport,
    TaskSpec,
    WorkItem,
)

__all__ = [
    "IN_WORK",
    "ITEM_TIMEOUT_S",
    "LOCAL",
    "Engine",
    "Executor",
    "HaltError",
    "InThisProcess",
    "JsonObject",
    "Outcome",
    "OutcomeKind",
    "Pool",
    "PostponedError",
    "Process",
    "Progress",
    "ProgressCounter",
    "ProgressListener",
    "ProgressReport",
    "Records",
    "Stall",
    "StallWatch",
    "TaskSpec",
    "WorkItem",
    "explain_halts",
    "item_limit_s",
    "keep_traceback",
    "num_workers",
    "run_items",
    "terminate_as_interrupt",
    "usable_cores",
]
