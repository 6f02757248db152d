"""`tpbench eval` as a user meets it: what is printed, and with which exit code it ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result

from tests.benchmark.generators import MODULE
from tests.cli.conftest import invoke
from tpbench.cli.output import duration
from tpbench.errors import ConfigError, TPBenchError

pytestmark = pytest.mark.usefixtures("in_this_process")

MODEL = f"{MODULE}:Numbered"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TPBENCH_DATA", str(data))
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "cache"))


def run(*arguments: str, model: str = MODEL, metrics: str = "psnr,l1") -> Result:
    words = ("--model", model, "--metrics", metrics, "--workers", "1")
    return invoke("eval", *words, *arguments)


def test_a_table_and_the_place_of_the_run_are_printed(tmp_path: Path) -> None:
    result = run()
    (path,) = (tmp_path / "runs").glob("*/*/*/seed42")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    (psnr,) = (line.split() for line in lines if line.startswith("psnr"))
    assert (psnr[1], psnr[3:]) == ("↑", ["dB", "2"])
    assert "no interval: 2 identities: an interval needs at least 5" in lines
    assert lines[-2] == f"{MODEL} on Small talks (all clips), task self"
    assert lines[-1] == f"scored 2 of 2 clips: {path}"
    assert result.stderr == ""


def test_several_seeds_show_their_spread() -> None:
    result = run("--seeds", "1,2")
    assert "± over seeds" in result.stdout
    assert "Frame 0, the reference, is not scored" in " ".join(result.stdout.split())
    assert result.stdout.count("scored 2 of 2 clips: ") == 2


def test_failed_clips_are_named_with_exit_3() -> None:
    result = run("--option", "fault=failure", model=f"{MODULE}:Faulty")
    assert result.exit_code == 3
    assert result.stderr == (
        "b: nobody is in the picture\n"
        "coverage 0.500: 1 clip failed; the values are those of the other clips\n"
    )
    assert "scored 1 of 2 clips" in result.stdout


def test_a_partial_run_says_so() -> None:
    result = run("--limit", "1")
    assert result.exit_code == 0
    assert "partial run, not for a leaderboard: 1 clip not tried yet" in result.stdout


def test_a_blank_says_what_gets_it() -> None:
    result = run("--offline", metrics="psnr,fid")
    assert result.exit_code == 0
    missing = "not measured: fid: model files are missing, run: tpbench weights pull fid-inception"
    assert missing in result.stdout


def test_json_holds_all_of_it() -> None:
    result = run("--json", "--seeds", "1,2", model="oracle")
    found = json.loads(result.stdout)
    assert (found["model"], found["coverage"], found["partial"]) == ("oracle", 1.0, False)
    assert found["metrics"]["psnr"]["value"] == 100
    assert found["metrics"]["psnr"]["low"] is None
    assert found["metrics"]["l1"]["value"] == 0
    assert [entry["seed"] for entry in found["runs"]] == [1, 2]
    for entry in found["runs"]:
        scores = json.loads((Path(entry["folder"]) / "scores.json").read_text())
        assert scores["digest"] == entry["scores_digest"]


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(tmp_path: Path) -> None:
    result = run("--dry-run", "--seeds", "1,2")
    lines = result.stdout.splitlines()
    assert lines[0] == "2 clips, 203 frames, 2 seeds"
    assert lines[1] == "disk: about 0.4 MB for lossless frames"
    assert lines[2] == "time: unknown; this model has no earlier run on this machine"
    assert [line.rpartition("/")[2] for line in lines[3:5]] == ["seed1", "seed2"]
    assert lines[5:] == ["ready: nothing would stop it"]
    assert list(tmp_path.iterdir()) == []
    assert json.loads(run("--dry-run", "--json").stdout)["frames"] == 203


def test_a_dry_run_names_all_that_would_stop_the_run_with_exit_2(tmp_path: Path) -> None:
    words = ("--dry-run", "--device", "gpu", "--option", "shades=1", "--limit", "0")
    result = run(*words, "--strict", metrics="fid")
    assert result.exit_code == 2
    missing, blank = result.stdout.splitlines()
    assert missing == "missing: fid-inception (95.6 MB)"
    assert blank.startswith("would stay blank: fid: model files are missing, run: tpbench weights ")
    told = result.stderr.splitlines()
    assert all(line.startswith("would stop: ") for line in told)
    assert len(told) == 4
    found = run(*words, "--json")
    assert found.exit_code == 2
    assert len(json.loads(found.stdout)["problems"]) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_after_a_run_tells_the_time_and_what_is_there() -> None:
    run("--limit", "1")
    lines = run("--dry-run").stdout.splitlines()
    assert lines[1] == "1 of these clips already have a record"
    assert lines[3].startswith("time: about ")


def test_every_option_reaches_the_run(tmp_path: Path, data: Path) -> None:
    (tmp_path / "ids.txt").write_text("b\n")

    result = run(
        "--data", str(data), "--ids", "ids.txt", "--split", "all", "--seeds", "7", "--task", "self",
        "--option", "shade=5", "--keep", "preview", "--min-frames", "90", "--device", "cpu",
        "--overwrite", "never", "--protocol", "talkingpose", "--out", "mine", "--shard", "1/1",
        "--strict", metrics="psnr",
    )  # fmt: skip

    assert result.exit_code == 0
    (path,) = (tmp_path / "mine").glob("*/*/self.min90-talkingpose/seed7.shard1of1")
    assert {file.name for file in path.glob("[!.]*/*")} == {"b.mp4", "b.json"}
    info = json.loads((path / "run.json").read_text())
    assert info["model"]["configuration"]["shade"] == 5
    assert info["sessions"][0]["command"][0] == "tpbench"
    assert list(json.loads((path / "scores.json").read_text())["metrics"]) == ["psnr"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seeds", "1,x"), "numbers separated by commas, such as 42,43, got '1,x'"),
        (("--reference-quirks",), "'reference_quirks': True"),
        (("--shard", "2"), "such as 2/4, got '2'"),
    ],
)
def test_bad_options_are_refused(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(*arguments)


@pytest.mark.parametrize(
    ("seconds", "said"), [(7.2, "7 s"), (600, "10 min"), (10_000, "2 h 47 min")]
)
def test_times_are_told_in_the_unit_that_fits(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_videos_of_two_methods_are_two_rows_with_the_names_given(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The videos of two methods beside the runs of a model: the commonest wish."""
    oracle = run(model="oracle")
    assert oracle.exit_code == 0
    for name, videos in (("Method X", "x"), ("Ours", "ours")):
        shutil.copytree(data / "clips", tmp_path / videos)
        monkeypatch.setattr("sys.argv", ["tpbench", "eval", "--videos", f"/home/me/{videos}"])
        result = run("--name", name, "--videos", videos, model="precomputed")
        assert result.exit_code == 0
        assert f"{name} on Small talks (all clips), task self" in result.stdout.splitlines()
    result = invoke("leaderboard", "build", "runs", "--out", "site", "--no-page", "--data", data)
    assert result.exit_code == 0
    table = pd.read_csv(tmp_path / "site" / "leaderboard.csv")
    assert list(table["model"]) == ["Method X", "Ours", "oracle"]
    assert list(table["display_name"]) == ["Method X", "Ours", "Real clip"]
    (command,) = (
        line
        for line in (tmp_path / "site/leaderboard.md").read_text().splitlines()
        if line.startswith("- Ours: ")
    )
    assert "--model precomputed --name Ours --videos VIDEOS --data DATASET" in command


def test_the_same_name_for_other_videos_is_another_configuration(
    tmp_path: Path, data: Path
) -> None:
    shutil.copytree(data / "clips", tmp_path / "x")
    assert run("--name", "X", "--videos", "x", model="precomputed").exit_code == 0
    (tmp_path / "x").rename(tmp_path / "y")
    with pytest.raises(ConfigError, match="made with another configuration"):
        run("--name", "X", "--videos", "y", model="precomputed")
    assert run("--name", "Y", "--videos", "y", model="precomputed").exit_code == 0


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("oracle", ("--videos", "x"), "--videos names the folder of `--model precomputed`"),
        ("precomputed", ("--videos", "x", "--option", "folder=x"), "which is given once"),
        ("precomputed", (), "name the folder of its videos, --videos DIR"),
        ("precomputed", ("--videos", "typo"), "typo: no such folder"),
        ("oracle", ("--name", " "), "a name wants 1 to 80 printable characters"),
    ],
)
def test_names_and_folders_that_do_not_fit_are_refused(
    model: str, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TPBenchError, match=message):
        run(*arguments, model=model)
