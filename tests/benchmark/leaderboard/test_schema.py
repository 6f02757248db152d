"""`leaderboard.schema.json` says of every column what it is."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest

from tests.benchmark.leaderboard.conftest import DATASET_DIGEST, METRIC_IDS, Runs, board_of
from tpbench.benchmark.leaderboard.board import Leaderboard
from tpbench.benchmark.leaderboard.tables import leaderboard_csv, schema_text
from tpbench.metrics.registry import METRICS


@pytest.fixture
def board(runs: Runs) -> Leaderboard:
    return board_of(runs("a"), runs("b"))


def test_schema_and_csv_have_the_same_columns_in_the_same_order(board: Leaderboard) -> None:
    schema = json.loads(schema_text(board))
    table = pd.read_csv(io.StringIO(leaderboard_csv(board)))
    assert list(schema["columns"]) == list(table.columns)


def test_a_metric_is_described_as_the_registry_has_it(board: Leaderboard) -> None:
    columns = json.loads(schema_text(board))["columns"]
    for name in METRIC_IDS:
        row = METRICS[name]
        for ending in ("", "_lo", "_hi"):
            said = columns[name + ending]
            assert said["metric"] == name
            assert said["version"] == row.version
            assert said["direction"] == row.direction
            assert said["target"] == row.target
            assert said["unit"] == row.unit
            assert said["dtype"] == "float64"
            assert said["title"].startswith(row.title)


def test_every_column_is_explained(board: Leaderboard) -> None:
    for name, said in json.loads(schema_text(board))["columns"].items():
        assert said["title"], name
        assert said["description"], name
        assert said["dtype"] in {"str", "int64", "float64"}, name


def test_it_says_what_was_done_on_what(board: Leaderboard) -> None:
    schema = json.loads(schema_text(board))
    assert schema["task"] == {"id": "self", "version": 1, "min_frames": 101}
    assert schema["protocol"] == {
        "id": "tpbench-v2+custom",
        "version": 1,
        "digest": board.protocol["digest"],
        "frames_to_clip": "reduction",
        "clips_to_set": "mean_of_clips",
    }
    assert schema["dataset"]["digest"] == DATASET_DIGEST
    assert schema["dataset"]["split"] == "test"
