from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

from tests.benchmark.conftest import write_dataset
from tpbench.benchmark.evaluate import evaluate
from tpbench.benchmark.leaderboard.scores import load_report
from tpbench.cli import compare
from tpbench.metrics.scoring.report import write_scores

if TYPE_CHECKING:
    from pathlib import Path

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(compare.compare)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Five people, each once; the oracle and somebody who stands still."""
    folder = tmp_path_factory.mktemp("cli")
    write_dataset(folder / "data", dict.fromkeys("abcde", 101))
    oracle, frozen = (
        evaluate(
            model, folder / "data", out=folder / "runs", metrics=["l1", "motion_ratio"], workers=1
        )
        for model in ("oracle", "frozen")
    )
    return oracle.runs[0].folder.path, frozen.runs[0].folder.path


def test_differences_and_the_worst_clips_are_printed(runs: tuple[Path, Path]) -> None:
    result = CliRunner().invoke(app, [str(path) for path in runs], catch_exceptions=False)

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0] == f"A: oracle, seed 42: {runs[0]}"
    assert lines[1] == f"B: frozen, seed 42: {runs[1]}"
    (l1,) = (line.split() for line in lines if line.startswith(" l1"))
    assert (l1[:3], l1[-3:]) == (["l1", "↓", "0"], ["levels", "5", "A"])
    (ratio,) = (line.split() for line in lines if line.startswith(" motion_ratio"))
    assert (ratio[2:5], ratio[-2:]) == (["1", "0", "1"], ["5", "A"])
    assert "loses most" not in result.stdout
    other = CliRunner().invoke(app, [str(runs[1]), str(runs[0])], catch_exceptions=False)
    assert "motion_ratio: A loses most on a (0 against 1), b (0 against 1), c" in other.stdout


def test_clips_of_one_run_only_are_counted_in_its_own_column_and_that_is_said(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(runs[1], tmp_path / "b")
    report = load_report(tmp_path / "b")[0]
    fewer = {name: clip for name, clip in report.clips.items() if name != "c"}
    write_scores(tmp_path / "b" / "scores.json", replace(report, clips=fewer))

    said = CliRunner().invoke(app, [str(runs[0]), str(tmp_path / "b")], catch_exceptions=False)

    line = "1 clips have scores in one run only: they are in A or in B, and not in A - B"
    assert line in said.stdout.splitlines()


def test_json_holds_all_of_it(runs: tuple[Path, Path]) -> None:
    result = CliRunner().invoke(app, [*map(str, runs), "--json"], catch_exceptions=False)

    found = json.loads(result.stdout)
    assert (found["a"]["model"], found["b"]["model"], found["n_common"]) == ("oracle", "frozen", 5)
    assert found["metrics"]["l1"]["better"] == "a"
    assert found["worst"] == {"motion_ratio": []}
