from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.baselines.talkingpose.tiny import tiny_config
from tpbench.baselines.talkingpose.checkpoints import find_files
from tpbench.baselines.talkingpose.settings import ModelSizes, VaeSizes
from tpbench.errors import ConfigError, MissingWeightsError
from tpbench.files import sha256_of
from tpbench.weights import store, weight

if TYPE_CHECKING:
    from pathlib import Path

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


def test_parts_with_a_config_of_their_own_are_read_from_it(folder: Path) -> None:
    split_configs(folder)

    found = find_files(folder)

    assert found.sizes == ModelSizes.model_validate(tiny_config())
    assert {"vae config", "image_encoder config", "model config"} < found.sha256().keys()


def test_without_a_config_the_unets_have_the_released_sizes(folder: Path) -> None:
    split_configs(folder)
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
    assert "tpbench weights pull talkingpose-denoising-unet" in message


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: no such folder of weights"):
        find_files(tmp_path / "nowhere")


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


def test_pulled_weights_that_are_missing_are_all_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))

    with pytest.raises(MissingWeightsError) as caught:
        find_files(None)

    message = str(caught.value)
    assert f"run: tpbench weights pull {' '.join(NAMES)}" in message
    assert "--weights" in message


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


def test_every_file_has_a_row_with_url_and_licence() -> None:
    for name in NAMES:
        row = weight(name)
        assert row.licence
        assert row.sources[0].startswith("https://huggingface.co/")
