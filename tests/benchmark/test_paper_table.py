from __future__ import annotations

import math

import pytest

from tests.benchmark.papers import PROTOCOL, score, scores
from tpbench.benchmark.paper_table import (
    Method,
    PaperCell,
    PaperColumn,
    column_of,
    decimals_of,
    number,
    paper_table,
    shown_metrics,
)
from tpbench.metrics.registry import DEFAULT_PROTOCOL, METRICS, protocol


def test_the_headline_is_shown_and_all_on_request_with_the_headline_first() -> None:
    headline = protocol(DEFAULT_PROTOCOL).headline
    assert shown_metrics(PROTOCOL, headline) == headline
    every = shown_metrics(PROTOCOL, headline, every=True)
    assert every[: len(headline)] == headline
    assert sorted(every) == sorted(protocol(DEFAULT_PROTOCOL).metrics)


def test_metrics_that_were_named_are_all_shown_though_few_are_of_the_headline() -> None:
    narrowed = {"id": f"{DEFAULT_PROTOCOL}+custom", "metrics": ["l1", "psnr"], "headline": ["psnr"]}
    assert shown_metrics(narrowed, ["l1"]) == ("psnr", "l1")


def test_the_body_stands_in_for_hands_that_nobody_has() -> None:
    shown = shown_metrics(PROTOCOL, ["psnr", "akd_body", "pck_body"])
    assert shown[-3:] == ("akd_body", "pck_body", "drift_psnr_slope")
    some = shown_metrics(PROTOCOL, ["akd_hands"])
    assert {"akd_hands", "pck_body"} <= set(some)
    narrowed = {**PROTOCOL, "metrics": ["akd_hands", "psnr"]}
    assert shown_metrics(narrowed, []) == ("psnr", "akd_hands")


def test_a_column_has_label_arrow_and_unit() -> None:
    assert column_of(METRICS["psnr"]).heading == "PSNR ↑ (dB)"
    assert column_of(METRICS["motion_ratio"]).heading == "Motion ratio → 1"
    assert column_of(METRICS["identical_share"]).heading == "Identical (share)"


@pytest.mark.parametrize(
    ("unit", "short"),
    [
        ("dB per 100 frames", "dB/100 frames"),
        ("per 100 frames", "1/100 frames"),
        ("levels per px", "levels/px"),
        ("px", "px"),
        ("", ""),
    ],
)
def test_units_are_short_in_heads(unit: str, short: str) -> None:
    assert PaperColumn(metric="x", label="X", arrow="", unit=unit).short_unit == short


def test_a_column_stands_where_any_method_has_a_value_and_the_blank_ones_are_named() -> None:
    table = paper_table(
        [
            Method(name="A", scores=scores(psnr=30, l1=4)),
            Method(name="B", scores={"ssim": score("ssim", 0.9)}),
        ],
        PROTOCOL,
    )
    assert [column.metric for column in table.columns] == ["psnr", "ssim"]
    assert table.rows[1].cells["psnr"].blank
    assert "fid" in table.blank
    assert "l1" not in table.blank
    assert table.hidden == 1


def test_marks_are_those_of_values_and_need_two_methods() -> None:
    good = Method(name="A", scores=scores(psnr=30), marked={"psnr", "ssim"})
    other = Method(name="B", scores=scores(psnr=20, ssim=0.5))
    both = paper_table([good, other], PROTOCOL)
    assert both.marks
    assert both.rows[0].cells["psnr"].marked
    assert not both.rows[0].cells["ssim"].marked, "not measured"
    assert not paper_table([good], PROTOCOL).marks


def test_a_metric_of_another_version_is_shown_by_its_id() -> None:
    odd = {"psnr": score("psnr", 30, version=99)}
    (column,) = paper_table([Method(name="A", scores=odd)], PROTOCOL).columns
    assert (column.label, column.arrow) == ("psnr", "")


def test_numbers_of_a_column_have_the_same_decimals() -> None:
    assert decimals_of([]) == decimals_of([0.0, None, math.nan, math.inf]) == 0
    assert decimals_of([1e-9]) == 6
    assert number(9.4, decimals_of([27.991, 9.4])) == "9.40"
    assert [number(value, 1) for value in (None, math.nan, -math.inf, -0.04)] == [
        "",
        "",
        "-∞",
        "0.0",
    ]


def test_a_cell_without_both_ends_has_no_interval() -> None:
    assert not PaperCell(value=1.0, low=0.5).has_interval
    assert PaperCell(value=1.0, low=0.5, high=2.0).has_interval
