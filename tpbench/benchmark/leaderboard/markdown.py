"""`leaderboard.md`: the leaderboard as Markdown, for places that can't show the HTML page."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from tpbench.baselines.registry import ReportedValue
from tpbench.benchmark.leaderboard.board import Leaderboard, Row
from tpbench.metrics.registry import FAMILIES, MetricRow
from tpbench.metrics.scoring.report import MetricScore

ARROWS: Final = {"higher": "↑", "lower": "↓", "target": "→", "none": ""}

_MARKUP: Final = re.compile(
    r"([\\`*\[\]|~$@]|_(?![A-Za-z0-9])|(?<![A-Za-z0-9])_|:(?=//)|(?<=[wW]{3})\.)"
)
"""Characters that Markdown or a dialect of it interprets, including those that start a link; HTML
is escaped separately. Underscores inside words are left as they are."""
_BOLD: Final = "**Bold**: best, and all that are not significantly worse. "
_METRICS_ACROSS: Final = 8


def leaderboard_markdown(board: Leaderboard) -> str:
    """Return the leaderboard as GitHub's Markdown; markup in names is escaped."""
    lines = [*_head(board), *_tables(board), *_remarks(board), *_commands(board)]
    lines += _reported(board.reported)
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    r"""Return text in one line that Markdown shows literally, also in a table.

    >>> escaped("a|b <img> *c*")
    'a\\|b &lt;img&gt; \\*c\\*'
    """
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", plain)


def shown(value: float) -> str:
    """Return a number with four significant digits; blank for NaN.

    >>> shown(0.123456), shown(float("inf")), shown(float("nan"))
    ('0.1235', '∞', '')
    """
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.4g}"


def _head(board: Leaderboard) -> Iterator[str]:
    task, protocol, dataset = board.task, board.protocol, board.dataset
    yield f"# Leaderboard: {escaped(dataset.name)}, {dataset.split}"
    yield ""
    yield (
        f"Task {escaped(task.id)} v{task.version}, protocol {escaped(str(protocol['id']))} "
        f"v{protocol['version']} (`{protocol['digest'][:12]}`), dataset `{dataset.digest[:12]}`: "
        f"clips: {dataset.n_clips}, identities: {dataset.n_identities or 'not known'}."
    )
    yield ""
    yield (
        "↑ higher is better, ↓ lower is better, →x closer to x is better. "
        f"{_BOLD if board.has_marks else ''}*Italic*: anchors, which calibrate the metrics and are "
        "not ranked. In brackets: 95 % interval over identities; off: mean over clips of the "
        "distance to x, by which the metric is judged, with its interval; n: clips with a value, "
        "if others have more; ±: standard deviation over seeds. There is no total score. Blank: "
        "not measured; metrics that are blank in every row are left out, see the remarks."
    )
    if board.how_to_report:
        yield from ("", f"How to report: {escaped(board.how_to_report)}")
    yield ""
    yield escaped(board.marking)


def _tables(board: Leaderboard) -> Iterator[str]:
    if board.overview:
        yield from ("", "## Overview", "")
        yield from _table(board, board.overview, intervals=False)
    for family in FAMILIES:
        metrics = [metric for metric in board.filled if metric.family == family]
        if metrics:
            yield from ("", f"## {family.capitalize()}")
        for first in range(0, len(metrics), _METRICS_ACROSS):
            yield ""
            part = metrics[first : first + _METRICS_ACROSS]
            yield from _table(board, part, intervals=True)


def _table(board: Leaderboard, metrics: Sequence[MetricRow], *, intervals: bool) -> Iterator[str]:
    about = [] if intervals else ["clips", "coverage", "seeds", "verified"]
    yield _line(["model", *about, *(_header(metric) for metric in metrics)])
    yield _line(["---", *["---:"] * (len(about) + len(metrics))])
    for row in board.rows:
        name = escaped(row.display_name)
        cells = [f"*{name}*" if row.kind == "anchor" else name]
        if not intervals:
            coverage = f"{row.coverage:.3f}" + ("" if row.complete else " (incomplete)")
            cells += [str(row.n_clips), coverage, ", ".join(map(str, row.seeds)), _verified(row)]
        cells += [_cell(board, row, metric, with_interval=intervals) for metric in metrics]
        yield _line(cells)


def _verified(row: Row) -> str:
    """Return the level found on this machine, or, if there is none, the claimed level as such."""
    by_maker = row.verified == "none" and row.claimed != "none"
    return f"none (claimed: {row.claimed})" if by_maker else row.verified


def _header(metric: MetricRow) -> str:
    target = f"{metric.target:g}" if metric.target is not None else ""
    parts = [metric.id, ARROWS[metric.direction] + target, metric.unit]
    return " ".join(escaped(part) for part in parts if part)


def _cell(board: Leaderboard, row: Row, metric: MetricRow, *, with_interval: bool) -> str:
    score, distance = row.scores[metric.id], row.distances.get(metric.id)
    text = shown(score.value)
    if not text:
        return ""
    if row.kind == "anchor":
        text = f"*{text}*"
    elif board.mark(row.id, metric.id):
        text = f"**{text}**"
    off = f"off {shown(distance.mean)}" if distance else ""
    most = board.n_of_more(row, metric)
    clips = "" if most is None else f"n={score.n_clips}/{most}"
    parts = [text, off, clips]
    if with_interval:
        spread = "" if (over := row.spread(metric.id)) is None else f"± {shown(over)}"
        apart = _interval(distance.interval.low, distance.interval.high) if distance else ""
        parts = [text, spread, _interval(score.low, score.high), off, apart, clips]
    return " ".join(part for part in parts if part)


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"({shown(low)} … {shown(high)})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _remarks(board: Leaderboard) -> Iterator[str]:
    yield from ("", "## Remarks", "")
    said = [
        f"Anchor `{anchor}` is missing; generate it: {_code(command)}"
        for anchor, command in board.missing_anchors.items()
    ]
    said += [escaped(note) for note in board.notes]
    said += [f"Left out: {escaped(run.name)}: {escaped(run.reason)}" for run in board.left_out]
    said += [
        f"Marks: {', '.join(metrics)}: {escaped(reason)}."
        for reason, metrics in _by_reason({m: marks.reason for m, marks in board.marks.items()})
    ]
    said += [
        f"Marks: {metric}: {escaped(note)}."
        for metric, marks in board.marks.items()
        for note in marks.notes
    ]
    said += _of_rows(board, "blank", lambda score: score.reason)
    said += _of_rows(board, "warning", lambda score: score.warning)
    yield from (f"- {line}" for line in said or ["Nothing is missing."])


def _of_rows(
    board: Leaderboard, what: str, say: Callable[[MetricScore], str | None]
) -> Iterator[str]:
    """Yield one line per text and set of metrics, with all rows that it applies to."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for row in board.rows:
        for said in _by_reason({metric: say(score) for metric, score in row.scores.items()}):
            found.setdefault(said, []).append(escaped(row.display_name))
    for (reason, metrics), names in found.items():
        who = "all rows" if len(names) == len(board.rows) else ", ".join(names)
        yield f"{who}, {what}: {', '.join(metrics)}: {escaped(reason)}."


def _by_reason(reasons: Mapping[str, str | None]) -> list[tuple[str, tuple[str, ...]]]:
    """Return each reason with all its metrics."""
    found: dict[str, list[str]] = {}
    for metric, reason in reasons.items():
        if reason:
            found.setdefault(reason, []).append(metric)
    return [(reason, tuple(metrics)) for reason, metrics in found.items()]


def _commands(board: Leaderboard) -> Iterator[str]:
    yield from ("", "## Commands to reproduce each row", "")
    for row in board.rows:
        how = _code(row.command) if row.command else "generated by a Python object"
        yield f"- {escaped(row.display_name)}: {how}; run `{row.run_digest[:12]}`"


def _code(text: str) -> str:
    """Return text as inline code, even if it contains backticks."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest else ""
    return f"{fence}{space}{' '.join(text.split())}{space}{fence}"


def _reported(values: Sequence[ReportedValue]) -> Iterator[str]:
    if not values:
        return
    yield from ("", "## Published by others", "")
    yield (
        "On other test sets, by other code, under protocols that are mostly not stated: never to "
        "be ranked with the rows above. `reported.csv` has all of them, with notes."
    )
    yield from _published_tables([value for value in values if not value.secondary])
    if second_hand := [value for value in values if value.secondary]:
        yield from ("", "### Second-hand", "")
        yield (
            "Read from third parties' notes on the papers, not from the papers: check them before "
            "use."
        )
        yield from _published_tables(second_hand)


def _published_tables(values: Sequence[ReportedValue]) -> Iterator[str]:
    for (test_set, title), group in groupby(values, lambda v: (v.test_set, v.source_title)):
        table = list(group)
        metrics = list(dict.fromkeys(value.metric for value in table))
        methods = list(dict.fromkeys(value.method for value in table))
        found = {(value.method, value.metric): value for value in table}
        second_hand = ", second-hand" if any(value.secondary for value in table) else ""
        source = f"{escaped(title)} (<{table[0].source_url}>{second_hand})"
        yield from ("", f"{source}; test set: {escaped(test_set or 'not named')}", "")
        yield _line(["method", *map(escaped, metrics)])
        yield _line(["---", *["---:"] * len(metrics)])
        for method in methods:
            values_of = [found.get((method, metric)) for metric in metrics]
            yield _line([escaped(method), *map(_published, values_of)])


def _published(value: ReportedValue | None) -> str:
    if value is None:
        return ""
    return f"{value.value:g}" + (" (overflow)" if value.overflow_psnr else "")
