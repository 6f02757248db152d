"""Which files hold the model, and where they lie.

Either all come from the folder of `tpbench weights`, or all from a folder of the user's:

    denoising_unet.safetensors or .pth     image_encoder/config.json
    reference_unet.safetensors or .pth     image_encoder/model.safetensors or pytorch_model.bin
    pose_guider.safetensors or .pth        vae/config.json
    config.json (optional)                 vae/diffusion_pytorch_model.safetensors or .bin

Of two endings safetensors is taken. `config.json` gives the networks' sizes in the sections `unet`,
`pose_guider`, `vae`, `image_encoder` and `scheduler`; a section that lacks means the released
model's sizes. With `vae` or `image_encoder` in it, that network needs no `config.json` of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tpbench.baselines.talkingpose.networks import NETWORK_NAMES, NetworkName
from tpbench.baselines.talkingpose.sizes import (
    ImageEncoderSizes,
    ModelSizes,
    VaeSizes,
    read_sizes,
)
from tpbench.errors import ConfigError, MissingWeightsError
from tpbench.files import sha256_of
from tpbench.weights import resolve, state

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import BaseModel

_STEMS: Final[Mapping[NetworkName, tuple[str, ...]]] = {
    "denoising_unet": ("denoising_unet.safetensors", "denoising_unet.pth"),
    "reference_unet": ("reference_unet.safetensors", "reference_unet.pth"),
    "pose_guider": ("pose_guider.safetensors", "pose_guider.pth"),
    "image_encoder": ("image_encoder/model.safetensors", "image_encoder/pytorch_model.bin"),
    "vae": (
        "vae/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.bin",
    ),
}
_PULLED: Final[Mapping[NetworkName, str]] = {
    "denoising_unet": "talkingpose-denoising-unet",
    "reference_unet": "talkingpose-reference-unet",
    "pose_guider": "talkingpose-pose-guider",
    "image_encoder": "sd-image-encoder",
    "vae": "sd-vae-ft-mse",
}
_PULLED_CONFIGS: Final[Mapping[str, str]] = {
    "image_encoder": "sd-image-encoder-config",
    "vae": "sd-vae-ft-mse-config",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """The files of one model, all of which are there."""

    checkpoints: Mapping[NetworkName, Path]
    sizes: ModelSizes

    configs: Mapping[str, Path]
    """The files that the sizes were read from, by the part they describe."""

    def sha256(self) -> dict[str, str]:
        """Return the checksum of each file, by what it is. Reads them all: gigabytes."""
        digests: dict[str, str] = {
            network: sha256_of(path) for network, path in self.checkpoints.items()
        }
        for part, path in self.configs.items():
            digests[f"{part} config"] = sha256_of(path)
        return digests


def find_files(weights_dir: Path | None) -> ModelFiles:
    """Find all files of the model before any is read.

    Args:
        weights_dir: the user's folder; None: that of `tpbench weights`.

    Raises:
        MissingWeightsError: some are not there; names all of them and says what to do.
        ConfigError: no such folder, or a config.json that does not fit.
    """
    return _pulled_files() if weights_dir is None else _files_in(weights_dir)


def _pulled_files() -> ModelFiles:
    names = [*_PULLED.values(), *_PULLED_CONFIGS.values()]
    missing = [name for name in names if state(name).status == "missing"]
    if missing:
        pull = f"run: tpbench weights pull {' '.join(missing)}"
        raise MissingWeightsError(", ".join(missing), f"{pull}; or name a folder with --weights")
    configs = {part: resolve(name) for part, name in _PULLED_CONFIGS.items()}
    return ModelFiles(
        checkpoints={network: resolve(name) for network, name in _PULLED.items()},
        sizes=_sizes(ModelSizes(), configs),
        configs=configs,
    )


def _files_in(folder: Path) -> ModelFiles:
    if not folder.is_dir():
        msg = f"{folder}: no such folder of weights"
        raise ConfigError(msg)
    config = folder / "config.json"
    sizes = read_sizes(config, ModelSizes) if config.is_file() else ModelSizes()
    own_configs = {
        part: folder / part / "config.json"
        for part in _PULLED_CONFIGS
        if part not in sizes.model_fields_set
    }
    checkpoints: dict[NetworkName, Path] = {}
    missing = []
    for network in NETWORK_NAMES:
        found = [name for name in _STEMS[network] if (folder / name).is_file()]
        if found:
            checkpoints[network] = folder / found[0]
        else:
            missing.append(" or ".join(_STEMS[network]))
    missing += [f"{part}/config.json" for part, path in own_configs.items() if not path.is_file()]
    if missing:
        names = " ".join([*_PULLED.values(), *_PULLED_CONFIGS.values()])
        how = (
            f"{folder} lacks {', '.join(missing)}; the released ones: tpbench weights pull {names}"
        )
        model = "talkingpose"
        raise MissingWeightsError(model, how)
    configs = own_configs | ({"model": config} if config.is_file() else {})
    return ModelFiles(checkpoints=checkpoints, sizes=_sizes(sizes, own_configs), configs=configs)


def _sizes(sizes: ModelSizes, configs: Mapping[str, Path]) -> ModelSizes:
    """Fill in what the parts' own files say."""
    kinds: dict[str, type[BaseModel]] = {"vae": VaeSizes, "image_encoder": ImageEncoderSizes}
    parts = {part: read_sizes(path, kinds[part]) for part, path in configs.items()}
    return sizes.model_copy(update=parts)
