from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len

from tests.benchmark.papers import PROTOCOL, parsed_rows
from tpbench.benchmark.compare import Comparison, MetricComparison
from tpbench.benchmark.comparison_table import shown_comparisons, written_comparison
from tpbench.metrics.registry import METRICS

NAN = float("nan")


def metric(name: str, a: float, b: float, **changes: Any) -> MetricComparison:  # noqa: ANN401 - fields
    row = METRICS[name]
    found: dict[str, Any] = {
        "metric": name,
        "label": row.label,
        "direction": row.direction,
        "arrow": row.arrow,
        "unit": row.unit,
        "quantity": "value" if row.target is None else f"distance to {row.target:g}",
        "a": a,
        "b": b,
        "difference": a - b,
        "low": a - b - 0.125,
        "high": a - b + 0.125,
        "value_a": a,
        "value_b": b,
        "n_clips": 12,
        "reason": None,
    }
    return MetricComparison(**(found | changes))


def comparison(
    *metrics: MetricComparison, names: tuple[str, str] = ("Mine", "Theirs")
) -> Comparison:
    def run(name: str) -> Any:  # noqa: ANN401 - what a table needs of a run
        model = SimpleNamespace(full_name=name)
        return SimpleNamespace(info=SimpleNamespace(model=model, seed=0), folder=Path(name))

    by_name: Mapping[str, MetricComparison] = {one.metric: one for one in metrics}
    return Comparison(
        a=run(names[0]),
        b=run(names[1]),
        metrics=by_name,
        worst={},
        n_common=12,
        n_unpaired=0,
        n_judged=len(metrics),
        unjudged=None,
        protocol=PROTOCOL,
        how_to_report="Made with care.",
    )


WHOLE = comparison(
    metric("psnr", 30.25, 24.5, better="a"),
    metric("motion_ratio", 0.05, 0.5, value_a=1.05, value_b=0.5, better="a"),
    metric("l1", 4.0, 5.0),
    metric("fid", NAN, NAN, reason="no files"),
)


def test_the_headline_comes_first_and_what_is_blank_is_told_apart() -> None:
    rows, blank = shown_comparisons(WHOLE)
    assert [row.metric for row in rows] == ["psnr", "motion_ratio"]
    assert [row.metric for row in blank] == ["fid"]
    rows, _ = shown_comparisons(WHOLE, every=True)
    assert [row.metric for row in rows] == ["psnr", "motion_ratio", "l1"]


def test_values_have_a_line_and_distances_with_the_verdict_another() -> None:
    lines = written_comparison(WHOLE, "table", width=100).splitlines()
    assert lines[0].split()[:3] == ["metric", "Mine", "Theirs"]
    assert lines[3].split() == ["motion_ratio", "→", "1", "1.050", "0.500"]
    assert lines[4].split() == [
        "distance", "to", "1", "↓", "0.0500", "0.5000", "-0.450", "-0.575", "…", "-0.325", "Mine",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [60, 70, 80])
def test_a_table_fits_the_terminal_and_says_what_it_leaves_out(width: int) -> None:
    text = written_comparison(WHOLE, "table", width=width)
    *table, last = text.splitlines()
    assert max(map(cell_len, table)) <= width
    assert ("no room for: unit" in last) == (width < 70)
    assert "30.25" in text
    assert "-0.450" in text


def test_long_names_leave_letters_as_heads() -> None:
    found = comparison(*WHOLE.metrics.values(), names=("A model with a long name", "B"))
    lines = written_comparison(found, "table", width=100).splitlines()
    assert lines[0].split()[:3] == ["metric", "A", "B"]
    assert lines[2].split()[-1] == "A"


def test_clips_have_a_column_where_their_numbers_differ() -> None:
    found = comparison(metric("psnr", 30.0, 20.0), metric("ssim", 0.5, 0.25, n_clips=9))
    head, _, psnr, ssim = written_comparison(found, "table", width=100).splitlines()
    assert "clips" in head
    assert psnr.split()[-1] == "12"
    assert ssim.split()[-1] == "9"


def test_latex_parses_with_names_escaped_and_the_better_one_in_bold() -> None:
    found = comparison(*WHOLE.metrics.values(), names=("Mine_1", "A & B"))
    text = written_comparison(found, "latex", every=True)
    rows = parsed_rows(text)
    assert {len(row) for row in rows} == {6}
    assert rows[0][1:3] == [r"Mine\_1", r"A \& B"]
    assert rows[1] == [
        r"PSNR $\uparrow$ (dB)", r"\textbf{30.25}", "24.50", "5.75", "(5.62, 5.88)", "12",
    ]  # fmt: skip
    assert rows[2][3:5] == ["", ""], "difference and interval are those of the distance"
    assert r"\caption{Made with care. \textbf{Bold}: better by one joint test of 4 " in text


def test_no_metric_to_compare_is_no_table_and_no_error() -> None:
    nothing = comparison(metric("psnr", NAN, NAN, reason="no files"))
    assert written_comparison(nothing, "table") == ""
    assert len(parsed_rows(written_comparison(nothing, "latex"))) == 1
