"""`tpbench eval --model talkingpose`, with tiny weights and without any."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.baselines.talkingpose.tiny import random_pose, write_tiny_weights
from tests.benchmark.people import write_clip, write_manifest
from tests.conftest import MediaMaker
from tpbench.benchmark.evaluate import evaluate
from tpbench.benchmark.verify import verify_run
from tpbench.errors import TPBenchError
from tpbench.files import sha256_of

pytestmark = pytest.mark.usefixtures("in_this_process")

N_FRAMES = 4
SIDE_PX = 64


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of one very short clip."""
    folder = tmp_path_factory.mktemp("tiny talks")
    images = (
        MediaMaker.image(number, width_px=SIDE_PX, height_px=SIDE_PX) for number in range(N_FRAMES)
    )
    write_manifest(folder, [write_clip(folder, "clip", images, random_pose(N_FRAMES))])
    return folder


def test_local_weights_give_a_scored_run(data: Path, tmp_path: Path) -> None:
    weights = write_tiny_weights(tmp_path / "weights")

    result = evaluate(
        "talkingpose",
        data,
        weights=weights,
        out=tmp_path / "runs",
        min_frames=2,
        options={"steps": 2},
        metrics=["psnr", "motion_ratio"],
        device="cpu",
        workers=1,
    )

    (run,) = result.runs
    assert result.complete
    assert run.info.task.id == "self.min2"
    assert run.info.counts.frames == N_FRAMES
    assert run.folder.path.parts[-4] == "talkingpose"
    sha256 = run.info.model.configuration["weights_sha256"]
    assert sha256_of(weights / "pose_guider.pth") in dict(sha256).values()  # type: ignore[arg-type]  # JSON
    assert 0 < result.scores["psnr"].value < 60
    assert verify_run(run.folder.path, workers=1).level == "rerun"


@pytest.mark.parametrize("said", [{}, {"weights": "empty"}])
def test_without_weights_one_line_says_what_to_pull_before_any_work(
    said: dict[str, str], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    weights = tmp_path / said["weights"] if said else None
    with pytest.raises(TPBenchError) as error:
        evaluate(
            "talkingpose", data, weights=weights, out=tmp_path / "runs", min_frames=2,
            metrics=["psnr"], workers=1,
        )  # fmt: skip
    line = str(error.value)
    assert "\n" not in line
    assert "tpbench weights pull" in line or "--weights" in line
    assert not list((tmp_path / "runs").rglob("*.json"))
