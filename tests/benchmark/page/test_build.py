"""The page as text: what it is told, and that nothing in it can be anything but text."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from tests.benchmark.page.conftest import CLIPS, HOSTILE, METRIC_IDS, WHY_BLANK, scored
from tpbench.baselines.registry import load_reported
from tpbench.benchmark.leaderboard.board import Leaderboard
from tpbench.benchmark.leaderboard.collect import LeftOut
from tpbench.benchmark.page.build import SCRIPTS, as_script_data, build_page, page_data
from tpbench.benchmark.page.curves import make_curves
from tpbench.benchmark.page.media import ClipMedia
from tpbench.benchmark.site import Site
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


class Elements(HTMLParser):
    """Collects start tags and the text of style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in {"style", "script"} and data.strip():
            self.raw.append((self.tags[-1][0], data))


def parsed(board: Leaderboard, out: Path) -> Elements:
    return Elements(build_page(board, Site.open(out)).read_text(encoding="utf-8"))


def test_equal_leaderboards_give_equal_pages(board: Leaderboard, tmp_path: Path) -> None:
    first, second = (build_page(board, Site.open(tmp_path / name)) for name in "ab")
    assert first == tmp_path / "a" / "index.html"
    assert first.read_bytes() == second.read_bytes()


def test_names_that_are_markup_open_no_element(board: Leaderboard, tmp_path: Path) -> None:
    hostile = replace(
        board,
        dataset=board.dataset.model_copy(update={"name": HOSTILE}),
        notes=(HOSTILE, "<!--", "\u2028"),
        clips=tuple(replace(clip, identity=HOSTILE) for clip in board.clips),
    )
    page = parsed(hostile, tmp_path)
    tags = [tag for tag, _ in page.tags]
    assert "img" not in tags
    assert tags.count("script") == 2
    data = json.loads(next(text for tag, text in page.raw if tag == "script"))
    assert data["dataset"]["name"] == data["clips"][0]["identity"] == HOSTILE


def test_the_page_s_own_style_and_script_are_allowed_and_nothing_from_elsewhere(
    board: Leaderboard, tmp_path: Path
) -> None:
    page = parsed(replace(board, reported=()), tmp_path)
    (policy,) = (tag["content"] for _, tag in page.tags if "http-equiv" in tag)
    rules = dict(rule.split(" ", 1) for rule in (policy or "").split("; "))
    style = next(text for tag, text in page.raw if tag == "style")
    script = [text for tag, text in page.raw if tag == "script"][-1]

    def named(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules["default-src"] == "'none'"
    assert (rules["style-src"], rules["script-src"]) == (named(style), named(script))
    assert not re.search(r"https?:|\*", policy or "")
    assert not re.search(r"url\(|@import", style)
    for _, attributes in page.tags:
        for name in ("src", "href"):
            assert not (attributes.get(name) or "").startswith(("http", "//"))


def test_script_data_survives_what_would_end_it_early() -> None:
    data: dict[str, Any] = {"a": "</script><!--<script>&\u2028", "b": [1.5, None, "inf"]}
    text = as_script_data(data)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == data


def test_every_script_file_is_in_the_page_and_none_parses_markup() -> None:
    folder = resources.files("tpbench.benchmark.page") / "script"
    scripts = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir()}
    assert set(scripts) == {f"{name}.js" for name in SCRIPTS}
    for text in scripts.values():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_values_are_unrounded_and_are_json(board: Leaderboard) -> None:
    found = cell_data(board, scored("ssim", 1 / 3, low=0.1 + 0.2, high=0.9))
    assert json.loads(json.dumps(found, allow_nan=False))["value"] == 1 / 3
    assert (found["low"], found["n"]) == (0.1 + 0.2, len(CLIPS))


def test_infinity_has_a_name_a_blank_its_reason_and_the_best_their_marks(
    board: Leaderboard,
) -> None:
    cells = {model["id"]: model["cells"] for model in data_of(board)["models"]}
    assert cells["oracle"]["psnr"]["value"] == "inf"
    assert "value" not in cells["oracle"]["lpips"]
    assert cells["oracle"]["lpips"]["notes"] == [WHY_BLANK]
    marks = {name: found["psnr"].get("mark") for name, found in cells.items()}
    assert marks == {"falling": "best", "my.own:Steady": "tied", "frozen": None, "oracle": None}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_infinite": 1}, "1 clip infinite"),
        ({"n_missing": 2}, "2 clips with nothing to measure"),
        ({"n_missing": 2, "missing_reason": "no hand"}, "2 clips without a value (no hand)"),
        ({"n_too_short": 3}, "3 clips too short for it"),
        ({"warning": "fewer frames than dimensions"}, "fewer frames than dimensions"),
        ({"details": {"spread": 0.25}}, "standard deviation over seeds: 0.25"),
        ({"low": None, "interval_reason": "one value"}, "no interval: one value"),
        ({"value": math.nan, "n_clips": 0}, "not measured"),
    ],
)
def test_what_belongs_to_a_value_is_said_beside_it(
    board: Leaderboard, change: dict[str, Any], said: str
) -> None:
    found = replace(scored("ssim", 0.5, low=0.4, high=0.6), **change)
    assert said in [note.removeprefix("left out: ") for note in cell_data(board, found)["notes"]]


def test_a_value_of_fewer_clips_than_another_has_says_of_how_many(board: Leaderboard) -> None:
    first, *others = board.rows
    short = replace(first.scores["ssim"], value=0.5, n_clips=2, n_missing=len(CLIPS) - 2)
    rows = (replace(first, scores={**first.scores, "ssim": short}), *others)
    cells = [model["cells"]["ssim"] for model in data_of(replace(board, rows=rows))["models"]]
    assert (cells[0]["n"], cells[0]["of"]) == (2, len(CLIPS))
    assert not any("of" in cell for cell in cells[1:])


def test_a_distance_stands_beside_its_value_and_ranks_stand_in_every_cell(
    board: Leaderboard,
) -> None:
    distance = mean_over_identities([0.1, 0.2, 0.3, 0.4, 0.5], list(CLIPS))
    row = replace(board.rows[0], distances={"motion_ratio": distance})
    cells = data_of(replace(board, rows=(row,)))["models"][0]["cells"]
    ratio = cells["motion_ratio"]
    assert (ratio["distance"], ratio["distance_low"]) == (distance.mean, distance.interval.low)
    assert ratio["rank"] == pytest.approx(abs(ratio["value"] - 1))
    assert cells["psnr"]["rank"] == -cells["psnr"]["value"]


def test_metrics_keep_the_order_of_the_protocol_and_all_that_explains_them(
    board: Leaderboard,
) -> None:
    metrics = data_of(board)["metrics"]
    assert tuple(metric["id"] for metric in metrics) == METRIC_IDS
    for metric in metrics:
        assert all(metric[name] for name in ("definition", "formula", "source", "version"))


def test_a_clip_has_as_many_frames_as_its_video(board: Leaderboard) -> None:
    assert {clip["id"]: clip["n_frames"] for clip in data_of(board)["clips"]} == CLIPS


def test_a_clip_has_the_values_of_all_models_and_no_metric_without_any(board: Leaderboard) -> None:
    values = data_of(board)["clips"][1]["values"]
    assert values == {"psnr": [33.0, 31.0, 16.0, "inf"], "tje_d2": [3.0, 4.0, 2.5, 0.0]}


def test_no_folder_of_the_machine_is_on_the_page(board: Leaderboard) -> None:
    out = LeftOut(folder=Path("/home/someone/runs/a/b@1/self-p/seed1"), reason="is partial")
    data = data_of(replace(board, left_out=(out,)))
    assert data["notices"][-1]["text"] == "a/b@1/self-p/seed1: is partial"
    text = json.dumps(data)
    for folder in ("/home/someone", board.data, board.rows[0].runs[0].folder.parent):
        assert str(folder) not in text


def test_a_missing_anchor_is_said_with_the_command_that_makes_it(board: Leaderboard) -> None:
    notice = next(item for item in data_of(board)["notices"] if item["kind"] == "anchor")
    assert "gt-reencode" in notice["text"]
    assert notice["command"] == board.missing_anchors["gt-reencode"]


def test_clips_without_scores_are_listed_with_their_reason(board: Leaderboard) -> None:
    run = replace(board.rows[0].runs[0], failed={"emil": "nobody is in the picture"})
    row = replace(board.rows[0], runs=(run,), coverage=0.8)
    model = data_of(replace(board, rows=(row,)))["models"][0]
    assert (model["coverage"], model["failed"]) == (0.8, ["emil: nobody is in the picture"])


def test_every_published_number_is_in_a_table_with_its_source(board: Leaderboard) -> None:
    reported = load_reported()
    tables = data_of(replace(board, reported=reported))["reported"]
    values = [value for table in tables for row in table["rows"].values() for value in row.values()]
    assert sorted(values) == sorted(item.value for item in reported)
    assert all(table["title"] and table["url"] for table in tables)
    suspect = next(item for item in reported if item.overflow_psnr)
    tables = data_of(replace(board, reported=(suspect,)))["reported"]
    assert [table["suspect"] for table in tables] == [True]
