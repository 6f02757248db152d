"""What is done, leased and failed, and who does it: the ledger and the executors."""

from tpbench.execution.drain import drain, terminate_as_interrupt
from tpbench.execution.executor import (
    Executor,
    JsonObject,
    Outcome,
    OutcomeKind,
    Process,
    ProgressListener,
    ProgressReport,
    TaskSpec,
    WorkItem,
    keep_traceback,
)
from tpbench.execution.halt import HaltError, PostponedError, explain_halts
from tpbench.execution.ledger import Ledger, LedgerEntry, State, read_ledger
from tpbench.execution.local import LocalExecutor, usable_cores
from tpbench.execution.stall import IN_WORK, Stall, StallWatch

__all__ = [
    "IN_WORK",
    "Executor",
    "HaltError",
    "JsonObject",
    "Ledger",
    "LedgerEntry",
    "LocalExecutor",
    "Outcome",
    "OutcomeKind",
    "PostponedError",
    "Process",
    "ProgressListener",
    "ProgressReport",
    "Stall",
    "StallWatch",
    "State",
    "TaskSpec",
    "WorkItem",
    "drain",
    "explain_halts",
    "keep_traceback",
    "read_ledger",
    "terminate_as_interrupt",
    "usable_cores",
]
