"""The files of a leaderboard: what pandas reads without options, and what nobody can smuggle in."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmark.leaderboard.conftest import DATASET_DIGEST, METRIC_IDS, Runs, board_of
from tpbench.baselines.registry import load_reported
from tpbench.benchmark.leaderboard.assemble import one_line
from tpbench.benchmark.leaderboard.board import Leaderboard
from tpbench.benchmark.leaderboard.tables import (
    build_leaderboard,
    columns_of,
    csv_text,
    leaderboard_csv,
    reported_csv,
    schema_text,
)
from tpbench.benchmark.run_folder import Run
from tpbench.benchmark.site import LIST_NAME
from tpbench.dataset import Dataset
from tpbench.errors import ConfigError
from tpbench.metrics.registry import METRICS

TABLES = ("leaderboard.csv", "leaderboard.schema.json", "reported.csv", "leaderboard.md")
VALUES = (20.123456789012345, 21.0, 1 / 3, 23.0, 24.0, 25.0)
SMUGGLED = (
    "=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "'x", 'a,"b"', "a\nb", "NA", "null", "True",
    "007", "\uff1d1", "1e5", "inf", "<b>", "a|b", "ünï",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\uff1d")


def read(board: Leaderboard) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(leaderboard_csv(board)), float_precision="round_trip")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_all_tables_are_written_and_nothing_else(runs: Runs, tmp_path: Path) -> None:
    built = build_leaderboard([runs()], tmp_path / "out", page=False)
    assert built.files == tuple(tmp_path / "out" / name for name in TABLES)
    assert built.page is None
    assert sorted(contents(tmp_path / "out")) == sorted([*TABLES, LIST_NAME])


def test_the_page_is_written_beside_the_tables(runs: Runs, tmp_path: Path) -> None:
    built = build_leaderboard([runs(), *runs.anchors()], tmp_path / "out")
    assert built.page == built.files[-1] == tmp_path / "out" / "index.html"
    assert built.page.is_file()


def test_order_of_the_runs_and_place_change_no_byte(runs: Runs, tmp_path: Path) -> None:
    paths = [runs("b", psnr=20), runs("a", seed=2, psnr=21), runs("a", seed=1), *runs.anchors()]
    moved = shutil.copytree(runs.out, tmp_path / "elsewhere")
    build_leaderboard(paths, tmp_path / "one", page=False)
    build_leaderboard(paths[::-1], str(tmp_path / "two"), page=False)
    build_leaderboard([moved], tmp_path / "three", page=False)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "three")


def test_anchors_that_are_not_there_are_named_with_their_command(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = Run.open(runs("frozen", kind="anchor")).info.dataset.digest
    monkeypatch.setattr(Dataset, "open", lambda folder: SimpleNamespace(digest=digest))
    built = build_leaderboard([runs.out], tmp_path / "out", data=runs.data, page=False)
    assert list(built.leaderboard.missing_anchors) == ["gt-reencode", "oracle"]
    assert built.missing_anchors["oracle"].startswith(
        f"tpbench eval --model oracle --data {runs.data} --split test --task self "
    )


def test_a_folder_that_cannot_be_written_is_a_config_error(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "file").write_text("a file")
    with pytest.raises(ConfigError, match=r"file: can't be written"):
        build_leaderboard([runs()], tmp_path / "file", page=False)
    monkeypatch.setattr("tpbench.benchmark.page.build.build_page", full)
    with pytest.raises(ConfigError, match=r"out: can't be written \(No space left on device\)"):
        build_leaderboard([runs()], tmp_path / "out")


def test_pandas_reads_every_value_back_with_the_dtypes_of_the_schema(runs: Runs) -> None:
    runs("b", psnr=VALUES, blank={"fid": "no weights"})
    runs("a", psnr=math.inf, tje_d2=1e-7, drift_psnr_slope=-0.25)
    runs.anchors()
    board = board_of(runs.out)
    table = read(board)
    kinds = {"str": pd.api.types.is_string_dtype, "int64": pd.api.types.is_integer_dtype}
    for name, column in columns_of(board).items():
        is_right = kinds.get(column["dtype"], pd.api.types.is_float_dtype)
        assert is_right(table[name].dtype), name
    table = table.set_index("model")
    assert list(table.index) == ["a", "b", "frozen", "gt-reencode", "oracle"]
    for row in board.rows:
        for metric, score in row.scores.items():
            found = table.loc[row.id, [metric, f"{metric}_lo", f"{metric}_hi"]]
            expected = [math.nan if v is None else v for v in (score.value, score.low, score.high)]
            np.testing.assert_array_equal(found.to_numpy(np.float64), expected)
    assert table.loc["a", "psnr"] == math.inf
    assert table.loc["a", "drift_psnr_slope"] == -0.25
    assert np.isnan(table["fid"]["b"])
    assert (table["dataset_digest"] == DATASET_DIGEST).all()


def test_a_single_row_has_the_same_dtypes(runs: Runs) -> None:
    one = read(board_of(runs("a"))).dtypes
    runs("b")
    assert one.equals(read(board_of(runs.out)).dtypes)


def test_columns_stand_in_the_order_of_the_design(runs: Runs) -> None:
    header = leaderboard_csv(board_of(runs())).splitlines()[0].split(",")
    at = header.index("motion_ratio")
    assert header[:15] == [
        "model", "display_name", "kind", "task", "protocol", "split", "dataset_digest", "n_clips",
        "n_identities", "coverage", "seeds", "psnr", "psnr_lo", "psnr_hi", "psnr_n",
    ]  # fmt: skip
    assert header[19:23] == ["fid", "fid_lo", "fid_hi", "fid_n"]
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
    table = read(board_of(runs.out))
    assert list(table["tje_d2_n"]) == [3, 6]
    assert table["motion_ratio"][1] == pytest.approx(5.9 / 6)
    assert table["motion_ratio_distance"][1] == pytest.approx(4.7 / 6)
    assert table["motion_ratio_distance_lo"][1] < 4.7 / 6


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
    (shown,) = (row.id for row in board.rows if row.id != "harmless")
    text = leaderboard_csv(board)
    assert text.count("\n") == 3
    for found in csv.DictReader(io.StringIO(text)):
        assert not found["model"].startswith(FORMULA)
        assert not found["display_name"].startswith(FORMULA)
    table = read(board)
    assert shown in {cell.removeprefix("'") for cell in table["model"]}
    assert table["psnr"].dtype == np.float64


@given(st.lists(st.text(), min_size=1))
@settings(max_examples=200, deadline=None)
def test_any_names_come_back_as_text(names: list[str]) -> None:
    names = [one_line(name) for name in names]
    text = csv_text(["name", "value"], [[name, 0.5] for name in names])
    found = pd.read_csv(io.StringIO(text))["name"]
    assert pd.api.types.is_string_dtype(found.dtype)
    for name, shown in zip(names, found, strict=True):
        assert shown == f"'{name}" or (shown == name and name[0] not in "=+-@'")


@given(st.floats())
def test_any_number_comes_back_to_the_last_bit(value: float) -> None:
    text = csv_text(["name", "value"], [["a", value], ["b", 0.5]])
    (found, _) = pd.read_csv(io.StringIO(text), float_precision="round_trip")["value"]
    np.testing.assert_equal(found, value)


def test_the_schema_explains_every_column_in_its_place(runs: Runs) -> None:
    board = board_of(runs("a"), runs("b"))
    columns = json.loads(schema_text(board))["columns"]
    assert list(columns) == list(read(board).columns)
    for name, said in columns.items():
        assert said["title"], name
        assert said["description"], name
        assert said["dtype"] in {"str", "int64", "float64"}, name
    for name in METRIC_IDS:
        row = METRICS[name]
        for ending in ("", "_lo", "_hi"):
            said = columns[name + ending]
            told = [said[what] for what in ("metric", "version", "direction", "target", "unit")]
            assert told == [name, row.version, row.direction, row.target, row.unit]
            assert said["dtype"] == "float64"
            assert said["title"].startswith(row.title)
            assert said["label"].startswith(row.label)


def test_the_schema_names_the_headline_and_how_to_report_the_numbers(runs: Runs) -> None:
    board = board_of(runs())
    schema = json.loads(schema_text(board))
    assert schema["headline"] == [row.id for row in board.overview]
    assert schema["headline"][0] == "psnr"
    assert schema["how_to_report"] == board.how_to_report


def test_the_schema_says_what_was_done_on_what(runs: Runs) -> None:
    board = board_of(runs())
    schema = json.loads(schema_text(board))
    assert schema["task"] == {"id": "self", "version": 1, "min_frames": 101}
    assert schema["protocol"] == {
        "id": "tpbench-v2+custom",
        "version": 1,
        "digest": board.protocol["digest"],
        "frames_to_clip": "reduction",
        "clips_to_set": "mean_of_clips",
    }
    assert (schema["dataset"]["digest"], schema["dataset"]["split"]) == (DATASET_DIGEST, "test")


def test_pandas_reads_every_published_number_with_its_source() -> None:
    values = load_reported()
    text = reported_csv(values)
    table = pd.read_csv(io.StringIO(text), keep_default_na=False)
    assert table.to_dict("records") == [asdict(value) for value in values]
    dtypes = pd.read_csv(io.StringIO(text)).dtypes
    assert (dtypes["value"], dtypes["secondary"], dtypes["overflow_psnr"]) == (float, bool, bool)
    assert table["source_url"].str.startswith("https://").all()
