from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.baselines.talkingpose.tiny import random_pose, tiny_task
from tpbench.baselines.base import AnimationTask, ClipFailure, GeneratedFrame, OptionValue
from tpbench.baselines.registry import MODELS
from tpbench.baselines.talkingpose import networks
from tpbench.baselines.talkingpose.generator import TalkingPose, find_device, find_dtype
from tpbench.baselines.talkingpose.pipeline import ClipInput, ClipState, stretched
from tpbench.dwpose_drawing import draw_pose
from tpbench.errors import (
    ConfigError,
    GeneratorError,
    MissingDependencyError,
    MissingWeightsError,
)
from tpbench.files import sha256_of


def test_auto_is_a_gpu_where_there_is_one_and_half_precision_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for there, place, dtype in ((False, "cpu", "fp32"), (True, "cuda:0", "fp16")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert find_device("auto") == torch.device(place)
        assert find_dtype("auto", torch.device(place)) == dtype
    assert find_dtype("bf16", torch.device("cpu")) == "bf16"


@pytest.mark.parametrize(
    ("name", "n_gpus", "told"),
    [
        ("gpu", 1, "device 'gpu': want auto, cpu, cuda or cuda:N"),
        ("cuda:1", 1, "device 'cuda:1': no such GPU, this machine has only cuda:0"),
        ("cuda", 0, "device 'cuda': no usable GPU"),
    ],
)
def test_a_device_that_is_not_there_is_one_clear_error(
    name: str, n_gpus: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    with pytest.raises(ConfigError, match=told):
        find_device(name)


class Build:
    """Builds generators on the tiny weights."""

    def __init__(self, weights_dir: Path) -> None:
        self.weights_dir = weights_dir

    def __call__(self, **options: OptionValue) -> TalkingPose:
        defaults: dict[str, OptionValue] = {"steps": 2, "gain": 0.2}
        return TalkingPose(defaults | options, weights_dir=self.weights_dir, device="cpu")


@pytest.fixture(scope="module")
def build(tiny_talkingpose_weights: Path) -> Build:
    return Build(tiny_talkingpose_weights)


@pytest.fixture(scope="module")
def generator(build: Build) -> TalkingPose:
    return build(max_clips=3)


def frames(generator: TalkingPose, tasks: Sequence[AnimationTask]) -> dict[str, NDArray[np.uint8]]:
    """All frames of each clip, (T, H, W, 3); a failure is an error here."""
    made: dict[str, list[NDArray[np.uint8]]] = {task.clip_id: [] for task in tasks}
    for outcome in generator.generate(tasks):
        assert isinstance(outcome, GeneratedFrame), outcome
        assert outcome.index == len(made[outcome.clip_id])
        made[outcome.clip_id].append(outcome.image)
    return {clip_id: np.stack(images) for clip_id, images in made.items()}


def test_a_frame_comes_out_for_each_driving_pose(generator: TalkingPose) -> None:
    tasks = [
        tiny_task("a", n_frames=3, width_px=72, height_px=40),
        tiny_task("b", n_frames=1, width_px=72, height_px=40, picture=1),
    ]
    made = frames(generator, tasks)
    assert made["a"].shape == (3, 40, 72, 3)
    assert made["b"].shape == (1, 40, 72, 3)
    assert made["a"].dtype == np.uint8
    assert not np.array_equal(made["a"][0], made["a"][1])


def test_the_same_task_gives_the_same_bytes_at_any_time_and_another_seed_others(
    generator: TalkingPose, build: Build
) -> None:
    task, other = tiny_task("a"), tiny_task("b", picture=1)
    first = frames(generator, [task])["a"]
    frames(generator, [other])
    assert np.array_equal(frames(generator, [task])["a"], first)
    assert np.array_equal(frames(build(max_clips=3), [task])["a"], first)
    assert not np.array_equal(frames(generator, [tiny_task("a", seed=43)])["a"], first)


def test_without_gain_only_the_first_frame_is_the_same(
    generator: TalkingPose, build: Build
) -> None:
    with_feedback = frames(generator, [tiny_task()])["clip"]
    without = frames(build(**MODELS["talkingpose"].variants["no-feedback"]), [tiny_task()])["clip"]
    assert np.array_equal(with_feedback[0], without[0])
    assert not np.array_equal(with_feedback[1], without[1])


def test_poses_are_drawn_as_dwpose_draws_them(
    generator: TalkingPose, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tiny_task(n_frames=2, width_px=72, height_px=40)
    (clip,) = captured_clips(generator, task, monkeypatch)
    for index in range(2):
        keypoints = task.driving.keypoints[index : index + 1]
        scores = task.driving.scores[index : index + 1]
        drawing = draw_pose(keypoints, scores, 40, 72)
        assert drawing.any()
        assert np.array_equal(clip.draw_pose(index), drawing)


def captured_clips(
    generator: TalkingPose, task: AnimationTask, monkeypatch: pytest.MonkeyPatch
) -> list[ClipInput]:
    """What the networks are given for a task."""
    assert generator._lockstep is not None
    pipeline = generator._lockstep._pipeline
    prepare, clips = pipeline.prepare, []

    def keep(clip: ClipInput) -> ClipState:
        clips.append(clip)
        return prepare(clip)

    monkeypatch.setattr(pipeline, "prepare", keep)
    frames(generator, [task])
    return clips


def test_points_that_are_not_numbers_are_points_not_seen(generator: TalkingPose) -> None:
    task = tiny_task()
    keypoints, scores = task.driving.keypoints.copy(), task.driving.scores.copy()
    keypoints[:, 20:] = np.nan
    scores[:, 20:] = 0
    nobody = np.full_like(keypoints, np.nan)
    some = replace(task.driving, keypoints=keypoints, scores=scores)
    none = replace(task.driving, keypoints=nobody, scores=np.zeros_like(scores))
    tasks = [
        replace(task, clip_id="some", driving=some),
        replace(task, clip_id="none", driving=none, reference_pose=none.slice_frames(0, 1)),
    ]
    made = frames(generator, tasks)
    assert not np.array_equal(made["some"], made["none"])


def test_a_clip_of_a_wrong_size_fails_alone(generator: TalkingPose) -> None:
    wrong = tiny_task("wrong", driving=random_pose(2, width_px=128, height_px=64))
    odd = tiny_task("odd", width_px=60, height_px=64)
    outcomes = list(generator.generate([wrong, odd, tiny_task("right")]))
    reasons = {item.clip_id: item.reason for item in outcomes if isinstance(item, ClipFailure)}
    assert list(reasons) == ["wrong", "odd"]
    assert "poses are for 128x64 px, the frames are to be 64x64" in reasons["wrong"]
    assert "multiples of 8 px, not 60x64" in reasons["odd"]
    assert [item.clip_id for item in outcomes[2:]] == ["right", "right"]


def test_too_many_or_equal_tasks_are_the_callers_mistake(generator: TalkingPose) -> None:
    with pytest.raises(ValueError, match="with different ids"):
        list(generator.generate([tiny_task(), tiny_task()]))
    with pytest.raises(ValueError, match="want 1 to 3 tasks"):
        list(generator.generate([tiny_task(name) for name in "abcd"]))


def test_quirks_carry_latents_into_the_next_clip(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tiny_task("one"), tiny_task("two", picture=1)
    fresh = frames(build(reference_quirks=True, square_px=64), [two])["two"]
    quirky = build(reference_quirks=True, square_px=64)
    first = frames(quirky, [one])["one"]
    carried = frames(quirky, [two])["two"]
    assert not np.array_equal(carried[0], fresh[0])
    assert np.array_equal(first, frames(build(reference_quirks=True, square_px=64), [one])["one"])
    (clip,) = captured_clips(quirky, one, monkeypatch)
    assert clip.before is not None


def test_quirks_cut_colours_off(build: Build, generator: TalkingPose) -> None:
    rounded = frames(generator, [tiny_task()])["clip"].astype(int)
    cut_off = frames(build(reference_quirks=True, square_px=64), [tiny_task()])["clip"].astype(int)
    difference = rounded - cut_off
    assert set(np.unique(difference)) == {0, 1}
    assert 0.3 < difference.mean() < 0.7


def test_quirks_stretch_to_a_square_and_back(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny_task(width_px=100, height_px=60)
    quirky = build(reference_quirks=True, square_px=64)
    (clip,) = captured_clips(quirky, task, monkeypatch)
    assert np.array_equal(clip.reference, stretched(task.reference, width_px=64, height_px=64))
    assert clip.draw_pose(0).shape == (64, 64, 3)
    assert clip.noise.shape == (1, 4, 8, 8)
    assert frames(quirky, [task])["clip"].shape[1:3] == (60, 100)


def test_quirks_take_one_clip_at_a_time_and_are_on_record(build: Build) -> None:
    quirky = build(reference_quirks="yes", square_px="64", max_clips=4)
    assert quirky.max_clips == 1
    described = quirky.describe()
    assert described["parity_with_released_script"] is True
    assert described["latents_carried_across_clips"] is True
    assert described["options"]["square_px"] == 64  # type: ignore[index, call-overload] # JSON


def test_a_description_is_json_with_all_that_matters(
    generator: TalkingPose, tiny_talkingpose_weights: Path
) -> None:
    described = json.loads(json.dumps(generator.describe()))
    assert described["options"] == {
        "steps": 2, "guidance": 3.5, "gain": 0.2, "dtype": "fp32", "compile": False,
        "reference_quirks": False,
    }  # fmt: skip
    assert "uncompressed" in described["pose_renderer"]
    assert described["parity_with_released_script"] is False
    digests = described["weights_sha256"]
    assert digests["denoising_unet"] == sha256_of(tiny_talkingpose_weights / "denoising_unet.pth")
    assert len(digests) == 6
    assert described["sizes"]["scheduler"]["beta_schedule"] == "linear"
    defaults = TalkingPose({}, weights_dir=tiny_talkingpose_weights, device="auto").describe()
    released = json.loads(json.dumps(defaults))["options"]
    assert (released["steps"], released["guidance"], released["gain"]) == (30, 3.5, 0.05)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"step": 3}, "no option 'step'; did you mean 'steps'"),
        ({"steps": "0"}, "steps='0' is wrong"),
        ({"steps": 1001}, "steps=1001 is wrong"),
        ({"gain": 1.5}, "gain=1.5 is wrong"),
        ({"guidance": "nan"}, "guidance='nan' is wrong"),
        ({"dtype": "int8"}, "dtype='int8' is wrong"),
        ({"max_clips": 0}, "max_clips=0 is wrong"),
        ({"square_px": 100}, "square_px=100 is wrong"),
    ],
)
def test_a_wrong_option_is_one_clear_error(
    options: dict[str, OptionValue], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        TalkingPose(options, weights_dir=tmp_path, device="cpu")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_told_before_anything_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingWeightsError, match="tpbench weights pull"):
        TalkingPose({}, weights_dir=tmp_path, device="cpu")


@pytest.mark.parametrize("package", ["diffusers", "transformers", "safetensors"])
def test_a_missing_package_says_what_to_install(
    package: str, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match="pip install diffusers transformers"):
        build()


def test_a_wrong_checkpoint_names_its_file(build: Build, tmp_path: Path) -> None:
    folder = shutil.copytree(build.weights_dir, tmp_path / "weights")
    shutil.copy(folder / "pose_guider.pth", folder / "reference_unet.pth")
    with pytest.raises(ConfigError, match=r"reference_unet\.pth: .* keys are missing"):
        TalkingPose({}, weights_dir=folder, device="cpu")


def test_networks_that_do_not_fit_are_one_clear_error(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(networks, "_build", fail)
    with pytest.raises(GeneratorError, match="too little free memory for the networks"):
        build()


def test_nothing_is_fetched_and_nothing_is_said(
    build: Build, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    frames(build(), [tiny_task()])
    assert capfd.readouterr() == ("", "")


def test_half_precision_makes_frames(build: Build) -> None:
    exact = frames(build(), [tiny_task(n_frames=1)])["clip"].astype(int)
    half = frames(build(dtype="bf16"), [tiny_task(n_frames=1)])["clip"]
    assert 0 < np.abs(exact - half).mean() < 20


def test_closing_twice_is_fine_and_making_clips_afterwards_is_not(build: Build) -> None:
    generator = build()
    generator.close()
    generator.close()
    with pytest.raises(GeneratorError, match="closed"):
        list(generator.generate([tiny_task()]))
