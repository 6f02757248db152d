"""Runs of which no common table can be made are refused, by name."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest

from tests.benchmark.leaderboard.conftest import Runs, board_of, of_part, of_report, of_score
from tpbench.errors import SubmissionError
from tpbench.metrics.scoring.report import ScoreReport


def one_metric_less(report: ScoreReport) -> ScoreReport:
    return replace(report, metrics={k: v for k, v in report.metrics.items() if k != "psnr"})


def of_first_version(report: ScoreReport) -> ScoreReport:
    """As `tpbench-v1` had it: PSNR left out identical frames."""
    protocol = {"id": "tpbench-v1+custom", "version": 1, "digest": "1" * 64}
    slope = of_score("drift_psnr_slope", version=1)(report)
    return of_report(protocol=protocol)(of_score("psnr", version=1, value=math.inf)(slope))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"info": of_part("task", id="cross")}, "task (self v1, 101 frames or more and cross"),
        ({"info": of_part("task", version=2)}, "task (self v1, 101 frames or more and self v2"),
        ({"info": of_part("task", min_frames=24)}, "101 frames or more and self v1, 24 frames"),
        ({"info": of_part("dataset", split="train")}, "split (test and train)"),
        ({"info": of_part("dataset", clips_digest="c" * 64)}, "and 6 clips cccccccccccc)"),
        (
            {
                "info": of_part("dataset", digest="e" * 64),
                "report": of_report(real={"digest": "e" * 64}),
            },
            "dataset (Small talks dddddddddddd and Small talks eeeeeeeeeeee)",
        ),
        (
            {"report": of_report(protocol={"digest": "a" * 64})},
            "and tpbench-v2+custom aaaaaaaaaaaa",
        ),
        ({"report": of_report(policies={"first_frame": 0})}, "policies (first_frame 1, length"),
        ({"report": of_score("psnr", version=7)}, "the version of psnr (2 and 7)"),
        ({"report": one_metric_less}, "their metrics (only one has psnr)"),
    ],
)
def test_what_differs_is_refused_and_both_runs_are_named(
    runs: Runs, changes: dict[str, Any], what: str
) -> None:
    first, second = runs("a"), runs("b", **changes)
    named = f"{first.resolve()} and {second.resolve()} can't be in one table"
    with pytest.raises(SubmissionError, match=rf"{re.escape(named)}.*{re.escape(what)}"):
        board_of(runs.out)


def test_runs_of_the_first_protocol_stand_in_a_table_of_their_own(runs: Runs) -> None:
    runs("a", report=of_first_version, info=of_part("task", protocol="tpbench-v1"))
    runs("b", report=of_first_version, info=of_part("task", protocol="tpbench-v1"))
    board = board_of(runs.out)
    assert (board.protocol["id"], board.protocol["version"]) == ("tpbench-v1+custom", 1)
    assert board.missing_anchors == {}  # nothing can be made by it any more
    metrics = {row.id: row for row in board.metrics}
    versions = [metrics[name].version for name in ("psnr", "drift_psnr_slope", "tje_d2")]
    assert versions == [1, 1, 1]
    assert metrics["psnr"].definition.endswith("that are not identical to the real ones.")


def test_runs_of_two_versions_of_a_protocol_do_not_mix_and_the_line_says_what_to_do(
    runs: Runs,
) -> None:
    runs("a", report=of_first_version, info=of_part("task", protocol="tpbench-v1"))
    runs("b")
    with pytest.raises(SubmissionError) as refusal:
        board_of(runs.out)
    line = str(refusal.value)
    assert "differ in protocol (tpbench-v1+custom 111111111111 and tpbench-v2+custom" in line
    assert line.endswith(
        ": score the older one again by protocol 'tpbench-v2', or keep the two kinds apart"
    )
    assert len(line.splitlines()) == 1
    assert "version of" not in line


def test_runs_of_another_protocol_are_refused_with_what_to_do(runs: Runs) -> None:
    runs("a")
    other = of_report(protocol={"id": "talkingpose", "version": 2, "digest": "a" * 64})
    runs("b", report=other, info=of_part("task", protocol="talkingpose"))
    with pytest.raises(SubmissionError, match=": name the runs that belong together, or keep each"):
        board_of(runs.out)


def test_metrics_that_we_do_not_have_in_this_version_are_refused(runs: Runs) -> None:
    def foreign(report: ScoreReport) -> ScoreReport:
        return of_report(metrics={"beauty": report.metrics["psnr"]})(report)

    with pytest.raises(SubmissionError, match=r"psnr was scored by version 7, .* has version 2"):
        board_of(runs(report=of_score("psnr", version=7)))
    with pytest.raises(SubmissionError, match=r"beauty was .* has no such metric"):
        board_of(runs(report=foreign))


def test_one_model_in_two_forms_or_with_two_results_of_one_seed_is_refused(runs: Runs) -> None:
    first = runs(seed=1, psnr=20)
    other = replace(runs, out=runs.out.with_name("other"))(seed=1, psnr=21)
    with pytest.raises(SubmissionError, match="are both 'mine' with seed 1, and their results"):
        board_of(first, other)
    runs(seed=2, info=of_part("model", configuration={"gain": 0.0}))
    with pytest.raises(SubmissionError, match="are both 'mine', but differ in gain: leave one out"):
        board_of(runs.out)


def test_a_run_that_is_left_out_need_not_agree(runs: Runs) -> None:
    runs("a")
    (runs("b", info=of_part("task", version=2)) / "scores.json").unlink()
    assert [row.id for row in board_of(runs.out).rows] == ["a"]
