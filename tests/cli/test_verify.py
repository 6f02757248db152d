from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import Result

from tests.benchmark.conftest import write_dataset
from tests.benchmark.evaluating import flip
from tests.cli.conftest import invoke
from tpbench.benchmark.evaluate import evaluate
from tpbench.benchmark.run_folder import RunFolder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    write_dataset(folder / "data", {"a": 101})
    made = evaluate("frozen", folder / "data", out=folder / "runs", metrics=["l1"], workers=1)
    return made.runs[0].folder.path


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setenv("TPBENCH_STATE", str(tmp_path / "state"))
    shutil.copytree(finished, tmp_path / "run")
    return RunFolder(path=tmp_path / "run")


def run(folder: RunFolder, *arguments: str) -> Result:
    return invoke("verify", folder.path, "--workers", "1", *arguments)


def test_a_whole_run_is_verified(folder: RunFolder) -> None:
    result = run(folder)
    assert result.exit_code == 0
    assert result.stdout.startswith("verified (rerun): 3 files intact, ")
    assert result.stderr == ""


def test_without_computing_it_says_so(folder: RunFolder) -> None:
    result = run(folder, "--no-recompute")
    assert result.stdout == (
        "note: the scores were not computed again\nverified (digest): 3 files intact\n"
    )


def test_every_problem_is_a_line_with_exit_3(folder: RunFolder) -> None:
    flip(folder.generated("a"))
    flip(folder.preview("a"))
    result = run(folder, "--no-recompute")
    assert result.exit_code == 3
    first, second, last = result.stderr.splitlines()
    assert first.startswith(f"{folder.preview('a')}: not the file that its record names")
    assert second.startswith(f"{folder.generated('a')}: not the file that its record names")
    assert last == f"{folder.path}: not verified, 2 problems"
    assert "verified" not in result.stdout


def test_json_holds_all_of_it(folder: RunFolder) -> None:
    found = json.loads(run(folder, "--json").stdout)
    assert (found["level"], found["problems"], found["files"]) == ("rerun", [], 3)
