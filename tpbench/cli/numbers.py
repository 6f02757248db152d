"""Scores on the terminal: the headline first, remarks on what is shown, and how to report it."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import typer

from tpbench.cli.output import console, counted, shown

if TYPE_CHECKING:
    from tpbench.benchmark.markup import Format
    from tpbench.benchmark.paper_table import Method, PaperTable
    from tpbench.metrics.scoring.report import MetricScore

_PULL: Final = re.compile(r"tpbench weights pull ([\w. -]+)$")
"""In the reason for a blank: the model files that are missing."""
_NAMED: Final = 6
"""Metrics that one remark names."""


def print_numbers(
    methods: Sequence[Method],
    protocol: Mapping[str, Any],
    *,
    how: str,
    notes: Sequence[str] = (),
    every: bool = False,
    form: Format = "table",
) -> None:
    """Print the table of one method or several, remarks on it, and how to report it.

    Of a form other than "table", stdout has the table alone; remarks go to stderr.

    Args:
        methods: in the order of the table.
        protocol: the settings they were scored with.
        how: see `how_to_report`; the caption in Markdown and LaTeX.
        notes: of the reports.
        every: whether to show all metrics instead of the headline.
        form: how the table is written.
    """
    from tpbench.benchmark.paper_formats import written
    from tpbench.benchmark.paper_table import paper_table

    to = console(stderr=form != "table")
    table = paper_table(methods, protocol, every=every, note=how)
    # Lines that are wider than the terminal are for the terminal to fold: no number is cut.
    if text := written(table, form, width=to.width):
        typer.echo(text)
    if form == "table":
        to.print()
    for line in dict.fromkeys([*_about(methods, table, protocol), *notes]):
        to.print(line, soft_wrap=True)
    if table.hidden:
        metrics = counted(table.hidden, "more metric")
        to.print(f"{metrics}: --all, or scores.json", soft_wrap=True)
    if form == "table":
        to.print()
        to.print("\n".join(textwrap.wrap(f"How to report: {how}", to.width)), soft_wrap=True)
        to.print()


def _about(
    methods: Sequence[Method], table: PaperTable, protocol: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the remarks on what is shown; those of one method of several begin with its name."""
    names = [*(column.metric for column in table.columns), *table.blank]
    both = protocol.get("told_beside") == "mean_of_frames"
    said = []
    for method in methods:
        scores = {name: method.scores[name] for name in names if name in method.scores}
        said.append(list(remarks(scores, both_means=both)))
    for method, lines in zip(methods, said, strict=True):
        for line in lines:
            everyone = all(line in others for others in said)
            yield line if everyone else f"{method.name}: {line}"


def remarks(metrics: Mapping[str, MetricScore], *, both_means: bool = False) -> Iterator[str]:
    """Yield the remarks below a table: blanks, warnings, means, missing intervals.

    Args:
        metrics: the scores that are shown.
        both_means: whether to show the mean over all frames in addition to that over clips.
    """
    warnings: dict[str, list[str]] = {}
    for name, found in metrics.items():
        if found.status == "measured" and found.reason:
            warnings.setdefault(found.reason, []).append(name)
        if found.warning:
            warnings.setdefault(found.warning, []).append(name)
        if found.missing_reason:
            lack = f"no value in {counted(found.n_missing, 'clip')} ({found.missing_reason})"
            warnings.setdefault(lack, []).append(name)
        if found.n_infinite and found.n_clips:
            more = f"infinite in {counted(found.n_infinite, 'more clip')}, excluded from the mean"
            warnings.setdefault(more, []).append(name)
    for text, names in warnings.items():
        yield f"{listed(names)}: {text}"
    for name, found in metrics.items():
        yield from _means(name, found, both=both_means)
    yield from blanks(
        {
            name: found.reason or ""
            for name, found in metrics.items()
            if found.status == "not_measured"
        }
    )
    yield from _missing_intervals(metrics)


def blanks(reasons: Mapping[str, str], *, what: str = "not measured") -> Iterator[str]:
    """Yield what has no value and what to do: one line for all missing model files.

    Args:
        reasons: by metric.
        what: how the lines begin.
    """
    from tpbench.weights import pull_command

    lacking: dict[str, list[str]] = {}
    files: dict[str, None] = {}
    without_files = []
    for name, reason in reasons.items():
        if pull := _PULL.search(reason):
            files |= dict.fromkeys(pull[1].split())
            without_files.append(name)
        else:
            lacking.setdefault(reason, []).append(name)
    if files:
        yield (
            f"{what}: {listed(without_files)}: model files are missing, "
            f"run: {pull_command(list(files))}"
        )
    for reason, names in lacking.items():
        yield f"{what}: {listed(names)}: {reason}"


def listed(names: Sequence[str]) -> str:
    """Return names, the first of many only: "psnr, ssim and 7 more"."""
    if len(names) <= _NAMED + 1:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"


def _means(name: str, found: MetricScore, *, both: bool) -> Iterator[str]:
    """Yield which mean a value is, if it is not the mean over clips or both are requested."""
    if found.pooling == "mean_of_frames" and not math.isnan(found.value):
        yield (
            f"{name}: mean over all {found.n_values} frames; the mean over clips is "
            f"{shown(found.mean_of_clips)}"
        )
    elif both and not math.isnan(found.mean_of_frames):
        yield (
            f"{name}: mean over clips; the mean over all {found.n_values} frames or terms is "
            f"{shown(found.mean_of_frames)}"
        )


def _missing_intervals(metrics: Mapping[str, MetricScore]) -> Iterator[str]:
    """Yield the reasons for missing intervals, with names unless no value has an interval."""
    reasons: dict[str, list[str]] = {}
    values = [name for name, found in metrics.items() if not math.isnan(found.value)]
    for name in values:
        if reason := metrics[name].interval_reason:
            reasons.setdefault(reason, []).append(name)
    for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
        which = "" if len(names) == len(values) else f" of {listed(names)}"
        how = "; --identities names them" if reason.endswith("are not known") else ""
        yield f"no interval{which}: {reason}{how}"
