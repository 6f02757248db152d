"""What is done, leased and failed: the ledger."""

from tpbench.execution.drain import drain
from tpbench.execution.ledger import Ledger, LedgerEntry, State, read_ledger

__all__ = ["Ledger", "LedgerEntry", "State", "drain", "read_ledger"]
