from __future__ import annotations

import math

import pytest

from tpbench.short_table import ShortTable, short_interval, short_number

TABLE = ShortTable(
    title="Of <b>Ann\x1b[2J</b>",
    heads=("metric", "value"),
    rows=(("psnr", "1"), ("<script>", "22.5")),
    more="2 of 9 metrics",
)


def test_a_short_table_is_aligned_lines_without_control_characters() -> None:
    assert TABLE.text().splitlines() == [
        "Of <b>Ann\\u001b[2J</b>",
        "metric    value",
        "psnr      1",
        "<script>  22.5",
        "2 of 9 metrics",
    ]


def test_texts_of_the_notebook_are_escaped() -> None:
    html = TABLE.html()
    assert "<td>&lt;script&gt;</td><td>22.5</td>" in html
    assert "Of &lt;b&gt;Ann" in html
    assert "\x1b" not in html
    assert "<script>" not in html


@pytest.mark.parametrize(
    ("value", "said"),
    [(1.23456, "1.235"), (math.nan, ""), (None, ""), (math.inf, "∞"), (-math.inf, "-∞")],
)
def test_numbers_have_four_digits_and_what_is_not_measured_is_blank(
    value: float | None, said: str
) -> None:
    assert short_number(value) == said


def test_an_interval_needs_both_ends() -> None:
    assert short_interval(1.0, 2.5) == "1 to 2.5"
    assert short_interval(None, 2.5) == ""
