"""`tpbench generate` as a user meets it: what is printed, and with which exit code it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import Result

from tests.benchmark.generators import MODULE
from tests.cli.conftest import invoke
from tpbench.errors import ConfigError

pytestmark = pytest.mark.usefixtures("in_this_process")

MODEL = f"{MODULE}:Numbered"


def run(data: Path, out: Path, *arguments: str, model: str = MODEL) -> Result:
    return invoke("generate", "--model", model, "--data", data, "--out", out, *arguments)


def test_a_run_says_what_it_made_and_where(data: Path, tmp_path: Path) -> None:
    result = run(data, tmp_path)
    (path,) = tmp_path.glob("*/*/*/seed42")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0] == (
        f"{MODEL} on Small talks (all clips): 2 of 2 clips done, 203 frames; "
        "now: 2 generated, 0 failed, 0 already there"
    )
    assert lines[-1] == f"run: {path}"
    assert "0 generated, 0 failed, 2 already there" in run(data, tmp_path).stdout


def test_failed_clips_are_named_with_exit_3(data: Path, tmp_path: Path) -> None:
    result = run(data, tmp_path, "--option", "fault=failure", model=f"{MODULE}:Faulty")
    assert result.exit_code == 3
    assert result.stderr == "failed: b: nobody is in the picture\n"
    assert "1 of 2 clips done" in result.stdout


def test_a_partial_run_says_so(data: Path, tmp_path: Path) -> None:
    assert "partial run: 1 clip not tried yet\n" in run(data, tmp_path, "--limit", "1").stdout


def test_every_option_reaches_the_run(data: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("b\n")

    result = run(
        data, tmp_path / "runs", "--ids", str(tmp_path / "ids.txt"), "--split", "all",
        "--seed", "7", "--option", "shade=5", "--keep", "preview", "--min-frames", "90",
        "--device", "cpu", "--workers", "1", "--overwrite", "never",
    )  # fmt: skip

    assert result.exit_code == 0
    (path,) = (tmp_path / "runs").glob("*/*/self.min90-tpbench-v2/seed7")
    assert {file.name for file in path.glob("*/*")} == {"b.mp4", "b.json"}
    info = json.loads((path / "run.json").read_text())
    assert info["model"]["configuration"]["shade"] == 5
    assert info["sessions"][0]["device"] == "cpu"
    assert info["task"]["min_frames"] == 90


def test_several_seeds_are_runs_of_their_own_and_stand_in_the_json(
    data: Path, tmp_path: Path
) -> None:
    result = run(data, tmp_path, "--seeds", "1,2", "--json")
    runs = json.loads(result.stdout)["runs"]
    assert [one["seed"] for one in runs] == [1, 2]
    assert [one["counts"]["done"] for one in runs] == [2, 2]
    assert [Path(one["folder"]).name for one in runs] == ["seed1", "seed2"]
    assert all(one["failed"] == {} for one in runs)


def test_shards_stand_beside_the_run_that_takes_their_clips_over(
    data: Path, tmp_path: Path
) -> None:
    for shard in ("1/2", "2/2"):
        assert "1 generated" in run(data, tmp_path, "--shard", shard).stdout
    assert "0 generated, 0 failed, 2 already there" in run(data, tmp_path).stdout


def test_a_dry_run_tells_the_cost_and_writes_nothing(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    result = run(data, out, "--dry-run", "--task", "self", "--seeds", "1,2")
    assert result.stdout.startswith("2 clips, 203 frames, 2 seeds\n")
    assert result.exit_code == 0
    result = run(data, out, "--dry-run", "--device", "tpu")
    assert (result.exit_code, result.stderr.count("would stop: ")) == (2, 1)
    assert not out.exists()


def test_a_warning_about_the_dataset_is_said_once(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(data, tmp_path / "runs", "--seeds", "1,2", "--limit", "1")
    assert [line.endswith("is not split: it is used whole") for line in caplog.messages] == [True]


@pytest.mark.parametrize("words", [("--seeds", "1,1"), ("--seeds", "x"), ("--protocol", "none")])
def test_bad_options_are_refused_before_anything_is_generated(
    words: tuple[str, str], data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError):
        run(data, tmp_path / "runs", *words)
    assert not (tmp_path / "runs").exists()
