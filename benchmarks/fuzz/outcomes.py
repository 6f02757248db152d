"""What became of a broken file, and the table of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Sort = Literal["done", "code", "crash", "hang", "traceback", "memory", "flood", "good file lost"]
"""done: used as if intact, which damage may allow; code: refused, with a reason. The rest are
faults: a process died of a signal, made no progress, or showed a bug; it took more memory than its
bound; it printed more than anybody reads; a file beside the broken one was not processed."""
FAULTS: Final[tuple[Sort, ...]] = (
    "crash",
    "hang",
    "traceback",
    "memory",
    "flood",
    "good file lost",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One broken file in one command."""

    command: str
    """Such as `extract`."""
    format: str
    case: str
    """Number of the file, and what was done to it."""
    sort: Sort
    reason: str = ""
    peak_mb: int = 0
    """Largest resident memory of one process, where it was measured for this file alone."""

    @property
    def is_fault(self) -> bool:
        """Whether this must not happen."""
        return self.sort in FAULTS


def as_markdown(outcomes: Sequence[Outcome]) -> str:
    """Return a table: a row per command and format, a column per sort of outcome."""
    shown: list[Sort] = ["done", "code", *FAULTS]
    counts = Counter((one.command, one.format, one.sort) for one in outcomes)
    peaks: dict[tuple[str, str], int] = {}
    for one in outcomes:
        row = (one.command, one.format)
        peaks[row] = max(peaks.get(row, 0), one.peak_mb)
    lines = [
        f"| command | format | files | {' | '.join(shown)} | peak MB |",
        f"| :- | :- |{' -: |' * (len(shown) + 2)}",
    ]
    for command, form in sorted(peaks):
        row_counts = [counts[command, form, sort] for sort in shown]
        cells = " | ".join(map(str, [sum(row_counts), *row_counts]))
        peak = peaks[command, form] or ""
        lines.append(f"| {command} | {form} | {cells} | {peak} |")
    sums = [sum(one.sort == sort for one in outcomes) for sort in shown]
    cells = " | ".join(map(str, [len(outcomes), *sums]))
    lines.append(f"| all | | {cells} | {max(peaks.values(), default=0)} |")
    return "\n".join(lines)


def faults_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line for each fault."""
    return [
        f"{one.sort}: {one.command}, {one.format} {one.case}: {one.reason[:300]}"
        for one in outcomes
        if one.is_fault
    ]
