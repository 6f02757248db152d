"""`tpbench compare`."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpbench.cli import options as opt
from tpbench.cli.numbers import blanks, listed
from tpbench.cli.output import console, counted, print_json, shown

if TYPE_CHECKING:
    from tpbench.benchmark.compare import Comparison, MetricComparison
    from tpbench.benchmark.markup import Format


def compare(
    run_a: Annotated[
        Path,
        typer.Argument(help="Folder of a scored run, or of `tpbench score`.", show_default=False),
    ],
    run_b: Annotated[
        Path, typer.Argument(help="Folder of the run to compare it with.", show_default=False)
    ],
    every: opt.AllMetrics = False,
    form: opt.Format = "table",
    as_json: opt.AsJson = False,
) -> None:
    """Compare two runs on the clips they share.

    Shows paired differences and the clips with the largest losses.
    """
    from tpbench.benchmark.compare import compare_runs

    found = compare_runs(run_a, run_b)
    if as_json:
        print_json(found.to_json(), indent=1)
    else:
        print_comparison(found, every=every, form=form)


def print_comparison(
    found: Comparison, *, every: bool = False, form: Format = "table", alone: bool = True
) -> None:
    """Print the paired differences of two runs, and the remarks on them.

    Of a form other than "table", stdout has the table alone; remarks go to stderr.

    Args:
        found: two runs.
        every: whether to show all metrics; else the headline of the protocol.
        form: how the table is written.
        alone: whether to print what a table of the runs says as well: what was not measured, and
            how to report the numbers.
    """
    from tpbench.benchmark.comparison_table import shown_comparisons, written_comparison

    to = console(stderr=form != "table")
    if form == "table":
        for letter, name, run in zip("AB", found.names, (found.a, found.b), strict=True):
            seed = "" if run.is_scored else f", seed {run.info.seed}"
            to.print(f"{letter}: {name}{seed}: {run.folder.path}", soft_wrap=True)
        to.print()
    rows, blank = shown_comparisons(found, every=every)
    if text := written_comparison(found, form, every=every, width=to.width):
        typer.echo(text)
    if form == "table":
        to.print()
    for line in _remarks(found, rows, blank if alone else ()):
        to.print(line, soft_wrap=True)
    hidden = sum(not one.blank for one in found.metrics.values()) - len(rows)
    if hidden:
        to.print(f"{counted(hidden, 'more metric')}: --all", soft_wrap=True)
    if form == "table" and alone:
        to.print()
        lines = textwrap.wrap(f"How to report: {found.how_to_report}", to.width)
        to.print("\n".join(lines), soft_wrap=True)


def _remarks(
    found: Comparison, rows: Sequence[MetricComparison], blank: Sequence[MetricComparison]
) -> Iterator[str]:
    """Yield remarks on what is shown: clips, infinite values, the test, the worst clips."""
    from tpbench.benchmark.comparison_table import joint_test_note

    yield f"A, B and A - B are over the same clips: {_numbers([row.n_clips for row in rows])}"
    yield from _left_out(found, rows)
    if infinite := [row.metric for row in rows if row.n_infinite]:
        yield f"infinite values count as 100 dB in A, B and A - B ({listed(infinite)})"
    if off := [row.metric for row in rows if row.quantity != "value"]:
        yield (
            f"{listed(off)}: difference, interval and verdict are those of the clips' distances "
            "to the target"
        )
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.reason:
            reasons.setdefault(row.reason, []).append(row.metric)
    for reason, names in reasons.items():
        yield f"no interval: {reason} ({listed(names)})"
    yield from blanks({row.metric: row.reason or "" for row in blank}, what="not compared")
    if found.unjudged:
        yield f"neither run is called better: {found.unjudged}"
    else:
        yield f"better: {joint_test_note(found)}"
    yield from _worst(found, {row.metric for row in rows})


def _left_out(found: Comparison, rows: Sequence[MetricComparison]) -> Iterator[str]:
    if found.n_unpaired:
        yield f"{counted(found.n_unpaired, 'clip')} with scores in only one run: left out"
    alike: dict[tuple[int, int], list[str]] = {}
    for row in rows:
        if row.n_lacking_a or row.n_lacking_b:
            alike.setdefault((row.n_lacking_a, row.n_lacking_b), []).append(row.metric)
    for (of_a, of_b), names in alike.items():
        lacking = f"{counted(of_a, 'clip')} without a value in A, {of_b} in B"
        yield f"{listed(names)}: {lacking}; left out of A, B and A - B"


def _worst(found: Comparison, names: Collection[str]) -> Iterator[str]:
    for name, losses in found.worst.items():
        worst = [f"{x.clip_id} ({shown(x.a)} against {shown(x.b)})" for x in losses]
        if worst and name in names:
            yield f"{name}: A loses most on {', '.join(worst)}"


def _numbers(counts: Sequence[int]) -> str:
    """Return one number of clips, or the range of several."""
    if not counts:
        return "none"
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}, see the column"
