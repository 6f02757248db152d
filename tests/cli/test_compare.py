from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmark.conftest import write_dataset
from tests.cli.conftest import invoke
from tpbench.benchmark.compare import compare_runs
from tpbench.benchmark.evaluate import Evaluation, evaluate
from tpbench.benchmark.run_folder import Run
from tpbench.metrics.scoring.report import load_report, write_scores


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Six people, each once; the oracle and somebody who stands still."""
    folder = tmp_path_factory.mktemp("cli")
    write_dataset(folder / "data", dict.fromkeys("abcdef", 101))
    oracle, frozen = (
        evaluate(
            model, folder / "data", out=folder / "runs", metrics=["l1", "motion_ratio"], workers=1
        )
        for model in ("oracle", "frozen")
    )
    return oracle.runs[0].folder.path, frozen.runs[0].folder.path


def test_differences_and_the_worst_clips_are_printed(runs: tuple[Path, Path]) -> None:
    result = invoke("compare", *runs)

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0] == f"A: oracle, seed 42: {runs[0]}"
    assert lines[1] == f"B: frozen, seed 42: {runs[1]}"
    (l1,) = (line.split() for line in lines if line.startswith(" l1"))
    assert (l1[:3], l1[-3:]) == (["l1", "↓", "0"], ["levels", "6", "A"])
    (ratio,) = (line.split() for line in lines if line.startswith(" motion_ratio"))
    assert ratio == ["motion_ratio", "◎", "1", "0", "6"]
    (distance,) = (line.split() for line in lines if line.startswith("   distance to 1"))
    assert distance == ["distance", "to", "1", "↓", "0", "1", "-1", "6", "A"]
    assert lines[-1].startswith("better: one joint test of 2 comparisons")
    assert "loses most" not in result.stdout
    other = invoke("compare", *runs[::-1])
    assert "motion_ratio: A loses most on a (0 against 1), b (0 against 1), c" in other.stdout


def test_results_print_in_a_few_lines_and_as_a_table_in_notebooks(
    runs: tuple[Path, Path],
) -> None:
    found = compare_runs(*runs)
    lines = str(found).splitlines()
    assert lines[0] == "Comparison: A = oracle, B = frozen, 6 common clips"
    assert [line.split()[0] for line in lines[2:-1]] == ["motion_ratio,"]
    assert lines[-1] == "1 of 2 metrics; all metrics: .table()"
    assert found._repr_html_().count("<tr>") == 2

    report = load_report(runs[1])[0]
    lines = repr(report).splitlines()
    assert lines[0].startswith("ScoreReport: tpbench-v2")
    assert lines[0].endswith(", 6 of 6 clips scored")
    assert lines[-1] == "1 of 2 metrics; all metrics: .to_frame()"
    assert "<td>motion_ratio</td><td>0</td>" in report._repr_html_()

    evaluation = Evaluation(runs=(Run.open(runs[1]),), reports=(report,))
    title = "Evaluation: frozen on Small talks (all), task self, seed 42, coverage 1.000"
    assert str(evaluation).splitlines()[0] == title
    assert title in evaluation._repr_html_()


def test_clips_of_one_run_only_are_counted_in_its_own_column_and_that_is_said(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(runs[1], tmp_path / "b")
    report = load_report(tmp_path / "b")[0]
    fewer = {name: clip for name, clip in report.clips.items() if name != "c"}
    write_scores(tmp_path / "b" / "scores.json", replace(report, clips=fewer))
    said = invoke("compare", runs[0], tmp_path / "b")
    lines = said.stdout.splitlines()
    assert "1 clip with scores in only one run: left out" in lines
    assert lines[-1] == (
        "neither run is called better: 5 identities: at least 6 are needed to rule out luck"
    )


def test_clips_in_which_one_run_has_no_value_are_counted(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(runs[1], tmp_path / "b")
    report = load_report(tmp_path / "b")[0]
    blank = replace(report.clips["c"], values={**report.clips["c"].values, "l1": math.nan})
    write_scores(
        tmp_path / "b" / "scores.json", replace(report, clips={**report.clips, "c": blank})
    )
    said = invoke("compare", runs[0], tmp_path / "b")
    line = "l1: 0 clips without a value in A, 1 in B; left out of A, B and "
    assert f"{line}A - B" in said.stdout.splitlines()


def test_json_holds_all_of_it(runs: tuple[Path, Path]) -> None:
    result = invoke("compare", *runs, "--json")
    found = json.loads(result.stdout)
    assert (found["a"]["model"], found["b"]["model"], found["n_common"]) == ("oracle", "frozen", 6)
    assert found["metrics"]["l1"]["better"] == "a"
    assert (found["n_judged"], found["unjudged"]) == (2, None)
    assert found["worst"] == {"motion_ratio": []}
