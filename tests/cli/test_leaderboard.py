"""`tpbench leaderboard build` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import Result

from tests.benchmark.leaderboard.conftest import Runs
from tests.cli.conftest import invoke
from tpbench.errors import SubmissionError

TABLES = ("leaderboard.csv", "leaderboard.schema.json", "reported.csv", "leaderboard.md")


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    (tmp_path / "talks").mkdir()
    return Runs(out=tmp_path / "runs", data=tmp_path / "talks")


def build(out: Path, *arguments: str) -> Result:
    return invoke("leaderboard", "build", *arguments, "--out", out, "--no-page")


def test_it_says_what_it_wrote_and_where(runs: Runs, tmp_path: Path) -> None:
    runs("a")
    runs("b")
    runs.anchors()
    result = build(tmp_path / "out", str(runs.out))
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "2 models and 3 anchors on Small talks (test split): 6 clips, 6 metrics",
        *(str(tmp_path / "out" / name) for name in TABLES),
    ]


def test_what_is_left_out_and_what_lacks_is_said_with_exit_0(runs: Runs, tmp_path: Path) -> None:
    runs("a")
    unscored = runs("b")
    (unscored / "scores.json").unlink()
    result = build(tmp_path / "out", str(runs.out))
    lines = result.stderr.splitlines()
    assert result.exit_code == 0
    assert lines[0] == (
        f"left out: {unscored.resolve()}: not scored (scores.json is missing); "
        "run `tpbench eval` on it"
    )
    assert lines[1].startswith("warning: anchor 'frozen' is missing; run: tpbench eval ")
    assert len(lines) == 4


def test_a_run_that_was_tampered_with_is_named_with_exit_3_and_the_others_are_built(
    runs: Runs, tmp_path: Path
) -> None:
    runs("a", psnr=20)
    runs.anchors()
    bad = runs("b", psnr=20)
    scores = bad / "scores.json"
    scores.write_text(scores.read_text().replace("20.0", "99.0"))
    result = build(tmp_path / "out", str(runs.out))
    assert result.exit_code == 3
    assert result.stderr == (
        f"refused, left out: {bad.resolve()}: scores.json: was changed after it was written (its "
        "digest is not that of its content)\n"
    )
    assert ",99.0," not in (tmp_path / "out" / "leaderboard.csv").read_text()


def test_json_says_all_of_it(runs: Runs, tmp_path: Path) -> None:
    runs("a", seed=1, psnr=20)
    runs("a", seed=2, psnr=21)
    runs("b", psnr=10)
    result = build(tmp_path / "out", str(runs.out), "--json")
    content = json.loads(result.stdout)
    assert [row["model"] for row in content["rows"]] == ["a", "b"]
    assert content["rows"][0]["seeds"] == [1, 2]
    assert content["rows"][0]["spread_over_seeds"]["psnr"] == pytest.approx(0.5**0.5)
    assert content["best"]["psnr"] == ["a"]
    assert list(content["missing_anchors"]) == ["frozen", "gt-reencode", "oracle"]
    assert content["files"][0] == str(tmp_path / "out" / "leaderboard.csv")
    assert content["page"] is None


def test_runs_that_do_not_agree_are_refused_and_nothing_is_written(
    runs: Runs, tmp_path: Path
) -> None:
    runs("a")
    runs(
        "b",
        info=lambda info: info.model_copy(
            update={"task": info.task.model_copy(update={"version": 2})}
        ),
    )
    with pytest.raises(SubmissionError, match="they differ in task"):
        build(tmp_path / "out", str(runs.out))
    assert not (tmp_path / "out").exists()
