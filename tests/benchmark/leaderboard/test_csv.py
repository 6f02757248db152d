"""`leaderboard.csv`: what pandas makes of it without options, and what nobody can smuggle in."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmark.leaderboard.conftest import DATASET_DIGEST, Runs, board_of
from tpbench.benchmark.leaderboard.assemble import one_line
from tpbench.benchmark.leaderboard.board import Leaderboard
from tpbench.benchmark.leaderboard.tables import columns_of, csv_text, leaderboard_csv

VALUES = (20.123456789012345, 21.0, 1 / 3, 23.0, 24.0, 25.0)

SMUGGLED = (
    "=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "'x", 'a,"b"', "a\nb", "NA", "null", "True",
    "007", "\uff1d1", "1e5", "inf", "<b>", "a|b", "ünï",
)  # fmt: skip

FORMULA = ("=", "+", "-", "@", "\t", "\uff1d")


def read(board: Leaderboard) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(leaderboard_csv(board)))


def test_pandas_reads_every_value_back(runs: Runs) -> None:
    runs("b", psnr=VALUES, blank={"fid": "no weights"})
    runs("a", psnr=math.inf, tje_d2=1e-7, drift_psnr_slope=-0.25)
    runs.anchors()
    board = board_of(runs.out)

    text = leaderboard_csv(board)
    table = pd.read_csv(io.StringIO(text), float_precision="round_trip").set_index("model")

    assert list(table.index) == ["a", "b", "frozen", "gt-reencode", "oracle"]
    for row in board.rows:
        for metric, cell in row.scores.items():
            found = table.loc[row.id, [metric, f"{metric}_lo", f"{metric}_hi"]]
            expected = [math.nan if v is None else v for v in (cell.value, cell.low, cell.high)]
            np.testing.assert_array_equal(found.to_numpy(np.float64), expected)
    assert table.loc["a", "psnr"] == math.inf
    assert table.loc["a", "drift_psnr_slope"] == -0.25
    assert np.isnan(table["fid"]["b"])
    assert (table["dataset_digest"] == DATASET_DIGEST).all()


def test_dtypes_are_those_of_the_schema(runs: Runs) -> None:
    runs("b", psnr=VALUES, blank={"fid": "no weights"})
    runs("a", seed=1, psnr=math.inf)
    runs("a", seed=2, psnr=math.inf)
    board = board_of(runs.out)
    table = read(board)
    kinds = {"str": pd.api.types.is_string_dtype, "int64": pd.api.types.is_integer_dtype}
    for name, column in columns_of(board).items():
        is_right = kinds.get(column["dtype"], pd.api.types.is_float_dtype)
        assert is_right(table[name].dtype), name


def test_a_single_row_has_the_same_dtypes(runs: Runs) -> None:
    one = read(board_of(runs("a"))).dtypes
    runs("b")
    assert one.equals(read(board_of(runs.out)).dtypes)


def test_columns_stand_in_the_order_of_the_design(runs: Runs) -> None:
    header = leaderboard_csv(board_of(runs())).splitlines()[0].split(",")

    assert header[:11] == [
        "model", "display_name", "kind", "task", "protocol", "split", "dataset_digest", "n_clips",
        "n_identities", "coverage", "seeds",
    ]  # fmt: skip
    assert header[11:15] == ["psnr", "psnr_lo", "psnr_hi", "psnr_n"]
    assert header[19:23] == ["fid", "fid_lo", "fid_hi", "fid_n"]
    at = header.index("motion_ratio")
    assert header[at : at + 7] == [
        "motion_ratio", "motion_ratio_lo", "motion_ratio_hi", "motion_ratio_n",
        "motion_ratio_distance", "motion_ratio_distance_lo", "motion_ratio_distance_hi",
    ]  # fmt: skip
    assert header[-9:] == [
        "params_b", "gen_fps", "peak_gpu_gb", "licence_code", "licence_weights", "run_digest",
        "verified", "verified_by_maker", "date",
    ]  # fmt: skip


def test_lines_end_with_lf_and_blanks_are_empty(runs: Runs) -> None:
    text = leaderboard_csv(board_of(runs(blank={"psnr": "no weights"})))
    assert "\r" not in text
    assert text.endswith("\n")
    assert text.count(",[42],,,,0,") == 1


def test_how_many_clips_a_value_is_made_from_stands_beside_it(runs: Runs) -> None:
    runs("lacking", tje_d2=[1.0, 1.0, 1.0, math.nan, math.nan, math.nan])
    runs("whole", motion_ratio=[0.2, 1.8, 0.2, 1.8, 0.2, 1.7])
    table = read(board_of(runs.out)).set_index("model")
    assert list(table["tje_d2_n"]) == [3, 6]
    value, distance, low = (
        float(table[f"motion_ratio{ending}"].to_numpy()[1])
        for ending in ("", "_distance", "_distance_lo")
    )
    assert (value, distance) == pytest.approx((5.9 / 6, 4.7 / 6))
    assert low < 4.7 / 6


def test_anchors_stand_last_and_nothing_is_ranked(runs: Runs) -> None:
    runs.anchors()
    runs("gt-lag5", kind="anchor", display_name="A late one")
    runs("worse", display_name="alpha", psnr=10)
    runs("better", display_name="Beta", psnr=30)
    assert list(read(board_of(runs.out))["model"]) == [
        "worse", "better", "frozen", "gt-reencode", "oracle", "gt-lag5",
    ]  # fmt: skip


def test_what_is_said_of_a_row_is_what_its_run_says(runs: Runs) -> None:
    (row,) = read(board_of(runs("mine", seed=7, failed={"clip1": "broke"}))).to_dict("records")

    said = {
        "kind": "measured",
        "task": "self",
        "protocol": "tpbench-v2+custom",
        "split": "test",
        "n_clips": 5,
        "n_identities": 5,
        "coverage": 5 / 6,
        "seeds": "[7]",
        "gen_fps": 12.0,
        "licence_code": "not stated",
        "licence_weights": "not stated",
        "verified": "none",
        "verified_by_maker": "none",
        "date": "2026-03-02",
    }
    assert {name: row[name] for name in said} == said


@pytest.mark.parametrize("name", SMUGGLED)
def test_no_name_becomes_a_formula_a_number_or_another_row(runs: Runs, name: str) -> None:
    board = board_of(runs("harmless", display_name="x"), runs(name, display_name=name))
    text = leaderboard_csv(board)
    (shown,) = (row.id for row in board.rows if row.id != "harmless")
    assert text.count("\n") == 3
    rows = list(csv.DictReader(io.StringIO(text)))
    for found in (rows[0], rows[1]):
        assert not found["model"].startswith(FORMULA)
        assert not found["display_name"].startswith(FORMULA)
    table = read(board)
    assert shown in {cell.removeprefix("'") for cell in table["model"]}
    assert table["model"].notna().all()
    assert table["psnr"].dtype == np.float64


@given(st.lists(st.text(), min_size=1))
@settings(max_examples=200, deadline=None)
def test_any_names_come_back_as_text(names: list[str]) -> None:
    names = [one_line(name) for name in names]
    text = csv_text(["name", "value"], [[name, 0.5] for name in names])
    table = pd.read_csv(io.StringIO(text))
    assert pd.api.types.is_string_dtype(table["name"].dtype)
    guarded = [read != name for read, name in zip(table["name"], names, strict=True)]
    assert list(table["name"]) == [
        f"'{name}" if guard else name for name, guard in zip(names, guarded, strict=True)
    ]
    assert all(guard or name[0] not in "=+-@'" for name, guard in zip(names, guarded, strict=True))


@given(st.floats())
def test_any_number_comes_back_to_the_last_bit(value: float) -> None:
    text = csv_text(["name", "value"], [["a", value], ["b", 0.5]])
    (found, _) = pd.read_csv(io.StringIO(text), float_precision="round_trip")["value"]
    np.testing.assert_equal(found, value)
