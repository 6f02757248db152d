"""`leaderboard.md`: what is bold, what is said, and what names can't do to it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import pytest

from tests.benchmark.leaderboard.conftest import Runs, board_of
from tpbench.benchmark.leaderboard.board import METHOD
from tpbench.benchmark.leaderboard.markdown import escaped, leaderboard_markdown, shown

GOOD = (20.0, 22.0, 24.0, 26.0, 28.0, 30.0)
TIED = (20.5, 21.2, 24.4, 25.7, 28.1, 29.9)


def overview(text: str) -> Mapping[str, dict[str, str]]:
    """The first table: model -> header -> cell."""
    lines = [line for line in text.split("\n## ")[1].splitlines() if line.startswith("|")]
    header, _rule, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines)
    return {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}


def test_the_best_and_its_ties_are_bold_and_anchors_italic(runs: Runs) -> None:
    runs("good", psnr=GOOD)
    runs("tied", psnr=TIED)
    runs("bad", psnr=[value - 2 for value in GOOD])
    runs("oracle", kind="anchor", display_name="Real clip", psnr=99)
    table = overview(leaderboard_markdown(board_of(runs.out)))
    assert {name: row["psnr ↑ dB"] for name, row in table.items()} == {
        "good": "**25**",
        "tied": "**24.97**",
        "bad": "23",
        "*Real clip*": "*99*",
    }


def test_without_marks_the_reason_stands_in_place_of_their_explanation(runs: Runs) -> None:
    runs("only", psnr=GOOD)
    runs("oracle", kind="anchor", display_name="Real clip", psnr=99)
    text = leaderboard_markdown(board_of(runs.out))
    reason = "fewer than two complete models have a value: nothing to compare"
    assert f"\nNo value is marked as best: {reason}.\n" in text
    assert "**Bold**" not in text
    assert escaped(METHOD) not in text


def test_directions_and_targets_stand_in_the_header(runs: Runs) -> None:
    (row,) = overview(leaderboard_markdown(board_of(runs()))).values()
    assert list(row) == [
        "clips", "coverage", "seeds", "verified", "psnr ↑ dB", "fid ↓", "tje_d2 ↓ levels",
        "motion_ratio →1", "drift_psnr_slope ↑ dB per 100 frames",
    ]  # fmt: skip


def test_how_to_report_the_numbers_stands_at_the_top(runs: Runs) -> None:
    board = board_of(runs())
    assert board.how_to_report.startswith("Scored with tpbench")
    (line,) = (
        line for line in leaderboard_markdown(board).splitlines() if line.startswith("How to ")
    )
    assert line == f"How to report: {escaped(board.how_to_report)}"


def test_intervals_and_spread_stand_beside_the_value(runs: Runs) -> None:
    runs(seed=1, psnr=GOOD)
    runs(seed=2, psnr=[value + 2 for value in GOOD])
    board = board_of(runs.out)
    cell = board.rows[0].scores["psnr"]
    ends = f"{shown(cell.low or 0)} … {shown(cell.high or 0)}"
    assert f"| mine | 26 ± 1.414 ({ends}) |" in leaderboard_markdown(board)


def test_a_model_that_lacks_clips_is_marked(runs: Runs) -> None:
    board = board_of(runs(failed={"clip0": "broke"}))
    (row,) = overview(leaderboard_markdown(board)).values()
    assert row["coverage"] == "0.833 (incomplete)"
    assert "- mine: coverage 0.833: values are those of the 5 clips" in leaderboard_markdown(board)


def test_what_lacks_is_said_with_its_reason_and_no_folder_of_the_machine(runs: Runs) -> None:
    runs("half", blank={"psnr": "no net"})
    runs("whole", blank={"fid": "no weights", "psnr": "no weights"})
    (runs("unscored") / "scores.json").unlink()
    text = leaderboard_markdown(board_of(runs.out))
    assert str(runs.out.parent) not in text
    assert "/home/me" not in text
    assert "- whole, blank: psnr, fid: no weights.\n" in text
    assert "- half, blank: psnr: no net.\n" in text
    assert "- Left out: unscored/Small-talks.test\\@dddddddd/self-tpbench-v2/seed42: not " in text
    for anchor in ("frozen", "gt-reencode", "oracle"):
        command = f"`tpbench eval --model {anchor} --data DATASET --split test --task self "
        assert f"- Anchor `{anchor}` is missing; generate it: {command}" in text


def test_what_lacks_in_all_rows_is_said_once(runs: Runs) -> None:
    for name in ("a", "b", "c"):
        runs(name, blank={"fid": "no weights"})
    lines = leaderboard_markdown(board_of(runs.out)).splitlines()
    assert [line for line in lines if "no weights" in line and line.startswith("-")] == [
        "- all rows, blank: fid: no weights."
    ]


def test_published_numbers_stand_in_tables_of_their_own(runs: Runs) -> None:
    text = leaderboard_markdown(board_of(runs()))
    measured, published = text.split("## Published by others")
    assert "TalkingPose" not in measured
    assert "https://github.com/dfki-av/TalkingPose" in published


@pytest.mark.parametrize(
    "name",
    [
        "a | b | c",
        "*bold* _slanted_ ~~gone~~",
        "<img src=x onerror=alert(1)>",
        "[click](javascript:alert(1))",
        "see https://example.org or www.example.org",
        "`code`",
        "two\nlines\n| --- |",
        "$x$ \\ & &lt;",
    ],
)
def test_names_bring_no_markup_into_it(runs: Runs, name: str) -> None:
    plain = leaderboard_markdown(board_of(runs("x", display_name="x")))
    text = leaderboard_markdown(board_of(runs("x", display_name=name)))
    unescaped = re.sub(r"\\.", "", text)
    assert unescaped.count("|") == plain.replace("\\|", "").count("|")
    assert unescaped.count("\n") == plain.count("\n")
    for markup in ("[", "](", "~", "$", "<img", "<b>", "www.e", "https://example.org"):
        assert markup not in unescaped
    assert unescaped.count("*") == re.sub(r"\\.", "", plain).count("*")
    assert unescaped.count("`") == re.sub(r"\\.", "", plain).count("`")


def test_text_is_shown_as_it_was_written() -> None:
    assert escaped("tje_d2 (v1) _x_") == r"tje_d2 (v1) \_x\_"
    assert escaped("A & B < C") == "A &amp; B &lt; C"


def test_clips_that_a_value_lacks_and_the_distance_to_a_target_stand_beside_it(runs: Runs) -> None:
    runs("lacking", tje_d2=[1.0, 1.1, 0.9, math.nan, math.nan, math.nan])
    runs("wild", motion_ratio=[0.2, 1.8, 0.2, 1.8, 0.2, 1.7])
    board = board_of(runs.out)
    text = leaderboard_markdown(board)
    (lacking,) = [line for line in text.splitlines() if line.startswith("| lacking | 6")]
    assert " 1 n=3/6 |" in lacking
    (wild,) = [line for line in text.splitlines() if line.startswith("| wild | 6")]
    assert " 0.9833 off 0.7833 |" in wild
    assert escaped(METHOD) in text
    assert "tje_d2: lacking is not judged: a value for only 3 of 6 clips" in text
