"""A table of methods and metrics, as a paper shows it; `paper_formats` writes it out."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tpbench.foreign import printable
from tpbench.metrics.registry import MetricRow, headline_of, metric_at
from tpbench.metrics.scoring.report import MetricScore

_DIGITS: Final = 4
"""Significant digits of the greatest number of a column."""
_MAX_DECIMALS: Final = 6
_CUSTOM: Final = "+custom"
_WITHOUT_HANDS: Final = {"akd_hands": "akd_body", "pck_hands": "pck_body"}
"""Metrics that stand in the place of those of the hands where no method has hands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperColumn:
    """One metric of the table."""

    metric: str
    """Its id, as `tpbench metrics show` takes it."""
    label: str
    """Its name in papers: "TJE d2"."""
    arrow: str
    """Which values are better: "↑", "↓", "→ 1" (nearest to 1), or "" for neither."""
    unit: str
    """Empty if it has none."""

    @property
    def heading(self) -> str:
        """Label, arrow and unit: "PSNR ↑ (dB)"."""
        unit = f"({self.short_unit})" if self.unit else ""
        return " ".join(part for part in (self.label, self.arrow, unit) if part)

    @property
    def short_unit(self) -> str:
        """The unit as it fits a table: "dB/100 frames"."""
        plain = self.unit.removeprefix("per ")
        return plain.replace(" per ", "/") if plain == self.unit else f"1/{plain}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperCell:
    """One metric of one method."""

    value: float
    """NaN: not measured."""
    low: float | None = None
    """Lower end of the 95 % interval over identities; None: there is no interval."""
    high: float | None = None
    n_clips: int = 0
    """Clips with a finite value."""
    spread: float | None = None
    """Standard deviation over seeds; None for one seed."""
    marked: bool = False
    """Whether it is the best value, or not significantly worse than the best."""

    @property
    def blank(self) -> bool:
        """Whether there is no value."""
        return math.isnan(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether both ends of the interval are known."""
        return self.low is not None and self.high is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What `paper_table` makes a row of."""

    name: str
    """As shown to readers; not to be trusted as markup."""
    scores: Mapping[str, MetricScore]
    """By metric; those that it lacks are blank."""
    marked: Collection[str] = ()
    """Metrics at which it is best, or not significantly worse than the best."""
    judged: bool = True
    """False: it lacks clips, and so is neither called best nor worse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRow:
    """One method of the table."""

    name: str
    cells: Mapping[str, PaperCell]
    """By metric, all of the table's columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """Methods by metrics."""

    columns: tuple[PaperColumn, ...]
    """Metrics that at least one method has a value for."""
    rows: tuple[PaperRow, ...]
    """In the order given."""
    blank: tuple[str, ...] = ()
    """Metrics that belong into the table, but that no method has a value for."""
    hidden: int = 0
    """Further metrics with a value, which the table leaves out."""
    note: str = ""
    """How the numbers were made (`how_to_report`); goes below the table, or into its caption."""
    unjudged: tuple[str, ...] = ()
    """Methods that lack clips: no mark says whether they are better or worse than others."""

    @property
    def marks(self) -> bool:
        """Whether any value is marked as best; with one method, none is."""
        return len(self.rows) > 1 and any(
            cell.marked for row in self.rows for cell in row.cells.values()
        )

    def column_cells(self, metric: str) -> list[PaperCell]:
        """Return the cells of a metric, one per method."""
        return [row.cells[metric] for row in self.rows]

    def n_clips(self, row: PaperRow) -> int:
        """Return the most clips that any value of a method is computed from."""
        return max((row.cells[column.metric].n_clips for column in self.columns), default=0)


def shown_metrics(
    protocol: Mapping[str, Any], measured: Collection[str], *, every: bool = False
) -> tuple[str, ...]:
    """Return the metrics that are shown: the headline, or all of them, the headline first.

    Where nobody has hands, the body stands in their place. Metrics that the user named
    (`--metrics`) are all shown.

    Args:
        protocol: its settings, as recorded in `scores.json`.
        measured: metrics with a value.
        every: whether to return all metrics.
    """
    headline = headline_shown(protocol, measured)
    if every or str(protocol.get("id")).endswith(_CUSTOM):
        return tuple(dict.fromkeys([*headline, *protocol["metrics"]]))
    return headline


def headline_shown(protocol: Mapping[str, Any], measured: Collection[str]) -> tuple[str, ...]:
    """Return a protocol's headline, those of the body in place of hands that nobody has."""
    named = headline_of(protocol)
    there = set(protocol["metrics"])
    instead = {
        hands: body
        for hands, body in _WITHOUT_HANDS.items()
        if hands not in measured and body in there
    }
    return tuple(dict.fromkeys(instead.get(name, name) for name in named))


def paper_table(
    methods: Sequence[Method],
    protocol: Mapping[str, Any],
    *,
    every: bool = False,
    note: str = "",
) -> PaperTable:
    """Return the table of one or several methods that were scored by one protocol.

    Args:
        methods: in the order of the rows.
        protocol: its settings, as recorded in `scores.json`.
        every: whether to show all metrics instead of the headline.
        note: how the numbers were made; see `how_to_report`.
    """
    measured = {
        name
        for method in methods
        for name, score in method.scores.items()
        if not math.isnan(score.value)
    }
    wanted = shown_metrics(protocol, measured, every=every)
    columns = tuple(_column(name, methods) for name in wanted if name in measured)
    return PaperTable(
        columns=columns,
        rows=tuple(_row(method, columns) for method in methods),
        blank=tuple(name for name in wanted if name not in measured),
        hidden=len(measured.difference(wanted)),
        note=note,
        unjudged=tuple(printable(method.name) for method in methods if not method.judged),
    )


def column_of(row: MetricRow) -> PaperColumn:
    """Return the column of a metric."""
    return PaperColumn(metric=row.id, label=row.label, arrow=row.arrow, unit=row.unit)


def _column(name: str, methods: Sequence[Method]) -> PaperColumn:
    score = next(method.scores[name] for method in methods if name in method.scores)
    row = metric_at(name, score.version)
    # Scores of a metric that this tpbench does not know are shown as they are.
    return (
        column_of(row) if row else PaperColumn(metric=name, label=name, arrow="", unit=score.unit)
    )


def _row(method: Method, columns: Iterable[PaperColumn]) -> PaperRow:
    return PaperRow(
        name=printable(method.name),
        cells={
            column.metric: _cell(
                method.scores.get(column.metric), marked=column.metric in method.marked
            )
            for column in columns
        },
    )


def _cell(score: MetricScore | None, *, marked: bool) -> PaperCell:
    if score is None:
        return PaperCell(value=math.nan)
    return PaperCell(
        value=score.value,
        low=score.low,
        high=score.high,
        n_clips=score.n_clips,
        spread=score.details.get("spread"),
        marked=marked and not math.isnan(score.value),
    )


def decimals_of(values: Iterable[float | None], *, digits: int = _DIGITS) -> int:
    """Return how many decimals numbers of one column have: so many digits of the greatest.

    >>> decimals_of([27.991, 9.4332]), decimals_of([0.91, -0.0023]), decimals_of([1234.5])
    (2, 4, 0)
    >>> decimals_of([9.99996])  # shown as 10.00
    2
    """
    sizes = [abs(value) for value in values if value is not None and math.isfinite(value)]
    greatest = max(sizes, default=0.0)
    if greatest == 0:
        return 0
    greatest = float(f"{greatest:.{digits - 1}e}")
    return min(max(digits - 1 - math.floor(math.log10(greatest)), 0), _MAX_DECIMALS)


def column_decimals(cells: Iterable[PaperCell]) -> int:
    """Return how many decimals all numbers of a column have, its intervals included."""
    return decimals_of(number for cell in cells for number in (cell.value, cell.low, cell.high))


def number(value: float | None, decimals: int) -> str:
    """Return a number with that many decimals; empty if there is none.

    >>> number(27.991, 2), number(float("inf"), 2), number(float("nan"), 2), number(-0.001, 2)
    ('27.99', '∞', '', '0.00')
    """
    if value is None or math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text
