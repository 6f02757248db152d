"""Writes a `Comparison` for a terminal, as Markdown, LaTeX or CSV: one line per metric.

A metric with a target has two lines: the values, and the distances to the target with their
difference, interval and verdict, which all speak of the distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tpbench.benchmark.compare import Comparison, MetricComparison
from tpbench.benchmark.leaderboard.tables import csv_text
from tpbench.benchmark.markup import (
    LATEX,
    MARKDOWN,
    WIDTH,
    Format,
    Markup,
    aligned,
    latex_table,
    markdown_table,
    text_width,
    without_spare,
)
from tpbench.benchmark.paper_table import PaperColumn, decimals_of, number, shown_metrics

CSV_HEADER: Final = (
    "run_a", "run_b", "metric", "label", "better", "unit", "quantity", "a", "b", "difference",
    "low", "high", "value_a", "value_b", "n_clips", "better_run",
)  # fmt: skip
DIFFERENCE: Final = "A - B"
_INTERVAL: Final = "95 % interval"
_DIFFERENCE_DIGITS: Final = 3
"""Of a difference, or of the greater end of its interval."""
_LETTERS: Final = ("A", "B")
_NAME_WIDTH: Final = 12
_LEFT: Final = frozenset({"metric", "", "unit", "better"})
_SPARE: Final = ("clips", "unit", _INTERVAL)
"""Columns to leave out for lack of room, one after the other."""


def shown_comparisons(
    found: Comparison, *, every: bool = False
) -> tuple[list[MetricComparison], list[MetricComparison]]:
    """Return the metrics to show, and those that would be shown but are blank.

    Args:
        found: two runs.
        every: whether to show all metrics; else the headline of the protocol.
    """
    measured = [name for name, one in found.metrics.items() if not one.blank]
    names = shown_metrics(found.protocol, measured, every=every)
    rows = [found.metrics[name] for name in names if name in found.metrics]
    return [row for row in rows if not row.blank], [row for row in rows if row.blank]


def written_comparison(
    found: Comparison, form: Format, *, every: bool = False, width: int = WIDTH
) -> str:
    """Return the table of two runs as text, without a newline at its end.

    Args:
        found: two runs.
        form: see `Format`.
        every: whether to show all metrics; else the headline of the protocol.
        width: columns of the terminal, for "table".
    """
    rows, _ = shown_comparisons(found, every=every)
    if form == "csv":
        return _as_csv(found, rows)
    if form == "table":
        return _as_text(found, rows, width) if rows else ""
    heads, lines = _marked_up(found, rows, MARKDOWN if form == "md" else LATEX)
    markup = MARKDOWN if form == "md" else LATEX
    notes = [markup.text(found.how_to_report), *_bold_note(found, rows, markup)]
    if form == "latex":
        return latex_table([heads], lines, caption=notes)
    return "\n\n".join([markdown_table(heads, lines), *reversed(notes)])


def joint_test_note(found: Comparison) -> str:
    """Return the test by which a run is called better."""
    times = f"{found.n_judged} comparison{'' if found.n_judged == 1 else 's'}"
    return (
        f"one joint test of {times} (sign flips over identities); between equal runs, it finds any "
        "difference in at most 5 % of cases"
    )


def _bold_note(found: Comparison, rows: Sequence[MetricComparison], markup: Markup) -> list[str]:
    if not any(row.better for row in rows):
        return []
    bold, said = (
        markup.bold(markup.text("Bold")),
        markup.text(f"better by {joint_test_note(found)}."),
    )
    return [f"{bold}: {said}"]


def _as_csv(found: Comparison, rows: Sequence[MetricComparison]) -> str:
    names = {"a": found.names[0], "b": found.names[1]}
    values = (
        [
            *found.names,
            *(row.metric, row.label, row.arrow, row.unit, row.quantity, row.a, row.b),
            *(row.difference, row.low, row.high, row.value_a, row.value_b, row.n_clips),
            names[row.better] if row.better else None,
        ]
        for row in rows
    )
    return csv_text(CSV_HEADER, values).rstrip("\n")


def _as_text(found: Comparison, rows: Sequence[MetricComparison], width: int) -> str:
    """Return the table with the names of the runs as heads where they fit, else A and B."""
    if all(text_width(f"{name}\n") <= _NAME_WIDTH for name in found.names):
        heads, lines = _lines(rows, found.names)
        text = aligned(heads, lines, left=_LEFT)
        if text_width(text) <= width:
            return text
    heads, lines = _lines(rows, _LETTERS)
    return without_spare(heads, lines, left=_LEFT, spare=_SPARE, width=width)


def _lines(
    rows: Sequence[MetricComparison], names: tuple[str, str]
) -> tuple[list[str], list[list[str]]]:
    """Return heads and lines; clips have a column only where their numbers differ."""
    many = len({row.n_clips for row in rows}) > 1
    heads = ["metric", "", *names, DIFFERENCE, _INTERVAL, "unit"]
    heads += [*(["clips"] if many else []), "better"]
    lines = []
    for row in rows:
        unit = PaperColumn(metric="", label="", arrow="", unit=row.unit).short_unit
        clips = [str(row.n_clips)] if many else []
        better = {"a": names[0], "b": names[1], None: ""}[row.better]
        judged = [*_pair(row.a, row.b), *_difference(row), unit, *clips, better]
        if row.quantity == "value":
            lines.append([row.metric, row.arrow, *judged])
        else:
            blank = ["", "", unit, *clips, ""]
            lines.append([row.metric, row.arrow, *_pair(row.value_a, row.value_b), *blank])
            lines.append([f"  {row.quantity}", "↓", *judged])
    return heads, lines


def _pair(a: float, b: float) -> list[str]:
    places = decimals_of([a, b])
    return [number(a, places), number(b, places)]


def _difference(row: MetricComparison) -> list[str]:
    """Return the difference and its interval."""
    places = _difference_decimals(row)
    ends = [number(end, places) for end in (row.low, row.high)]
    return [number(row.difference, places), " … ".join(ends) if all(ends) else ""]


def _difference_decimals(row: MetricComparison) -> int:
    return decimals_of([row.difference, row.low, row.high], digits=_DIFFERENCE_DIGITS)


def _marked_up(
    found: Comparison, rows: Sequence[MetricComparison], markup: Markup
) -> tuple[list[str], list[list[str]]]:
    heads = ["Metric", *found.names, "Difference", _INTERVAL, "n"]
    return [markup.text(head) for head in heads], [
        line for row in rows for line in _marked_up_lines(row, markup)
    ]


def _marked_up_lines(row: MetricComparison, markup: Markup) -> Iterator[list[str]]:
    heading = PaperColumn(metric=row.metric, label=row.label, arrow=row.arrow, unit=row.unit)
    if row.quantity != "value":
        values = [markup.number(text) for text in _pair(row.value_a, row.value_b)]
        yield [markup.text(heading.heading), *values, "", "", str(row.n_clips)]
    values = [markup.number(text) for text in _pair(row.a, row.b)]
    if row.better:
        at = "ab".index(row.better)
        values[at] = markup.bold(values[at])
    places = _difference_decimals(row)
    low, high = (markup.number(number(end, places)) for end in (row.low, row.high))
    name = heading.heading if row.quantity == "value" else f"{row.quantity} ↓"
    yield [
        markup.text(name),
        *values,
        markup.number(number(row.difference, places)),
        markup.interval(low, high) if low and high else "",
        str(row.n_clips),
    ]
