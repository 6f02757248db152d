"""Writes a `PaperTable` for a terminal, as Markdown, LaTeX or CSV.

One method gives one line per metric: value, interval, unit, clips. Several give, in Markdown and
LaTeX, one line per method, as papers print them; in a terminal, one line per metric, as metrics
outnumber methods. CSV has one line per method and metric, unrounded.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from tpbench.benchmark.leaderboard.markdown import escaped as escaped_markdown
from tpbench.benchmark.leaderboard.tables import csv_text
from tpbench.benchmark.paper_table import (
    PaperCell,
    PaperColumn,
    PaperRow,
    PaperTable,
    column_decimals,
    number,
)
from tpbench.foreign import printable

Format = Literal["table", "md", "latex", "csv"]
"""How a table is written; table: for a terminal."""
WIDTH: Final = 80
"""Columns of a terminal that did not say how many it has."""

CSV_HEADER: Final = (
    "method", "metric", "label", "better", "unit", "value", "low", "high", "n_clips", "spread",
    "marked",
)  # fmt: skip

MARKED_NOTE: Final = "best, and all that are not significantly worse"
NO_ROOM: Final = "no room for: {}; a wider terminal or --json shows them"
_SPARE: Final = ("clips", "unit")
"""Columns to leave out for lack of room, one after the other."""
_GAP: Final = "  "
_NAME_WIDTH: Final = 16

_LATEX_ESCAPES: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    # Behind a line's end, these would be read as its option.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    # Not in every font; in mathematics they are.
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "∞": r"$\infty$",
    "…": r"\dots{}",
    "±": r"$\pm$",
}


def written(table: PaperTable, form: Format, *, width: int = WIDTH) -> str:
    """Return a table as text, without a newline at its end.

    Args:
        table: of one method or several.
        form: see `Format`.
        width: columns of the terminal, for "table".
    """
    if form == "md":
        return as_markdown(table)
    if form == "latex":
        return as_latex(table)
    if form == "csv":
        return as_csv(table)
    return as_text(table, width=width)


def as_csv(table: PaperTable) -> str:
    """Return one line per method and metric, unrounded; see `CSV_HEADER`."""
    values = (
        [
            row.name,
            column.metric,
            column.label,
            column.arrow,
            column.unit,
            cell.value,
            cell.low,
            cell.high,
            cell.n_clips,
            cell.spread,
            cell.marked,
        ]
        for row in table.rows
        for column in table.columns
        for cell in [row.cells[column.metric]]
    )
    return csv_text(CSV_HEADER, values).rstrip("\n")


def as_markdown(table: PaperTable) -> str:
    """Return a table of GitHub's Markdown, with the note below it; markup in names is escaped."""
    many = len(table.rows) != 1
    heads, lines = _markdown_of_many(table) if many else _transposed(table, _MARKDOWN)
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)], *lines]
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = [f"**Bold**: {MARKED_NOTE}."] if table.marks else []
    notes += [escaped_markdown(table.note)] if table.note else []
    return "\n\n".join([text, *notes])


def as_latex(table: PaperTable) -> str:
    """Return a `table` environment for the package booktabs, the note as its caption.

    All text is escaped. Letters of any script stay as they are: the document is in UTF-8, the
    default of LaTeX since 2018. With several methods, intervals stand below the values.
    """
    many = len(table.rows) != 1
    heads, lines = _latex_of_many(table) if many else _latex_of_one(table)
    caption = [escaped_latex(table.note)] if table.note else []
    caption += [f"{_bold('Bold')}: {MARKED_NOTE}."] if table.marks else []
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            *([rf"  \caption{{{' '.join(caption)}}}"] if caption else []),
            rf"  \begin{{tabular}}{{l{'r' * (len(heads[0]) - 1)}}}",
            r"    \toprule",
            *(f"    {' & '.join(head)} \\\\" for head in heads),
            r"    \midrule",
            *(f"    {' & '.join(line)} \\\\" for line in lines),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )


def escaped_latex(text: str) -> str:
    r"""Return text in one line that LaTeX sets literally.

    >>> escaped_latex("50% of a_b & {c}")
    '50\\% of a\\_b \\& \\{c\\}'
    """
    plain = printable(" ".join(text.split()))
    return "".join(_LATEX_ESCAPES.get(letter, letter) for letter in plain)


def _bold(text: str) -> str:
    return rf"\textbf{{{text}}}"


def _latex_number(text: str) -> str:
    sign, digits = ("$-$", text[1:]) if text.startswith("-") else ("", text)
    return sign + escaped_latex(digits)


@dataclass(frozen=True, slots=True)
class _Markup:
    text: Callable[[str], str]
    number: Callable[[str], str]
    interval: Callable[[str, str], str]


_MARKDOWN: Final = _Markup(escaped_markdown, escaped_markdown, "{} … {}".format)
_LATEX: Final = _Markup(escaped_latex, _latex_number, "({}, {})".format)


def _transposed(table: PaperTable, markup: _Markup) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the lines of a table of one method: a line per metric."""
    (row,) = table.rows
    seeded = any(cell.spread is not None for cell in row.cells.values())
    heads = ["Metric", "Value", "95 % interval", *(["± over seeds"] if seeded else []), "n"]
    lines = []
    for column in table.columns:
        cell = row.cells[column.metric]
        places = column_decimals([cell])
        low, high = (markup.number(number(end, places)) for end in (cell.low, cell.high))
        cells = [markup.text(column.heading), markup.number(number(cell.value, places))]
        cells.append(markup.interval(low, high) if cell.has_interval else "")
        cells += [markup.number(number(cell.spread, places))] if seeded else []
        lines.append([*cells, str(cell.n_clips)])
    return [markup.text(head) for head in heads], lines


def _markdown_of_many(table: PaperTable) -> tuple[list[str], list[list[str]]]:
    heads = ["Method", *(escaped_markdown(column.heading) for column in table.columns), "n"]
    lines = []
    for row in table.rows:
        cells = [escaped_markdown(row.name)]
        for column in table.columns:
            cell, places = row.cells[column.metric], _places(table, column)
            value = number(cell.value, places)
            ends = f"({_ends(cell, places)})" if cell.has_interval else ""
            parts = [f"**{value}**" if cell.marked else value, _spread(cell, places), ends]
            cells.append(" ".join(part for part in (*parts, _fewer(table, row, cell)) if part))
        lines.append([*cells, str(table.n_clips(row))])
    return heads, lines


def _latex_of_one(table: PaperTable) -> tuple[list[list[str]], list[list[str]]]:
    heads, lines = _transposed(table, _LATEX)
    return [heads], lines


def _latex_of_many(table: PaperTable) -> tuple[list[list[str]], list[list[str]]]:
    """Return two lines of heads (label, unit), and one or two lines per method."""
    named = [f"{column.label} {column.arrow}".strip() for column in table.columns]
    heads = [["Method", *map(escaped_latex, named), "n"]]
    units = [f"({column.short_unit})" if column.unit else "" for column in table.columns]
    heads += [["", *map(escaped_latex, units), ""]] if any(units) else []
    lines = []
    for row in table.rows:
        values, ends = [escaped_latex(row.name)], [""]
        for column in table.columns:
            cell, places = row.cells[column.metric], _places(table, column)
            value = _latex_number(number(cell.value, places))
            others = (_spread(cell, places), _fewer(table, row, cell))
            parts = [_bold(value) if cell.marked else value, *map(escaped_latex, others)]
            values.append(" ".join(part for part in parts if part))
            low, high = (_latex_number(number(end, places)) for end in (cell.low, cell.high))
            ends.append(rf"{{\scriptsize ({low}, {high})}}" if cell.has_interval else "")
        lines.append([*values, str(table.n_clips(row))])
        lines += [[*ends, ""]] if any(ends) else []
    return heads, lines


def _places(table: PaperTable, column: PaperColumn) -> int:
    return column_decimals(table.column_cells(column.metric))


def _spread(cell: PaperCell, places: int) -> str:
    return "" if cell.spread is None else f"± {number(cell.spread, places)}"


def _fewer(table: PaperTable, row: PaperRow, cell: PaperCell) -> str:
    """Return the number of clips of a value that lacks some; empty if it has all."""
    return f"n={cell.n_clips}" if not cell.blank and cell.n_clips < table.n_clips(row) else ""


def as_text(table: PaperTable, *, width: int = WIDTH) -> str:
    """Return a table for a terminal: a line per metric, by its id.

    Several methods stand side by side, in as many blocks as the width asks for. Intervals stand
    behind their values, or below them where that is too wide. Numbers are never cut.
    """
    if not table.columns or not table.rows:
        return ""
    if len(table.rows) == 1:
        return _one_method(table, width)
    text = _side_by_side(table, table.rows, below=False)
    if _width(text) > width:
        text = "\n\n".join(_blocks(table, width))
    return "\n".join([text, *([f"* {MARKED_NOTE}"] if table.marks else [])])


def _blocks(table: PaperTable, width: int) -> Iterator[str]:
    """Yield the methods, as many side by side as fit; at least one."""
    rest = table.rows
    while rest:
        for taken in range(len(rest), 0, -1):
            block = _side_by_side(table, rest[:taken], below=True)
            if _width(block) <= width or taken == 1:
                yield block
                rest = rest[taken:]
                break


def _one_method(table: PaperTable, width: int) -> str:
    """Return a line per metric; where there is no room, columns are left out, which is said."""
    (row,) = table.rows
    seeded = any(cell.spread is not None for cell in row.cells.values())
    heads = ["metric", "", "value", "95 % interval", "unit", "clips"]
    heads += ["± over seeds"] if seeded else []
    lines = []
    for column in table.columns:
        cell = row.cells[column.metric]
        places = column_decimals([cell])
        cells = [column.metric, column.arrow, number(cell.value, places), _ends(cell, places)]
        cells += [column.short_unit, str(cell.n_clips)]
        cells += [number(cell.spread, places)] if seeded else []
        lines.append(cells)
    text, left_out = _aligned(heads, lines, left={"metric", "", "unit"}), []
    for head in _SPARE:
        if _width(text) > width:
            left_out.append(head)
            at = heads.index(head)
            heads, lines = heads[:at] + heads[at + 1 :], [x[:at] + x[at + 1 :] for x in lines]
            text = _aligned(heads, lines, left={"metric", "", "unit"})
    return "\n".join([text, *([NO_ROOM.format(", ".join(left_out))] if left_out else [])])


def _side_by_side(table: PaperTable, rows: Sequence[PaperRow], *, below: bool) -> str:
    """Return a block of methods; `below`: intervals stand in a line of their own."""
    names = [textwrap.wrap(printable(row.name), _NAME_WIDTH) or [""] for row in rows]
    height = max(map(len, names))
    heads = [
        ["", "", "", *(name[at] if at < len(name) else "" for name in names), ""]
        for at in range(height)
    ]
    heads[-1][0], heads[-1][2], heads[-1][-1] = "metric", "unit", "clips"
    lines: list[list[str]] = []
    for column in table.columns:
        lines += _lines_of(table, column, rows, below=below)
    return _aligned(heads[-1], lines, left={"metric", "", "unit"}, above=heads[:-1])


def _lines_of(
    table: PaperTable, column: PaperColumn, rows: Sequence[PaperRow], *, below: bool
) -> Iterator[list[str]]:
    cells = [row.cells[column.metric] for row in rows]
    places = column_decimals(table.column_cells(column.metric))
    values = [number(cell.value, places) + ("*" if cell.marked else "") for cell in cells]
    ends = [_ends(cell, places) for cell in cells]
    clips = ", ".join(dict.fromkeys(str(cell.n_clips) for cell in cells if not cell.blank))
    first = [column.metric, column.arrow, column.short_unit]
    if below:
        yield [*first, *values, clips]
        if any(ends):
            yield ["", "", "", *ends, ""]
    else:
        pairs = zip(values, ends, strict=True)
        both = [f"{value} ({end})" if end else value for value, end in pairs]
        yield [*first, *both, clips]


def _ends(cell: PaperCell, places: int) -> str:
    if not cell.has_interval:
        return ""
    return f"{number(cell.low, places)} … {number(cell.high, places)}"


def _aligned(
    heads: Sequence[str],
    lines: Sequence[Sequence[str]],
    *,
    left: Collection[str],
    above: Sequence[Sequence[str]] = (),
) -> str:
    """Return lines of cells in columns, below their heads and a rule.

    Args:
        heads: of the columns.
        lines: of as many cells.
        left: columns to left-align, by their heads; all others are numbers.
        above: further lines of the heads.
    """
    from rich.cells import cell_len

    lines = [[printable(cell) for cell in line] for line in lines]
    whole = [*above, heads, *lines]
    widths = [max(cell_len(line[at]) for line in whole) for at in range(len(heads))]

    def line_of(cells: Sequence[str]) -> str:
        padded = []
        for at, cell in enumerate(cells):
            space = " " * (widths[at] - cell_len(cell))
            padded.append(cell + space if heads[at] in left else space + cell)
        return _GAP.join(padded).rstrip()

    rule = "─" * (sum(widths) + len(_GAP) * (len(widths) - 1))
    return "\n".join([*map(line_of, [*above, heads]), rule, *map(line_of, lines)])


def _width(text: str) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, text.splitlines()))
