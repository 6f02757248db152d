"""Scores of made-up methods, and a parser for the tables that are made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from pylatexenc.latexwalker import LatexEnvironmentNode, LatexMacroNode, LatexWalker

from tpbench.metrics.registry import DEFAULT_PROTOCOL, METRICS, protocol
from tpbench.metrics.scoring.reduce import not_measured
from tpbench.metrics.scoring.report import MetricScore

PROTOCOL: Mapping[str, Any] = asdict(protocol(DEFAULT_PROTOCOL))


def score(metric: str, value: float, **changes: Any) -> MetricScore:  # noqa: ANN401 - of a score
    """Return a value of twelve clips with an interval of a tenth to both sides."""
    ends = {"low": value - abs(value) / 10, "high": value + abs(value) / 10, "n_clips": 12}
    blank = not_measured(METRICS[metric], "because")
    return replace(
        blank, **{"value": value, "status": "measured", "reason": None, **ends, **changes}
    )


def scores(**values: float) -> dict[str, MetricScore]:
    """Return scores of all metrics of the default protocol: those named are measured."""
    return {
        name: score(name, values[name])
        if name in values
        else not_measured(METRICS[name], "model files are missing")
        for name in protocol(DEFAULT_PROTOCOL).metrics
    }


def parsed_rows(latex: str) -> list[list[str]]:
    """Return the cells of the only `tabular` of a text, as LaTeX, after strict parsing."""
    nodes, _, length = LatexWalker(latex, tolerant_parsing=False).get_latex_nodes()
    assert length == len(latex)
    (table,) = (node for node in nodes if isinstance(node, LatexEnvironmentNode))
    assert table.environmentname == "table"
    (tabular,) = (node for node in table.nodelist if isinstance(node, LatexEnvironmentNode))
    assert tabular.environmentname == "tabular"
    rows, cells = [], [""]
    for node in tabular.nodelist:
        is_macro = isinstance(node, LatexMacroNode)
        if is_macro and node.macroname == "\\":
            rows.append([cell.strip() for cell in cells])
            cells = [""]
        elif is_macro and node.macroname in {"toprule", "midrule", "bottomrule"}:
            assert not "".join(cells).strip(), "a rule within a row"
        elif node.latex_verbatim() == "&":
            cells.append("")
        else:
            cells[-1] += node.latex_verbatim()
    assert not "".join(cells).strip(), "cells behind the last row"
    return rows
