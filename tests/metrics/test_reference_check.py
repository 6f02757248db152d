"""`tpbench metrics check` passes here, and fails where a number or a frame is spoilt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from typer.testing import CliRunner

from tests.conftest import MediaMaker
from tests.metrics.random_networks import random_state, save_state
from tests.metrics.scoring.clips import pictures, write_video
from tpbench.cli.metrics import metrics_app
from tpbench.metrics import pixels, reference_check
from tpbench.metrics.reference_check import CheckRow, check_numbers
from tpbench.metrics.scoring import meters
from tpbench.video import probe
from tpbench.weights import store

NETWORKS = ["lpips", "lpips_vgg", "fid features"]


@pytest.fixture(autouse=True)
def _no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "cache"))


def by_name(rows: Sequence[CheckRow]) -> dict[tuple[str, str], CheckRow]:
    return {(row.what, row.against.split()[0]): row for row in rows if row.clip in ("", "made")}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Sequence[CheckRow]:
    """All rows of an unspoilt check, beside a clip of one's own."""
    folder = tmp_path_factory.mktemp("checked")
    clip = write_video(folder / "mine.avi", pictures(30, size_px=(64, 48)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TPBENCH_CACHE", str(folder / "cache"))
        return check_numbers([clip])


@pytest.fixture
def frechet_known(checked: Sequence[CheckRow], monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the slow rows of the Fréchet distance, which hang on nothing, from the check above."""
    known = {row.against.split()[0]: row for row in checked if row.what == "Fréchet distance"}
    monkeypatch.setattr(reference_check, "_frechet", known.__getitem__)


def test_all_that_can_be_had_here_passes(checked: Sequence[CheckRow]) -> None:
    rows = by_name(checked)
    passed = {key for key, row in rows.items() if row.result == "pass"}
    assert {key for key in rows if key[0] not in NETWORKS} == passed
    assert {"psnr", "ssim", "tje_d2", "frames", "Fréchet distance"} <= {what for what, _ in passed}
    assert all(rows[key].n_values for key in passed)


@pytest.mark.usefixtures("frechet_known")
def test_without_weights_a_metric_is_not_checked_and_one_line_says_what_to_do() -> None:
    said = CliRunner().invoke(metrics_app, ["check"])
    assert said.exit_code == 0
    (line,) = (line for line in said.stdout.splitlines() if "fid features" in line)
    assert line.startswith("not checked")
    assert line.endswith("tpbench weights pull fid-inception")


@pytest.mark.usefixtures("frechet_known")
def test_a_spoilt_metric_fails_with_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is checked is what `score` computes: the meter, not a function beside it."""
    spoilt = meters.each_pair(lambda real, generated: pixels.ssim(real, generated) + 1e-4)
    changed = [replace(row, start=spoilt) if row.name == "ssim" else row for row in meters._ROWS]
    monkeypatch.setattr(meters, "_ROWS", tuple(changed))
    monkeypatch.setattr(meters, "METERS", {row.name: row for row in changed})
    monkeypatch.setattr("tpbench.metrics.scoring.clip_pass.METERS", meters.METERS)
    said = CliRunner().invoke(metrics_app, ["check", "--json"])
    assert said.exit_code == 3
    rows = json.loads(said.stdout)
    assert [row["what"] for row in rows if row["result"] == "fail"] == ["ssim"]
    assert "1 of" in said.stderr


@pytest.mark.usefixtures("frechet_known")
def test_frames_of_another_time_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    read = reference_check._READERS["opencv-python"]

    def late(path: Path) -> Iterator[np.ndarray]:
        frames = read(path)
        next(frames)
        yield from frames

    monkeypatch.setitem(reference_check._READERS, "opencv-python", late)
    rows = by_name(check_numbers([]))
    assert rows["frames", "opencv-python"].result == "fail"
    assert rows["frames", "decord"].result == "pass"


def test_a_clip_of_ones_own_is_checked_beside_the_made_one(checked: Sequence[CheckRow]) -> None:
    rows = [row for row in checked if row.clip == "mine.avi"]
    assert {row.what for row in rows} == {row.what for row in checked if row.clip == "made"}
    assert {row.result for row in rows if row.what not in NETWORKS} == {"pass"}


OPEN_GOP = {"x264-params": "open-gop=1:scenecut=0:b-adapt=0"}


@pytest.mark.parametrize(
    ("name", "made", "reader", "word"),
    [
        ("open.ts", {"n": 24, "gop": 8, "bframes": 3, "options": OPEN_GOP}, "decord", "transport"),
        ("cut.mp4", {"n": 30, "gop": 8, "bframes": 3, "first_pts": -5}, "decord", "cuts off"),
        ("deep.mp4", {"n": 6, "pixel_format": "yuv420p10le"}, "opencv-python", "more than 8 bits"),
        ("turned.mp4", {"n": 6, "quarter_turns": 1}, "decord", ""),
        ("cut.mp4", {"n": 30, "gop": 8, "bframes": 3, "first_pts": -5}, "opencv-python", ""),
    ],
)
def test_where_a_reader_is_known_to_be_wrong_the_row_says_so_and_does_not_fail(
    name: str, made: dict[str, Any], reader: str, word: str, make_media: MediaMaker
) -> None:
    path = make_media.cfr(name, **made)
    row = reference_check._decoded(name, path, probe(path), reader)
    if not word:
        assert row.result == "pass"
    elif row.result != "pass":  # another release may have it right
        assert (row.result, word in row.why) == ("not checked", True), row


@pytest.mark.slow
def test_networks_with_made_up_weights_agree_with_their_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pytorch_fid import inception

    rows = tuple(
        row.model_copy(update={"sha256": None, "size_bytes": None}) for row in store.WEIGHTS
    )
    monkeypatch.setattr(store, "WEIGHTS", rows)
    names = {row.name: row.filename for row in rows}
    folder = store.make_weights_dir()
    with torch.device("meta"):
        built = {
            "lpips-alexnet": torchvision.models.alexnet(),
            "lpips-vgg16": torchvision.models.vgg16(),
        }
    for name, network in built.items():
        state = random_state(network.features, seed=5)
        save_state({f"features.{k}": v for k, v in state.items()}, folder / names[name])
    made: list[torch.nn.Module] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: None)
        patch.setattr(
            torch.nn.Module, "load_state_dict", lambda module, *_, **__: made.append(module)
        )
        inception.fid_inception_v3()
    save_state(random_state(made[0], seed=3), folder / names["fid-inception"])

    found = by_name(check_numbers([]))
    for what, package in zip(NETWORKS, ("lpips", "lpips", "pytorch-fid"), strict=True):
        row = found[what, package]
        assert (row.result, row.n_values > 0) == ("pass", True), row
