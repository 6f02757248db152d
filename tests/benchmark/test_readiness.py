"""A dry run names everything that would stop the run, at once, and writes nothing."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.benchmark.generators import MODULE, Numbered
from tpbench.benchmark.readiness import DryRun, dry_run
from tpbench.benchmark.request import EvalRequest
from tpbench.dataset import clip_path, keypoints_path
from tpbench.devices import driver_gpus

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TPBENCH_METHODS", str(tmp_path / "methods"))
    monkeypatch.delenv("TPBENCH_OFFLINE", raising=False)


class Ask:
    """Makes dry runs that would all go into one folder."""

    def __init__(self, data: Path, out: Path) -> None:
        self.data, self.out = data, out

    def __call__(self, model: str = "oracle", *, scores: bool = True, **said: Any) -> DryRun:  # noqa: ANN401 - options of a request
        defaults: Mapping[str, Any] = {"data": self.data, "out": self.out, "metrics": ("psnr",)}
        return dry_run(EvalRequest(model=model, **{**defaults, **said}), scores=scores)


@pytest.fixture
def ask(talks: Path, tmp_path: Path) -> Ask:
    return Ask(talks, tmp_path / "runs")


def test_a_run_that_nothing_stops_has_its_cost_alone(ask: Ask, tmp_path: Path) -> None:
    found = ask()
    assert (found.problems, found.notes, dict(found.blank)) == ((), (), {})
    assert found.cost is not None
    assert found.cost.clips == 3
    assert found.to_json() == {
        **found.cost.to_json(), "blank": {}, "weights_missing": [], "notes": [], "problems": [],
    }  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_all_problems_are_named_at_once(ask: Ask, tmp_path: Path) -> None:
    if driver_gpus():
        pytest.skip("there is a GPU")
    found = ask(
        "talkingpose",
        data=tmp_path / "nowhere",
        seeds=(1, 1),
        metrics=("psrn",),
        name=" ",
        device="cuda",
        options={"steps": "none"},
    )
    for told in (
        "--seeds wants one or more different numbers",
        "did you mean 'psnr'?",
        "a name wants 1 to 80 printable characters",
        "nowhere",
        "talkingpose: steps='none' is wrong",
        "weights 'talkingpose (7 of 7 files)' are missing",
        "device 'cuda': no usable GPU",
    ):
        assert [told in problem for problem in found.problems].count(True) == 1, told
    assert len(found.problems) == 7
    assert found.cost is None
    assert found.to_json()["clips"] is None
    assert list(tmp_path.iterdir()) == []


def test_missing_weights_have_names_sizes_and_one_command(ask: Ask) -> None:
    found = ask("talkingpose", device="cpu")
    (line,) = found.problems
    assert line.endswith("run: tpbench weights pull talkingpose; or name a folder with --weights")
    files = {file.name: file for file in found.weights_missing}
    assert len(files) == 7
    assert all(file.needed for file in files.values())
    assert files["sd-image-encoder"].size_bytes == 1215993967
    assert files["talkingpose-denoising-unet"].size_bytes is None


def test_a_folder_of_weights_is_looked_into(ask: Ask, tmp_path: Path) -> None:
    (line,) = ask("talkingpose", device="cpu", weights=tmp_path).problems
    assert f"{tmp_path} lacks denoising_unet.safetensors or denoising_unet.pth, " in line


def test_missing_packages_are_named_with_their_extra(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tpbench.baselines.talkingpose.needs.find_spec",
        lambda name: None if name == "diffusers" else name,
    )
    problems = ask("talkingpose", device="cpu").problems
    assert "packages are missing (diffusers): pip install diffusers" in problems


def test_a_large_model_on_the_processor_is_a_note_and_no_problem(ask: Ask) -> None:
    if driver_gpus():
        pytest.skip("there is a GPU")
    found = ask("talkingpose")
    assert len(found.problems) == 1  # its weights
    assert found.notes[-1].startswith("talkingpose would run on the processor: no usable GPU")


def test_all_that_an_external_method_lacks_is_named(ask: Ask, tmp_path: Path) -> None:
    found = ask("mimicmotion", device="cpu").problems
    home = tmp_path / "methods" / "mimicmotion"
    assert f"mimicmotion: no checkout at {home / 'checkout'} (option checkout)" in found[0]
    assert (
        f"mimicmotion: no Python at {home / 'env' / 'bin' / 'python'} (option python)" in found[1]
    )
    assert "weights 'mimicmotion: " in found[2]
    assert all("`tpbench models install mimicmotion`" in line for line in found)


def test_folders_that_the_user_brings_must_be_there(ask: Ask, tmp_path: Path) -> None:
    options = {"densepose_dir": str(tmp_path / "dense")}
    found = ask("magicanimate", device="cpu", options=options).problems
    assert any(f"no folder {tmp_path / 'dense'} (option densepose_dir)" in line for line in found)


def test_a_class_of_the_user_is_imported_and_not_called(ask: Ask) -> None:
    assert ask(f"{MODULE}:Numbered").problems == ()
    (unknown,) = ask(f"{MODULE}:Nowhere").problems
    assert "has no 'Nowhere'" in unknown
    (wrong,) = ask(f"{MODULE}:Numbered", options={"shades": "1"}).problems
    assert "can't be called with the options" in wrong


def test_an_object_of_the_user_has_nothing_to_look_up(ask: Ask) -> None:
    assert ask("mine", generator=Numbered()).problems == ()


def test_a_wrong_option_of_a_light_model_is_found(ask: Ask, tmp_path: Path) -> None:
    (line,) = ask("precomputed", options={"folder": str(tmp_path / "none")}).problems
    assert str(tmp_path / "none") in line


def test_metrics_without_files_stay_blank_and_stop_only_if_strict(ask: Ask) -> None:
    found = ask(metrics=("psnr", "fid", "lpips"))
    assert found.blank == {"fid": ("fid-inception",), "lpips": ("lpips-alexnet",)}
    assert [(file.name, file.needed) for file in found.weights_missing] == [
        ("fid-inception", False), ("lpips-alexnet", False),
    ]  # fmt: skip
    assert found.problems == ()
    (strict,) = ask(metrics=("psnr", "fid", "lpips"), strict=True).problems
    assert strict == ("2 metrics can't be measured, such as fid; run: tpbench weights pull metrics")
    (alone,) = ask(metrics=("fid",)).problems
    assert "run: tpbench weights pull fid-inception" in alone
    assert ask(metrics=("fid",), scores=False).problems == ()


def test_files_fetched_on_first_use_are_missing_only_offline(ask: Ask) -> None:
    assert ask(metrics=("akd_body",)).blank == {}
    assert "akd_body" in ask(metrics=("akd_body",), offline=True, strict=True).blank


def test_missing_files_of_clips_are_counted(ask: Ask, tmp_path: Path) -> None:
    data = tmp_path / "talks"
    shutil.copytree(ask.data, data)
    clip_path(data, "b").unlink()
    keypoints_path(data, "b").unlink()
    line = ask(data=data).problems[0]
    assert f"{data}: 2 files of the clips missing, such as clips/3e/b.mp4" in line
    assert ask(data=data, ids=("a",)).problems == ()


def test_a_full_disk_is_found_before_the_work(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - 1000, 1000))
    (line,) = ask().problems
    assert "too little space: the frames take about 0.3 MB, 1,000 bytes are free" in line
    assert ask(keep="preview", scores=False).problems == ()


def test_a_file_in_the_place_of_the_folder_is_found(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (line,) = ask(out=tmp_path / "file" / "runs").problems
    assert line == f"{tmp_path / 'file'}: is no folder; name another with --out"


def test_runs_that_are_there_or_broken_are_found(ask: Ask) -> None:
    cost = ask(seeds=(1, 2)).cost
    assert cost is not None
    first, second = cost.folders
    first.mkdir(parents=True)
    (first / "run.json").write_text("{")
    (line,) = ask(seeds=(1, 2), overwrite="never").problems
    assert f"{first}: there is a run already" in line
    (broken,) = ask(seeds=(1, 2)).problems
    assert "run.json" in broken
    assert ask(seeds=(1, 2), overwrite="always").problems == ()
    assert not second.exists()
