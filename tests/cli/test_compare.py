from __future__ import annotations

import csv
import io
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmark.conftest import write_dataset
from tests.benchmark.papers import parsed_rows
from tests.cli.conftest import invoke
from tpbench.baselines.registry import MODELS
from tpbench.benchmark.compare import compare_runs
from tpbench.benchmark.evaluate import Evaluation, evaluate
from tpbench.benchmark.run_folder import Run
from tpbench.benchmark.run_info import read_run_info, write_run_info
from tpbench.metrics.registry import METRICS
from tpbench.metrics.scoring.reduce import not_measured
from tpbench.metrics.scoring.report import load_report, write_scores

pytestmark = pytest.mark.usefixtures("in_this_process")

ORACLE, FROZEN = (MODELS[name].display_name for name in ("oracle", "frozen"))


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
    assert lines[0] == f"A: {ORACLE}, seed 42: {runs[0]}"
    assert lines[1] == f"B: {FROZEN}, seed 42: {runs[1]}"
    (l1,) = (line.split() for line in lines if line.startswith("l1"))
    assert (l1[:3], l1[-2:]) == (["l1", "↓", "0.00"], ["levels", "A"])
    (ratio,) = (line.split() for line in lines if line.startswith("motion_ratio  "))
    assert ratio == ["motion_ratio", "→", "1", "1.000", "0.000"]
    (distance,) = (line.split() for line in lines if line.startswith("  distance to 1"))
    assert distance == ["distance", "to", "1", "↓", "0.000", "1.000", "-1.00", "A"]
    assert "A, B and A - B are over the same clips: 6" in lines
    assert any(line.startswith("better: one joint test of 2 comparisons") for line in lines)
    assert "loses most" not in result.stdout
    other = invoke("compare", *runs[::-1])
    assert "motion_ratio: A loses most on a (0 against 1), b (0 against 1), c" in other.stdout
    assert "How to report: Scored with tpbench" in other.stdout


def named(runs: tuple[Path, Path], folder: Path, *names: str) -> tuple[Path, Path]:
    """Return copies of runs with other names."""
    copies = folder / "one", folder / "two"
    for run, copy, name in zip(runs, copies, names, strict=True):
        shutil.copytree(run, copy)
        info = read_run_info(copy)
        model = info.model.model_copy(update={"display_name": name})
        write_run_info(copy, info.model_copy(update={"model": model}))
    return copies


def test_short_names_of_runs_are_heads_and_say_which_is_better(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    said = invoke("compare", *named(runs, tmp_path, "Mine", "Theirs")).stdout
    (head,) = (line.split() for line in said.splitlines() if line.startswith("metric"))
    assert head == ["metric", "Mine", "Theirs", "A", "-", "B", "95", "%", "interval", *head[-2:]]
    (l1,) = (line.split() for line in said.splitlines() if line.startswith("l1"))
    assert l1[-1] == "Mine"


def test_blank_metrics_are_named_in_one_line_and_further_ones_are_counted(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    copies = named(runs, tmp_path, "Mine", "Theirs")
    for folder in copies:
        report = load_report(folder)[0]
        lists = {"metrics": ["l1", "motion_ratio", "fid"], "headline": ["motion_ratio", "fid"]}
        protocol = {**report.protocol, "id": "tpbench-v2", **lists}
        lacking = not_measured(
            METRICS["fid"],
            "weights 'fid-inception' are missing: run: tpbench weights pull fid-inception",
        )
        report = replace(report, protocol=protocol, metrics={**report.metrics, "fid": lacking})
        write_scores(folder / "scores.json", report)
    said = invoke("compare", *copies).stdout
    assert not any(line.startswith(("fid", "l1")) for line in said.splitlines())
    assert "not compared: fid: model files are missing, run: tpbench weights pull fid-" in said
    assert "1 more metric: --all" in said.splitlines()
    assert any(
        line.startswith("l1") for line in invoke("compare", *copies, "--all").stdout.splitlines()
    )


def test_of_another_form_stdout_has_the_table_alone(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    copies = named(runs, tmp_path, "Mine & co", "Theirs_2")
    latex = invoke("compare", *copies, "--format", "latex")
    rows = parsed_rows(latex.stdout.rstrip("\n"))
    assert rows[0] == ["Metric", r"Mine \& co", r"Theirs\_2", "Difference", r"95 \% interval", "n"]
    assert [row[0] for row in rows[1:]] == [
        r"Motion ratio $\rightarrow$ 1",
        r"distance to 1 $\downarrow$",
        r"L1 $\downarrow$ (levels)",
    ]
    assert rows[2][1:4] == [r"\textbf{0.000}", "1.000", "$-$1.00"]
    assert "A, B and A - B are over the same clips" in latex.stderr
    markdown = invoke("compare", *copies, "--format", "md").stdout
    assert markdown.startswith("| Metric | Mine &amp; co | Theirs_2 | Difference |")
    assert "**Bold**: better by one joint test of 2 comparisons" in markdown
    text = invoke("compare", *copies, "--format", "csv").stdout
    ratio, l1 = csv.DictReader(io.StringIO(text))
    assert (ratio["metric"], ratio["quantity"], ratio["better_run"]) == (
        "motion_ratio", "distance to 1", "Mine & co",
    )  # fmt: skip
    found = compare_runs(*copies).metrics["l1"]
    assert float(l1["difference"]) == found.difference


def test_results_print_in_a_few_lines_and_as_a_table_in_notebooks(
    runs: tuple[Path, Path],
) -> None:
    found = compare_runs(*runs)
    lines = str(found).splitlines()
    assert lines[0] == f"Comparison: A = {ORACLE}, B = {FROZEN}, 6 common clips"
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
    assert (
        "neither run is called better: 5 identities: at least 6 are needed to rule out luck"
        in lines
    )


def test_clips_in_which_one_run_has_no_value_are_counted(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(runs[1], tmp_path / "b")
    report = load_report(tmp_path / "b")[0]
    nothing = {"l1": math.nan, "motion_ratio": math.nan}
    blank = replace(report.clips["c"], values={**report.clips["c"].values, **nothing})
    write_scores(
        tmp_path / "b" / "scores.json", replace(report, clips={**report.clips, "c": blank})
    )
    said = invoke("compare", runs[0], tmp_path / "b")
    line = "motion_ratio, l1: 0 clips without a value in A, 1 in B; left out of A, B and "
    assert f"{line}A - B" in said.stdout.splitlines()


def test_json_holds_all_of_it(runs: tuple[Path, Path]) -> None:
    result = invoke("compare", *runs, "--json")
    found = json.loads(result.stdout)
    assert (found["a"]["model"], found["b"]["model"], found["n_common"]) == ("oracle", "frozen", 6)
    assert found["metrics"]["l1"]["better"] == "a"
    assert (found["n_judged"], found["unjudged"]) == (2, None)
    assert found["worst"] == {"motion_ratio": []}
