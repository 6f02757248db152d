from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import pytest
from rich.cells import cell_len

from tests.benchmark.papers import PROTOCOL, parsed_rows, score, scores
from tpbench.benchmark.markup import escaped_latex
from tpbench.benchmark.paper_formats import (
    CSV_HEADER,
    as_csv,
    as_latex,
    as_markdown,
    as_text,
    written,
)
from tpbench.benchmark.paper_table import Method, PaperTable, paper_table

NASTY = "50% of A_b & {c} ~ \\d [e] *f* $g$ #h |i| <j> \x1b[31m"
ONE = Method(name="Mine", scores=scores(psnr=27.991, motion_ratio=0.5, drift_psnr_slope=-0.25))
OTHER = Method(name="Theirs", scores=scores(psnr=9.4, ssim=0.75), marked={"ssim"})
THIRD = Method(name="A method with a long name", scores=scores(psnr=12.0, akd_body=3.5))


def table(*methods: Method, note: str = "") -> PaperTable:
    return paper_table(methods, PROTOCOL, note=note)


def test_one_method_has_a_line_per_metric_in_a_terminal() -> None:
    lines = as_text(table(ONE)).splitlines()
    assert lines[0].split() == ["metric", "value", "95", "%", "interval", "unit", "clips"]
    assert lines[2].split() == ["psnr", "↑", "27.99", "25.19", "…", "30.79", "dB", "12"]
    assert lines[3].split() == ["motion_ratio", "→", "1", "0.5000", "0.4500", "…", "0.5500", "12"]
    assert len(lines) == 2 + 3
    assert max(map(len, lines)) <= 80


def test_the_spread_over_seeds_has_a_column_where_there_is_one() -> None:
    seeded = {"psnr": score("psnr", 27.0, details={"spread": 0.25, "n_seeds": 2})}
    method = Method(name="Mine", scores=seeded)
    assert as_text(table(method)).splitlines()[0].endswith("± over seeds")
    assert as_text(table(method)).splitlines()[2].endswith("0.25")
    assert "± 0.25" in as_markdown(table(method, OTHER))
    assert "$\\pm$ over seeds" in as_latex(table(method))


@pytest.mark.parametrize("width", [80, 100, 200])
def test_methods_stand_side_by_side_as_far_as_the_width_goes(width: int) -> None:
    text = as_text(table(ONE, OTHER, THIRD), width=width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert text.count("metric ") == (2 if width == 80 else 1)
    assert text.splitlines()[-2:] == [
        "* best, and all that are not significantly worse",
        "12 clips for every value",
    ]
    assert "0.7500*" in text
    for number in ("27.99", "9.40", "12.00", "25.19 … 30.79"):
        assert number in text


def test_a_terminal_that_is_too_narrow_for_one_method_gets_its_numbers_whole() -> None:
    text = as_text(table(ONE, OTHER), width=10)
    assert "25.19 … 30.79" in text


def test_marks_say_which_methods_they_say_nothing_about() -> None:
    lacking = replace(ONE, judged=False)
    said = "not significantly worse; not judged: Mine (clips are missing)"
    for text in (as_text, as_markdown, as_latex):
        assert said in text(table(lacking, OTHER, THIRD))
        assert "not judged" not in text(table(ONE, OTHER, THIRD))
    assert as_text(table(lacking, THIRD)).endswith(
        "nothing is marked as best: clips of Mine are missing\n12 clips for every value"
    )


def test_clips_are_given_for_each_method_where_they_differ() -> None:
    fewer = Method(name="B", scores={"psnr": score("psnr", 20.0, n_clips=9)})
    assert as_text(table(ONE, fewer)).splitlines()[2].endswith("12, 9")


def test_markdown_has_a_line_per_method_and_bold_marks() -> None:
    lines = as_markdown(table(ONE, OTHER, note="How *it* was made.")).splitlines()
    assert lines[0].startswith("| Method | PSNR ↑ (dB) | SSIM ↑ | Motion ratio → 1 |")
    assert lines[3].startswith("| Theirs | 9.40 (8.46 … 10.34) | **0.7500** (0.6750 … 0.8250) |")
    assert lines[-3:] == [
        "**Bold**: best, and all that are not significantly worse.",
        "",
        r"How \*it\* was made.",
    ]
    assert len({line.count("|") for line in lines[:4]}) == 1


def test_markup_in_names_is_escaped_in_markdown() -> None:
    text = as_markdown(table(replace(ONE, name=NASTY), OTHER))
    (line,) = (line for line in text.splitlines() if "50%" in line)
    assert "&lt;j&gt;" in line
    assert r"\[e\] \*f\*" in line
    assert line.replace("\\|", "").count("|") == text.splitlines()[0].count("|")


@pytest.mark.parametrize("methods", [(ONE,), (ONE, OTHER), (ONE, OTHER, THIRD)])
def test_latex_parses_and_has_as_many_cells_in_each_row(methods: tuple[Method, ...]) -> None:
    text = as_latex(table(*methods, note="Scored at 95 % by tpbench_v2 & others."))
    rows = parsed_rows(text)
    n_metrics = len(table(*methods).columns)
    assert {len(row) for row in rows} == {4 if len(methods) == 1 else 2 + n_metrics}
    assert r"\caption{Scored at 95 \% by tpbench\_v2 \& others." in text
    assert text.splitlines()[0] == r"% \usepackage{booktabs}"


def test_latex_of_several_methods_has_heads_with_units_values_and_intervals_below() -> None:
    rows = parsed_rows(as_latex(table(ONE, OTHER)))
    assert rows[0][:2] == ["Method", r"PSNR $\uparrow$"]
    assert rows[1][:2] == ["", "(dB)"]
    assert rows[2][:2] == ["Mine", "27.99"]
    assert rows[3][1] == r"{\scriptsize (25.19, 30.79)}"
    assert rows[4][:3] == ["Theirs", "9.40", r"\textbf{0.7500}"]
    slope = rows[0].index(r"PSNR drift $\uparrow$")
    assert rows[2][slope] == "$-$0.2500"
    assert rows[2][-1] == "12"


def test_specials_are_escaped_in_latex_and_cells_stay_as_many() -> None:
    rows = parsed_rows(as_latex(table(replace(ONE, name=NASTY), OTHER)))
    assert len({len(row) for row in rows}) == 1
    expected = (
        r"50\% of A\_b \& \{c\} \textasciitilde{} \textbackslash{}d {[}e{]} {*}f{*} \$g\$ \#h "
        r"\textbar{}i\textbar{} \textless{}j\textgreater{} \textbackslash{}u001b{[}31m"
    )
    assert rows[2][0] == expected


@pytest.mark.parametrize("letter", "\\{}$&#%_^~")
def test_no_special_letter_is_left_to_latex(letter: str) -> None:
    found = escaped_latex(f"a{letter}b")
    assert found != f"a{letter}b"
    assert found.replace(f"\\{letter}", "").count(letter) == (1 if letter == "\\" else 0) + (
        found.count("{}") if letter in "{}" else 0
    )


def test_csv_is_unrounded_with_a_line_per_method_and_metric() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(table(ONE, replace(OTHER, name="=1+1"))))))
    assert tuple(rows[0]) == CSV_HEADER
    assert rows[0]["value"] == "27.991"
    assert (rows[0]["metric"], rows[0]["label"], rows[0]["better"]) == ("psnr", "PSNR", "↑")
    assert {row["method"] for row in rows} == {"Mine", "'=1+1"}
    blank = [row for row in rows if row["method"] == "Mine" and row["metric"] == "ssim"]
    assert [row["value"] for row in blank] == [""]


def test_infinite_values_have_their_sign() -> None:
    method = Method(name="A", scores={"psnr": score("psnr", math.inf, low=None, high=None)})
    assert "∞" in as_text(table(method))
    assert r"$\infty$" in as_latex(table(method))
    assert ",inf," in as_csv(table(method))


def test_a_table_without_a_value_is_empty_and_no_error() -> None:
    nothing = table(Method(name="A", scores=scores()))
    assert written(nothing, "table") == ""
    assert written(nothing, "csv") == ",".join(CSV_HEADER)
    assert parsed_rows(written(nothing, "latex")) == [["Metric", "Value", "95 \\% interval", "n"]]
    assert written(nothing, "md").startswith("| Metric |")
