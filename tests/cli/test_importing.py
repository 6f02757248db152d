"""`tpbench import` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import invoke
from tests.conftest import MediaMaker
from tpbench.errors import ConfigError
from tpbench.extraction import importing, squares
from tpbench.work import InThisProcess


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "Pool", lambda **_: InThisProcess(build=squares.build))
    monkeypatch.setattr(squares, "OUT_SIZE_PX", 128)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two videos in SET, of one side each, and their keypoints in POSES."""
    for name, n_frames in {"train/a": 4, "test/b": 5}.items():
        (tmp_path / "SET" / name).parent.mkdir(parents=True)
        (tmp_path / "POSES" / name).parent.mkdir(parents=True)
        MediaMaker(tmp_path / "SET").cfr(f"{name}.mp4", n=n_frames)
        np.savez(tmp_path / "POSES" / f"{name}.npz", keypoints=np.full((n_frames, 133, 2), 20.0))
    return tmp_path


def test_a_set_becomes_a_dataset_that_the_benchmark_takes(clips: Path) -> None:
    out = clips / "DATASET"
    done = invoke("import", clips / "SET", "--out", out, "--poses", clips / "POSES")
    assert done.exit_code == 0
    assert "2 clips, 9 frames" in done.output
    assert "1 train, 1 test clips" in done.output
    assert invoke("inspect", out, "--verify").exit_code == 0
    words = ("--min-frames", "2", "--metrics", "psnr", "--offline", "--out", clips / "runs")
    assert invoke("eval", "--model", "oracle", "--data", out, *words).exit_code == 0
    videos = [str(path) for path in (out / "clips").glob("*/*.mp4")]
    assert len(videos) == 2


def test_a_clip_that_failed_ends_with_code_3(clips: Path) -> None:
    MediaMaker(clips / "SET").empty("train/c.mp4")
    out = clips / "DATASET"
    np.savez(clips / "POSES" / "c.npz", keypoints=np.full((4, 133, 2), 20.0))
    done = invoke("import", clips / "SET", "--out", out, "--poses", clips / "POSES", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["counts"]["failed"] == 1
    assert "clips failed: 1" in done.stderr


def test_a_rate_that_is_none_is_refused(clips: Path) -> None:
    with pytest.raises(ConfigError, match="--fps fast: want frames a second"):
        invoke("import", clips / "SET", "--out", clips / "DATASET", "--fps", "fast")
