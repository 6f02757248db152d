"""Tables as CSV that pandas reads without options, and that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Final

from tpbench.benchmark.leaderboard.model import Leaderboard
from tpbench.benchmark.leaderboard.schema import Value, columns_of
from tpbench.foreign import is_formula

_WORDS: Final = frozenset({
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
    "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
    "TRUE", "True", "true", "FALSE", "False", "false",
})  # fmt: skip
"""What pandas takes for a blank or a truth value."""


def leaderboard_csv(board: Leaderboard) -> str:
    """Return `leaderboard.csv`: one row per model, in the leaderboard's order."""
    columns = columns_of(board)
    rows = ([column.fill(board, row) for column in columns] for row in board.rows)
    return csv_text([column.name for column in columns], rows)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    r"""Return a table as CSV: numbers unrounded, LF, None and NaN blank, infinity `inf`.

    >>> csv_text(["name", "psnr"], [["=1+1", 0.1], ["x", float("inf")], ["y", None]])
    "name,psnr\n'=1+1,0.1\nx,inf\ny,\n"
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_shown(value) for value in row] for row in rows)
    return text.getvalue()


def _shown(value: Value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}" if _misread(value) else value
    return repr(value)


def _misread(text: str) -> bool:
    """Whether text would be run as a formula, or taken for a number, a truth value or a blank."""
    if is_formula(text) or text in _WORDS:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True
