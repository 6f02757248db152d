from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.baselines.talkingpose.tiny import old_vae_name, tiny_config, tiny_networks
from tpbench.baselines.talkingpose.checkpoints import (
    canonical_key,
    find_files,
    matched,
    read_tensors,
)
from tpbench.baselines.talkingpose.networks import ModelSizes, VaeSizes
from tpbench.errors import ConfigError, MissingWeightsError
from tpbench.files import sha256_of
from tpbench.weights import store, weight

NAMES = (
    "talkingpose-denoising-unet", "talkingpose-reference-unet", "talkingpose-pose-guider",
    "sd-image-encoder", "sd-vae-ft-mse", "sd-image-encoder-config", "sd-vae-ft-mse-config",
)  # fmt: skip


@pytest.fixture
def folder(tiny_talkingpose_weights: Path, tmp_path: Path) -> Path:
    """A copy of the tiny weights that a test may spoil."""
    return shutil.copytree(tiny_talkingpose_weights, tmp_path / "weights")


def split_configs(folder: Path) -> None:
    """Give CLIP and the VAE their own config.json, as the released files have them."""
    config = tiny_config()
    for part in ("vae", "image_encoder"):
        values = config.pop(part) | {"_class_name": "Theirs", "architectures": ["Theirs"]}
        (folder / part / "config.json").write_text(json.dumps(values))
    (folder / "config.json").write_text(json.dumps(config))


def test_files_are_found_with_sizes_and_checksums(folder: Path) -> None:
    found = find_files(folder)
    assert {network: path.name for network, path in found.checkpoints.items()} == {
        "denoising_unet": "denoising_unet.pth",
        "reference_unet": "reference_unet.pth",
        "pose_guider": "pose_guider.pth",
        "image_encoder": "pytorch_model.bin",
        "vae": "diffusion_pytorch_model.safetensors",
    }
    assert found.sizes == ModelSizes.model_validate(tiny_config())
    digests = found.sha256()
    assert digests["vae"] == sha256_of(folder / "vae" / "diffusion_pytorch_model.safetensors")
    assert digests["model config"] == sha256_of(folder / "config.json")
    assert len(digests) == 6


def test_parts_with_a_config_of_their_own_are_read_from_it_and_the_unets_have_the_released_sizes(
    folder: Path,
) -> None:
    split_configs(folder)
    found = find_files(folder)
    assert found.sizes == ModelSizes.model_validate(tiny_config())
    assert {"vae config", "image_encoder config", "model config"} < found.sha256().keys()
    (folder / "config.json").unlink()
    sizes = find_files(folder).sizes
    assert sizes.unet.block_out_channels == (320, 640, 1280, 1280)
    assert sizes.vae.block_out_channels == (32, 32, 32, 32)


def test_safetensors_are_taken_before_pickles(folder: Path) -> None:
    (folder / "pose_guider.safetensors").touch()
    assert find_files(folder).checkpoints["pose_guider"].name == "pose_guider.safetensors"


def test_all_missing_files_are_named_at_once(folder: Path) -> None:
    split_configs(folder)
    (folder / "denoising_unet.pth").unlink()
    (folder / "vae" / "config.json").unlink()
    with pytest.raises(MissingWeightsError) as caught:
        find_files(folder)
    message = str(caught.value)
    assert "lacks denoising_unet.safetensors or denoising_unet.pth, vae/config.json" in message
    assert "reference_unet.pth" not in message
    assert message.endswith("the released ones: tpbench weights pull talkingpose")
    with pytest.raises(ConfigError, match="nowhere: no such folder of weights"):
        find_files(folder / "nowhere")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "Invalid JSON"),
        ('{"unet": {"layers": 2}}', r"unet.layers: Extra inputs"),
        ('{"unet": {"block_out_channels": [32, 64]}}', r"unet.block_out_channels"),
        ('{"scheduler": {"beta_schedule": "cosine"}}', r"scheduler.beta_schedule"),
    ],
)
def test_a_config_that_does_not_fit_names_file_and_value(
    folder: Path, text: str, told: str
) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=rf"config\.json: .*{told}"):
        find_files(folder)


def test_pulled_weights_that_are_missing_take_one_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))
    with pytest.raises(MissingWeightsError) as caught:
        find_files(None)
    assert str(caught.value) == (
        "weights 'talkingpose (7 of 7 files)' are missing: run: tpbench weights pull talkingpose; "
        "or name a folder with --weights"
    )


def test_pulled_weights_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))
    # Without published checksums any file will do.
    rows = tuple(row.model_copy(update={"sha256": None}) for row in store.WEIGHTS)
    monkeypatch.setattr(store, "WEIGHTS", rows)
    (tmp_path / "weights").mkdir()
    for name in NAMES:
        sizes = tiny_config()["vae" if "vae" in name else "image_encoder"]
        text = json.dumps(sizes) if name.endswith("-config") else name
        (tmp_path / "weights" / weight(name).filename).write_text(text)

    found = find_files(None)

    assert {network: path.read_text() for network, path in found.checkpoints.items()} == {
        "denoising_unet": "talkingpose-denoising-unet",
        "reference_unet": "talkingpose-reference-unet",
        "pose_guider": "talkingpose-pose-guider",
        "image_encoder": "sd-image-encoder",
        "vae": "sd-vae-ft-mse",
    }
    assert found.sizes.unet == ModelSizes().unet
    assert found.sizes.vae == VaeSizes.model_validate(tiny_config()["vae"])
    assert all(weight(name).sources[0].startswith("https://huggingface.co/") for name in NAMES)


States = dict[str, dict[str, torch.Tensor]]
MOTION = "down_blocks.0.motion_modules.0.temporal_transformer"


@pytest.fixture(scope="module")
def states() -> States:
    """State dicts of the tiny networks."""
    captured: States = {}
    tiny_networks(captured)
    return captured


def refusal(
    network: str, found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> str:
    with pytest.raises(ConfigError) as caught:
        matched(network, found, wanted, label="weights/net.pth")
    message = str(caught.value)
    assert message.startswith("weights/net.pth: ")
    assert "\n" not in message
    return message


class Runs:
    """Unpickles as a call."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("plain", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(
    tmp_path: Path, *, plain: bool
) -> None:
    path, marker = tmp_path / "net.pth", tmp_path / "ran"
    content = {"conv_in.weight": torch.zeros(1), "more": Runs(marker)}
    if plain:
        path.write_bytes(pickle.dumps({"more": Runs(marker)}))
    else:
        torch.save(content, path)
    with pytest.raises(ConfigError, match=r"net.pth: refused, .* could run code"):
        read_tensors(path)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["net.pth", "net.bin", "net.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x02}q\x00."])
def test_a_broken_file_is_one_clear_error(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_tensors(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["net.pth", "net.bin", "net.safetensors"])
def test_tensors_come_back_as_saved_and_not_from_a_truncated_file(
    tmp_path: Path, name: str
) -> None:
    path, tensors = (
        tmp_path / name,
        {"a.weight": torch.randn(30, 40), "a.bias": torch.ones(3).half()},
    )
    (save_file if name.endswith("safetensors") else torch.save)(tensors, path)
    found = read_tensors(path)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[key], tensors[key]) for key in tensors)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ConfigError, match=name):
        read_tensors(path)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"step": 3}, {"state_dict": {}}])
def test_anything_but_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(ConfigError, match="want a dictionary of named tensors"):
        read_tensors(tmp_path / "net.pth")


def test_missing_and_unexpected_keys_are_counted_and_named(states: States) -> None:
    wanted = states["reference_unet"]
    found = {key: tensor for key, tensor in wanted.items() if not key.startswith("mid_block")}
    found |= {"extra.weight": torch.zeros(1)}
    gone = sorted(wanted.keys() - found.keys())
    message = refusal("reference_unet", found, wanted)
    assert f"{len(gone)} keys are missing ({', '.join(gone[:3])}, ...)" in message
    assert "1 keys are unexpected (extra.weight)" in message
    message = refusal("reference_unet", states["denoising_unet"], wanted)  # it has a tail
    assert "4 keys are unexpected (conv_norm_out.bias, conv_norm_out.weight, conv_out" in message
    assert "missing" not in message


def test_a_tensor_of_another_shape_is_named_with_both_shapes(states: States) -> None:
    wanted = states["pose_guider"]
    found = wanted | {"conv_in.weight": torch.zeros(8, 3, 3, 3)}
    message = refusal("pose_guider", found, wanted)
    assert "conv_in.weight has shape (8, 3, 3, 3), the pose_guider wants (16, 3, 3, 3)" in message


def motion(value: float) -> dict[str, torch.Tensor]:
    return {
        f"{MOTION}.norm.weight": torch.ones(32),
        f"{MOTION}.transformer_blocks.0.attention_blocks.0.pos_encoder.pe": torch.ones(1, 24, 32),
        f"{MOTION}.proj_out.weight": torch.full((32, 32), value),
        f"{MOTION}.proj_out.bias": torch.zeros(32),
    }


def test_motion_modules_that_do_nothing_are_left_out_and_told(
    states: States, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = states["denoising_unet"]
    with caplog.at_level(logging.INFO):
        found = matched("denoising_unet", wanted | motion(0.0), wanted, label="net.pth")
    assert found.keys() == wanted.keys()
    assert "net.pth: dropped 4 entries of motion modules" in caplog.text


def test_motion_modules_that_do_something_or_lie_in_another_network_are_refused(
    states: States,
) -> None:
    wanted = states["denoising_unet"]
    message = refusal("denoising_unet", wanted | motion(1e-6), wanted)
    assert f"({MOTION}.proj_out.weight: proj_out is not zero)" in message
    found = wanted | {f"{MOTION}.norm.weight": torch.ones(32)}
    assert "down_blocks.0.motion_modules.0" in refusal("denoising_unet", found, wanted)
    wanted = states["reference_unet"]
    assert "4 keys are unexpected" in refusal("reference_unet", wanted | motion(0.0), wanted)


@pytest.mark.parametrize("ours", ["vision_model.", ""])
@pytest.mark.parametrize("theirs", ["vision_model.", ""])
def test_clip_is_known_under_both_names(states: States, ours: str, theirs: str) -> None:
    def named(prefix: str) -> dict[str, torch.Tensor]:
        return {
            key.replace("vision_model.", prefix): tensor
            for key, tensor in states["image_encoder"].items()
        }

    positions = {f"{theirs}embeddings.position_ids": torch.arange(50)[None]}
    wanted = named(ours)
    found = matched("image_encoder", named(theirs) | positions, wanted, label="clip")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_the_vae_is_known_under_its_old_names(states: States) -> None:
    wanted = states["vae"]
    old = {old_vae_name(key): tensor for key, tensor in wanted.items()}
    assert len(old.keys() - wanted.keys()) == 16
    found = matched("vae", old, wanted, label="vae")
    assert canonical_key("denoising_unet", "mid_block.attentions.0.query.a").endswith("query.a")
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_a_named_pipe_is_no_checkpoint_and_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ConfigError, match="not a readable checkpoint"):
        read_tensors(tmp_path / name)
