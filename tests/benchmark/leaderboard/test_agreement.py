"""Runs of which no common table can be made are refused, by name."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest

from tests.benchmark.leaderboard.conftest import Runs, board_of
from tpbench.benchmark.run_info import RunInfo
from tpbench.errors import SubmissionError
from tpbench.metrics.scoring.report import ScoreReport


def of_part(part: str, **changes: Any) -> Any:  # noqa: ANN401 - a change of any field
    """A change of one part of `run.json`."""

    def change(info: RunInfo) -> RunInfo:
        changed = getattr(info, part).model_copy(update=changes)
        return info.model_copy(update={part: changed})

    return change


def of_report(**changes: Any) -> Any:  # noqa: ANN401 - a change of any field
    """A change of mappings in the scores."""

    def change(report: ScoreReport) -> ScoreReport:
        merged: dict[str, Any] = {
            name: {**getattr(report, name), **new} for name, new in changes.items()
        }
        return replace(report, **merged)

    return change


def another_version(report: ScoreReport) -> ScoreReport:
    psnr = replace(report.metrics["psnr"], version=7)
    return replace(report, metrics={**report.metrics, "psnr": psnr})


def one_metric_less(report: ScoreReport) -> ScoreReport:
    return replace(report, metrics={k: v for k, v in report.metrics.items() if k != "psnr"})


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
        ({"report": another_version}, "the version of psnr (2 and 7)"),
        ({"report": one_metric_less}, "their metrics (only one has psnr)"),
    ],
)
def test_what_differs_is_refused_and_both_runs_are_named(
    runs: Runs, changes: dict[str, Any], what: str
) -> None:
    first, second = runs("a"), runs("b", **changes)
    with pytest.raises(SubmissionError, match=re.escape(what)) as refusal:
        board_of(runs.out)
    assert f"{first.resolve()} and {second.resolve()} can't stand in one table" in str(
        refusal.value
    )


def test_metrics_of_another_version_than_ours_have_to_be_scored_again(runs: Runs) -> None:
    path = runs(report=another_version)
    with pytest.raises(SubmissionError, match=r"psnr was scored by version 7, .* has version 2"):
        board_of(path)


def of_first_version(report: ScoreReport) -> ScoreReport:
    """As `tpbench-v1` had it: PSNR left out identical frames."""
    found = replace(
        report,
        protocol={**report.protocol, "id": "tpbench-v1+custom", "version": 1, "digest": "1" * 64},
    )
    psnr = replace(report.metrics["psnr"], version=1, value=math.inf)
    slope = replace(report.metrics["drift_psnr_slope"], version=1)
    return replace(found, metrics={**report.metrics, "psnr": psnr, "drift_psnr_slope": slope})


def test_runs_of_the_first_protocol_stand_in_a_table_of_their_own(runs: Runs) -> None:
    runs("a", report=of_first_version, info=of_part("task", protocol="tpbench-v1"))
    runs("b", report=of_first_version, info=of_part("task", protocol="tpbench-v1"))
    board = board_of(runs.out)
    assert (board.protocol["id"], board.protocol["version"]) == ("tpbench-v1+custom", 1)
    assert board.missing_anchors == {}  # nothing can be made by it any more
    versions = {row.id: row.version for row in board.metrics}
    assert (versions["psnr"], versions["drift_psnr_slope"], versions["tje_d2"]) == (1, 1, 1)
    (psnr,) = (row for row in board.metrics if row.id == "psnr")
    assert psnr.definition.endswith("that are not identical to the real ones.")


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
        ": score the older one anew by protocol 'tpbench-v2', or keep the two kinds apart"
    )
    assert len(line.splitlines()) == 1
    assert "version of" not in line


def test_a_metric_that_we_do_not_have_is_refused(runs: Runs) -> None:
    def foreign(report: ScoreReport) -> ScoreReport:
        return replace(report, metrics={**report.metrics, "beauty": report.metrics["psnr"]})

    with pytest.raises(SubmissionError, match=r"beauty was .* has no such metric"):
        board_of(runs(report=foreign))


def test_one_model_in_two_forms_is_refused(runs: Runs) -> None:
    runs(seed=1)
    runs(seed=2, info=of_part("model", configuration={"gain": 0.0}))
    with pytest.raises(SubmissionError, match="are both 'mine', but differ in gain: leave one out"):
        board_of(runs.out)


def test_one_seed_with_two_results_is_refused(runs: Runs) -> None:
    first = runs(psnr=20)
    other = replace(runs, out=runs.out.with_name("other"))(psnr=21)
    with pytest.raises(SubmissionError, match="are both 'mine' with seed 42, and their results"):
        board_of(first, other)


def test_a_run_that_is_left_out_need_not_agree(runs: Runs) -> None:
    runs("a")
    (runs("b", info=of_part("task", version=2)) / "scores.json").unlink()
    assert [row.id for row in board_of(runs.out).rows] == ["a"]
