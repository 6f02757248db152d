from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.benchmark.page.conftest import CLIPS, METRIC_IDS, WHY_BLANK, scored
from tpbench.baselines.registry import load_reported
from tpbench.benchmark.leaderboard.board import Leaderboard
from tpbench.benchmark.leaderboard.collect import LeftOut
from tpbench.benchmark.page.build import page_data
from tpbench.benchmark.page.curves import make_curves
from tpbench.benchmark.page.media import ClipMedia
from tpbench.metrics.bootstrap import mean_over_identities
from tpbench.metrics.scoring.report import MetricScore

NOWHERE = {clip_id: ClipMedia(fps=None) for clip_id in CLIPS}


def data_of(board: Leaderboard) -> dict[str, Any]:
    return page_data(board, make_curves(board), NOWHERE)


def cell_data(board: Leaderboard, found: MetricScore) -> dict[str, Any]:
    first = board.rows[0]
    runs = first.runs * (2 if found.details else 1)
    row = replace(first, scores={**first.scores, "ssim": found}, runs=runs)
    cells: dict[str, Any] = data_of(replace(board, rows=(row,)))["models"][0]["cells"]["ssim"]
    return cells


def test_values_are_unrounded_and_are_json(board: Leaderboard) -> None:
    found = cell_data(board, scored("ssim", 1 / 3, low=0.1 + 0.2, high=0.9))
    assert json.loads(json.dumps(found, allow_nan=False))["value"] == 1 / 3
    assert found["low"] == 0.1 + 0.2
    assert found["n"] == len(CLIPS)


def test_infinity_has_a_name_and_a_blank_its_reason(board: Leaderboard) -> None:
    models = {model["id"]: model for model in data_of(board)["models"]}
    assert models["oracle"]["cells"]["psnr"]["value"] == "inf"
    assert "value" not in models["oracle"]["cells"]["lpips"]
    assert models["oracle"]["cells"]["lpips"]["notes"] == [WHY_BLANK]


def test_marks_are_those_of_the_leaderboard(board: Leaderboard) -> None:
    marks = {model["id"]: model["cells"]["psnr"].get("mark") for model in data_of(board)["models"]}
    assert marks == {"falling": "best", "my.own:Steady": "tied", "frozen": None, "oracle": None}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_infinite": 1}, "left out: 1 clip infinite"),
        ({"n_missing": 2}, "left out: 2 clips with nothing to measure"),
        ({"n_too_short": 3}, "left out: 3 clips too short for it"),
        ({"warning": "fewer frames than dimensions"}, "fewer frames than dimensions"),
        ({"details": {"spread": 0.25}}, "standard deviation over seeds: 0.25"),
    ],
)
def test_what_belongs_to_a_value_is_said_beside_it(
    board: Leaderboard, change: dict[str, Any], said: str
) -> None:
    assert (
        said in cell_data(board, replace(scored("ssim", 0.5, low=0.4, high=0.6), **change))["notes"]
    )


def test_a_value_of_fewer_clips_than_another_has_says_of_how_many(board: Leaderboard) -> None:
    first, *others = board.rows
    short = replace(first.scores["ssim"], value=0.5, n_clips=2, n_missing=len(CLIPS) - 2)
    rows = (replace(first, scores={**first.scores, "ssim": short}), *others)
    models = data_of(replace(board, rows=rows))["models"]
    found = [(model["cells"]["ssim"]["n"], model["cells"]["ssim"].get("of")) for model in models]
    assert found[0] == (2, len(CLIPS))
    assert {of for _, of in found[1:]} == {None}


def test_a_distance_stands_beside_its_value_and_ranks_stand_in_every_cell(
    board: Leaderboard,
) -> None:
    ratio = board.rows[0].scores["motion_ratio"]
    distance = mean_over_identities([0.1, 0.2, 0.3, 0.4, 0.5], list(CLIPS))
    row = replace(board.rows[0], distances={"motion_ratio": distance})
    cells = data_of(replace(board, rows=(row,)))["models"][0]["cells"]
    assert (cells["motion_ratio"]["distance"], cells["motion_ratio"]["distance_low"]) == (
        distance.mean,
        distance.interval.low,
    )
    assert cells["motion_ratio"]["rank"] == pytest.approx(abs(ratio.value - 1))
    assert cells["psnr"]["rank"] == -cells["psnr"]["value"]


def test_a_value_without_interval_says_why(board: Leaderboard) -> None:
    assert cell_data(board, scored("ssim", 0.5))["notes"] == ["no interval: one value of all clips"]


def test_a_blank_without_a_reason_is_still_called_not_measured(board: Leaderboard) -> None:
    found = replace(scored("ssim", math.nan), n_clips=0)
    assert cell_data(board, found)["notes"] == ["not measured"]


def test_metrics_keep_the_order_of_the_protocol_and_all_that_explains_them(
    board: Leaderboard,
) -> None:
    metrics = data_of(board)["metrics"]
    assert tuple(metric["id"] for metric in metrics) == METRIC_IDS
    for metric in metrics:
        assert all(metric[name] for name in ("definition", "formula", "source", "version"))


def test_a_clip_has_as_many_frames_as_its_video(board: Leaderboard) -> None:
    assert {clip["id"]: clip["n_frames"] for clip in data_of(board)["clips"]} == CLIPS


def test_no_folder_of_the_machine_is_on_the_page(board: Leaderboard) -> None:
    out = LeftOut(folder=Path("/home/someone/runs/a/b@1/self-p/seed1"), reason="is partial")
    data = data_of(replace(board, left_out=(out,)))
    assert data["notices"][-1]["text"] == "a/b@1/self-p/seed1: is partial"
    text = json.dumps(data)
    assert "/home/someone" not in text
    assert str(board.data) not in text
    assert str(board.rows[0].runs[0].folder.parent) not in text


def test_a_missing_anchor_is_said_with_the_command_that_makes_it(board: Leaderboard) -> None:
    notice = next(item for item in data_of(board)["notices"] if item["kind"] == "anchor")
    assert "gt-reencode" in notice["text"]
    assert notice["command"] == board.missing_anchors["gt-reencode"]


def test_clips_without_scores_are_listed_with_their_reason(board: Leaderboard) -> None:
    run = replace(board.rows[0].runs[0], failed={"emil": "nobody is in the picture"})
    row = replace(board.rows[0], runs=(run,), coverage=0.8)
    model = data_of(replace(board, rows=(row,)))["models"][0]
    assert model["coverage"] == 0.8
    assert model["failed"] == ["emil: nobody is in the picture"]


def test_every_published_number_is_in_a_table_with_its_source(board: Leaderboard) -> None:
    reported = load_reported()
    tables = data_of(replace(board, reported=reported))["reported"]
    values = [value for table in tables for row in table["rows"].values() for value in row.values()]
    assert sorted(values) == sorted(item.value for item in reported)
    assert all(table["title"] and table["url"] for table in tables)


def test_a_table_whose_psnr_is_in_doubt_says_so(board: Leaderboard) -> None:
    suspect = next(item for item in load_reported() if item.overflow_psnr)
    tables = data_of(replace(board, reported=(suspect,)))["reported"]
    assert [table["suspect"] for table in tables] == [True]
