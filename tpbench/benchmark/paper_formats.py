"""Writes a `PaperTable` for a terminal, as Markdown, LaTeX or CSV.

One method gives one line per metric: value, interval, unit, clips. Several give, in Markdown and
LaTeX, one line per method, as papers print them; in a terminal, one line per metric, as metrics
outnumber methods. CSV has one line per method and metric, unrounded.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from tpbench.benchmark.leaderboard.markdown import escaped as escaped_markdown
from tpbench.benchmark.leaderboard.tables import csv_text
from tpbench.benchmark.markup import (
    LATEX,
    MARKDOWN,
    WIDTH,
    Format,
    Markup,
    aligned,
    bold_latex,
    escaped_latex,
    lacks_clips,
    latex_number,
    latex_table,
    markdown_table,
    marked_note,
    text_width,
    without_spare,
)
from tpbench.benchmark.paper_table import (
    PaperCell,
    PaperColumn,
    PaperRow,
    PaperTable,
    column_decimals,
    number,
)
from tpbench.foreign import printable

CSV_HEADER: Final = (
    "method", "metric", "label", "better", "unit", "value", "low", "high", "n_clips", "spread",
    "marked",
)  # fmt: skip

_SPARE: Final = ("clips", "unit")
"""Columns to leave out for lack of room, one after the other."""
_NAME_WIDTH: Final = 16


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
    heads, lines = _markdown_of_many(table) if many else _transposed(table, MARKDOWN)
    text = markdown_table(heads, lines)
    marked = escaped_markdown(marked_note(table.unjudged))
    notes = [f"**Bold**: {marked}."] if table.marks else []
    notes += [escaped_markdown(table.note)] if table.note else []
    return "\n\n".join([text, *notes])


def as_latex(table: PaperTable) -> str:
    """Return a `table` environment for the package booktabs, the note as its caption.

    All text is escaped. With several methods, intervals stand below the values.
    """
    if len(table.rows) == 1:
        one, lines = _transposed(table, LATEX)
        heads = [one]
    else:
        heads, lines = _latex_of_many(table)
    marked = escaped_latex(marked_note(table.unjudged))
    caption = [escaped_latex(table.note)] if table.note else []
    caption += [f"{bold_latex('Bold')}: {marked}."] if table.marks else []
    return latex_table(heads, lines, caption=caption)


def _transposed(table: PaperTable, markup: Markup) -> tuple[list[str], list[list[str]]]:
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
            value = latex_number(number(cell.value, places))
            others = (_spread(cell, places), _fewer(table, row, cell))
            parts = [bold_latex(value) if cell.marked else value, *map(escaped_latex, others)]
            values.append(" ".join(part for part in parts if part))
            low, high = (latex_number(number(end, places)) for end in (cell.low, cell.high))
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
    if text_width(text) > width:
        text = "\n\n".join(_blocks(table, width))
    notes = [f"* {marked_note(table.unjudged)}"] if table.marks else []
    if len(table.rows) > 1 and not table.marks and table.unjudged:
        notes.append(f"nothing is marked as best: {lacks_clips(table.unjudged)}")
    if len(counts := _counts(table)) == 1:
        (n_clips,) = counts
        notes.append(f"{n_clips} clip{'' if n_clips == 1 else 's'} for every value")
    return "\n".join([text, *notes])


def _counts(table: PaperTable) -> set[int]:
    """Return the numbers of clips that the values of a table are computed from."""
    cells = (cell for row in table.rows for cell in row.cells.values())
    return {cell.n_clips for cell in cells if not cell.blank}


def _blocks(table: PaperTable, width: int) -> Iterator[str]:
    """Yield the methods, as many side by side as fit; at least one."""
    rest = table.rows
    while rest:
        for taken in range(len(rest), 0, -1):
            block = _side_by_side(table, rest[:taken], below=True)
            if text_width(block) <= width or taken == 1:
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
    return without_spare(heads, lines, left={"metric", "", "unit"}, spare=_SPARE, width=width)


def _side_by_side(table: PaperTable, rows: Sequence[PaperRow], *, below: bool) -> str:
    """Return a block of methods; `below`: intervals stand in a line of their own."""
    names = [textwrap.wrap(printable(row.name), _NAME_WIDTH) or [""] for row in rows]
    height = max(map(len, names))
    heads = [
        ["", "", "", *(name[at] if at < len(name) else "" for name in names)]
        for at in range(height)
    ]
    heads[-1][0], heads[-1][2] = "metric", "unit"
    many = len(_counts(table)) > 1
    if many:
        heads = [[*head, ""] for head in heads[:-1]] + [[*heads[-1], "clips"]]
    lines: list[list[str]] = []
    for column in table.columns:
        of_metric = _lines_of(table, column, rows, below=below)
        lines += [line if many else line[:-1] for line in of_metric]
    return aligned(heads[-1], lines, left={"metric", "", "unit"}, above=heads[:-1])


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
