from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.datasets import clip_files, kept_row
from tpbench.cli.dataset import inspect, split
from tpbench.dataset import Clip, Dataset, Measurement, RunStats, finalise
from tpbench.errors import ConfigError, DatasetError

_MEASUREMENTS = (
    Measurement(
        name="face_height_px",
        title="Face [bold]height",
        unit="px",
        direction="at_least",
        code="face.too_small",
    ),
    Measurement(name="face_yaw_deg", title="Head turn", unit="deg", direction="at_most"),
)


def _kept(folder: Path, clip_id: str) -> Clip:
    for path in clip_files(folder, clip_id):
        path.write_bytes(clip_id.encode())
    return replace(
        kept_row(folder, clip_id, n_frames=120),
        source_path=f"videos/{clip_id} [red].mp4",
        measurements={"face_height_px": 140.0},
        thresholds={"face_height_px": 80.0},
    )


_REJECTED = Clip(
    clip_id="bob",
    status="rejected",
    reject_codes=("face.too_small",),
    source_id="bob",
    source_path="videos/bob [red].mp4",
    start_s=0.0,
    end_s=4.8,
    measurements={"face_height_px": 31.5},
    thresholds={"face_height_px": 80.0},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "talks"
    rows = [_kept(path, f"ann{i}") for i in range(3)]
    return finalise(
        path,
        [*rows, _REJECTED],
        name="Talks",
        config={},
        models={},
        measurements=_MEASUREMENTS,
        run=RunStats(workers=2, wall_s=10, core_s=20, source_frames=450, source_s=18),
    ).folder


def _run(*arguments: str | Path) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(inspect)
    app.command()(split)
    return CliRunner().invoke(
        app,
        [str(argument) for argument in arguments],
        catch_exceptions=True,
        env={"COLUMNS": "120"},
    )


def test_inspect_shows_counts_reject_table_and_speed(folder: Path) -> None:
    result = _run("inspect", folder)

    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert "kept 3 75.0%" in lines
    assert "rejected 1 25.0%" in lines
    assert "face.too_small 1 100.0% Face [bold]height" in lines
    assert "2 workers, 10 s: 45.0 source frames/s, 0.90 h of video per core-hour" in lines


def test_inspect_shows_every_measurement_of_a_clip_against_its_limit(folder: Path) -> None:
    result = _run("inspect", folder, "bob")

    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert "bob rejected face.too_small" in lines
    assert "source videos/bob [red].mp4" in lines
    assert "Face [bold]height 31.5 ≥ 80 px reject: face.too_small" in lines
    assert "Head turn deg not measured" in lines


def test_inspect_of_a_kept_clip_names_its_files(folder: Path) -> None:
    result = _run("inspect", folder, "ann1", "--json")

    row = json.loads(result.stdout)
    assert Path(row["paths"]["clip"]).read_bytes() == b"ann1"
    assert row["verdicts"][0]["verdict"] == "ok"
    assert row["source_path"] == "videos/ann1 [red].mp4"


def test_inspect_json_lists_all_clips_and_the_counts(folder: Path) -> None:
    content = json.loads(_run("inspect", folder, "--json").stdout)

    assert content["counts"]["kept"] == 3
    assert content["run"]["frames_per_s"] == 45.0
    assert content["clips"][-1] == {
        "clip_id": "bob",
        "status": "rejected",
        "reject_codes": ["face.too_small"],
    }


def test_unknown_clip_is_a_dataset_error_with_a_hint(folder: Path) -> None:
    error = _run("inspect", folder, "ann9").exception

    assert isinstance(error, DatasetError)
    assert "no clip 'ann9'; did you mean 'ann" in str(error)


def test_verify_exits_with_3_when_a_file_was_changed(folder: Path) -> None:
    assert _run("inspect", folder, "--verify").exit_code == 0

    (folder / "clips" / "ann0.mp4").write_bytes(b"other")
    result = _run("inspect", folder, "--verify")

    assert result.exit_code == 3
    assert "ann0.mp4: not the file" in result.stderr


def test_split_prints_both_sides_and_is_seen_by_inspect(folder: Path) -> None:
    result = _run("split", folder, "--test", "0.5", "--seed", "2")

    info = Dataset.open(folder).info.split
    assert result.exit_code == 0
    assert info is not None
    assert (info.test_share, info.seed) == (0.5, 2)
    assert f"test:  {info.test_clips} clips of {info.test_clips} identities" in result.stdout
    assert "share 0.5, seed 2" in _run("inspect", folder).stdout


def test_split_with_an_empty_side_warns_and_succeeds(folder: Path) -> None:
    result = _run("split", folder, "--test", "0.0001")

    assert result.exit_code == 0
    assert "warning: the test side is empty: 3 identities" in result.stderr


def test_split_refuses_an_impossible_share(folder: Path) -> None:
    assert isinstance(_run("split", folder, "--test", "1").exception, ConfigError)
