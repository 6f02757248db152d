"""From a dataset to a leaderboard, by the models that need no weights."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from tests.benchmark.people import write_people
from tests.datasets import as_before
from tpbench.benchmark.compare import compare_runs
from tpbench.benchmark.evaluate import Evaluation, evaluate
from tpbench.benchmark.leaderboard.tables import build_leaderboard
from tpbench.benchmark.verify import verify_run

pytestmark = pytest.mark.usefixtures("in_this_process")

MODELS = ("frozen", "gt-reencode", "oracle", "warp")
METRICS = ("psnr", "identical_share", "ssim", "l1", "tje_d2", "motion_ratio", "drift_psnr_slope")


def evaluated(data: Path, out: Path) -> dict[str, Evaluation]:
    return {
        model: evaluate(
            model, data, out=out, metrics=METRICS, device="cpu", offline=True, workers=1
        )
        for model in MODELS
    }


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of everything made here: `data` and `runs`."""
    folder = tmp_path_factory.mktemp("whole way")
    write_people(folder / "data", {"anna": 106, "ben": 102})
    return folder


@pytest.fixture(scope="module")
def models(people: Path) -> dict[str, Evaluation]:
    return evaluated(people / "data", people / "runs")


def values(models: Mapping[str, Evaluation], metric: str) -> dict[str, float]:
    return {name: found.scores[metric].value for name, found in models.items()}


def assert_the_anchors_hold(models: Mapping[str, Evaluation]) -> None:
    psnr, ssim, tje = (values(models, name) for name in ("psnr", "ssim", "tje_d2"))
    moved = values(models, "motion_ratio")
    # The oracle is perfect.
    assert (psnr["oracle"], ssim["oracle"], tje["oracle"]) == (100, 1, 0)
    assert moved["oracle"] == 1
    assert values(models, "identical_share")["oracle"] == 1
    # A codec alone has a price: the floor of what a method could reach through it.
    assert 30 < psnr["gt-reencode"] < 60
    assert 0 < tje["gt-reencode"] < tje["frozen"]
    assert 0.9 < ssim["gt-reencode"] < 1
    # Who does nothing beats the warp at jitter, and gives itself away by not moving.
    assert tje["frozen"] < tje["warp"]
    assert moved["frozen"] == 0
    assert moved["warp"] > 0.3


def test_the_anchors_show_what_the_numbers_mean(models: Mapping[str, Evaluation]) -> None:
    assert_the_anchors_hold(models)
    assert all(found.complete for found in models.values())


def test_two_models_are_compared_clip_by_clip(models: Mapping[str, Evaluation]) -> None:
    warp, frozen = (models[name].runs[0].folder.path for name in ("warp", "frozen"))
    found = compare_runs(warp, frozen)
    difference = models["warp"].clips()["psnr"] - models["frozen"].clips()["psnr"]
    assert found.metrics["psnr"].difference == pytest.approx(difference.mean())
    assert found.n_common == 2


def test_all_runs_come_out_again(models: Mapping[str, Evaluation]) -> None:
    for found in models.values():
        assert verify_run(found.runs[0].folder.path, offline=True, workers=1).level == "rerun"


def test_a_dataset_of_an_earlier_version_gives_the_same(
    models: Mapping[str, Evaluation], people: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(people / "data", tmp_path / "data")
    as_before(data)
    assert sorted(path.name for path in (data / "clips").iterdir()) == ["anna.mp4", "ben.mp4"]
    found = evaluate(
        "oracle", data, out=tmp_path / "runs", metrics=METRICS, offline=True, workers=1
    )
    assert found.scores["psnr"].value == models["oracle"].scores["psnr"].value
    folder = found.runs[0].folder.path
    verified = verify_run(folder, data=data, offline=True, workers=1)
    assert (verified.level, verified.problems) == ("rerun", ())
    build_leaderboard([folder], tmp_path / "board", data=data)
    media = sorted(path.name for path in (tmp_path / "board/media/real").iterdir())
    assert media == ["anna.mp4", "ben.mp4"]


def test_they_stand_in_one_table(
    models: Mapping[str, Evaluation], people: Path, tmp_path: Path
) -> None:
    build_leaderboard([people / "runs"], tmp_path / "board")
    table = pd.read_csv(tmp_path / "board" / "leaderboard.csv").set_index("model")
    assert sorted(table.index) == sorted(MODELS)
    for metric in METRICS:
        assert table[metric].to_dict() == pytest.approx(values(models, metric))
    assert table.loc["warp", "kind"] == "measured"
    assert set(table["coverage"]) == {1.0}


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.timeout(1500)  # minutes of work on a machine of one's own
def test_on_real_talks(shared_dir: Path, tmp_path: Path) -> None:
    from tpbench.extraction.run import extract

    samples = shared_dir / "data" / "talkingpose_samples"
    extract([samples / "vid1.mp4", samples / "vid3.mp4"], tmp_path / "data", skeleton="mediapipe")
    models = evaluated(tmp_path / "data", tmp_path / "runs")
    assert_the_anchors_hold(models)
    assert verify_run(models["warp"].runs[0].folder.path, offline=True).level == "rerun"
    compared = compare_runs(*(models[name].runs[0].folder.path for name in ("warp", "frozen")))
    assert compared.metrics["tje_d2"].difference > 0
    build_leaderboard([tmp_path / "runs"], tmp_path / "board")
    assert len(pd.read_csv(tmp_path / "board" / "leaderboard.csv")) == len(MODELS)
