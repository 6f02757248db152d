"""Loading of checkpoints, with a check that their tensors match the network.

No file that could run code is loaded, and no key is ignored silently: with a checkpoint that covers
only part of a network, frames would look nearly right.
"""

from __future__ import annotations

import logging
import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import torch
from pydantic import BaseModel, ValidationError

from tpbench.baselines.talkingpose.networks import (
    NETWORK_NAMES,
    ImageEncoderSizes,
    ModelSizes,
    NetworkName,
    VaeSizes,
    library,
)
from tpbench.canonical import first_problem
from tpbench.errors import ConfigError, MissingWeightsError
from tpbench.files import read_bounded, require_regular, sha256_of
from tpbench.weights import pull_command, resolve, state

logger = logging.getLogger(__name__)

Tensors = Mapping[str, torch.Tensor]
_ModelT = TypeVar("_ModelT", bound=BaseModel)

_STEMS: Final[Mapping[NetworkName, tuple[str, ...]]] = {
    "denoising_unet": ("denoising_unet.safetensors", "denoising_unet.pth"),
    "reference_unet": ("reference_unet.safetensors", "reference_unet.pth"),
    "pose_guider": ("pose_guider.safetensors", "pose_guider.pth"),
    "image_encoder": ("image_encoder/model.safetensors", "image_encoder/pytorch_model.bin"),
    "vae": ("vae/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.bin"),
}
"""File names in a folder of weights; of each network, the first existing one is used."""
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
RELEASED: Final = (*_PULLED.values(), *_PULLED_CONFIGS.values())
"""The released files, as `tpbench weights` names them."""
_CONFIG_KINDS: Final[Mapping[str, type[BaseModel]]] = {
    "image_encoder": ImageEncoderSizes,
    "vae": VaeSizes,
}
_MAX_CONFIG_BYTES: Final = 1 << 20

_MOTION_MODULE: Final = re.compile(r".*\.motion_modules\.\d+\b")
_MAX_KEYS_SHOWN: Final = 3
_CLIP_PREFIX: Final = "vision_model."
_OLD_VAE_ATTENTION: Final = re.compile(r"(mid_block\.attentions\.0\.)(query|key|value|proj_attn)\.")
_NEW_VAE_ATTENTION: Final = {
    "query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """The files of one model, all of which exist."""

    checkpoints: Mapping[NetworkName, Path]
    sizes: ModelSizes
    configs: Mapping[str, Path]
    """The files with the sizes, by the network they describe."""

    def sha256(self) -> dict[str, str]:
        """Return the checksum of each file, by its role. Reads all files: gigabytes."""
        files: list[tuple[str, Path]] = [*self.checkpoints.items()]
        files += [(f"{part} config", path) for part, path in self.configs.items()]
        return {part: sha256_of(path) for part, path in files}


def read_sizes(path: Path, kind: type[_ModelT]) -> _ModelT:
    """Read a JSON file of sizes.

    Raises:
        ConfigError: not JSON, or invalid values; names the file and the value.
    """
    try:
        return kind.model_validate_json(read_bounded(path, _MAX_CONFIG_BYTES))
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_problem(error).removeprefix(': ')}") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error


def find_files(weights_dir: Path | None) -> ModelFiles:
    """Find all files of the model before any is read.

    Args:
        weights_dir: the user's folder; None: that of `tpbench weights`.

    Raises:
        MissingWeightsError: some are missing; names them and the command to run.
        ConfigError: no such folder, or an invalid config.json.
    """
    return _pulled_files() if weights_dir is None else _files_in(weights_dir)


def _pulled_files() -> ModelFiles:
    missing = [name for name in RELEASED if state(name).status == "missing"]
    if missing:
        how = f"run: {pull_command(missing)}; or name a folder with --weights"
        raise MissingWeightsError(f"talkingpose ({len(missing)} of {len(RELEASED)} files)", how)
    configs = {part: resolve(name) for part, name in _PULLED_CONFIGS.items()}
    return ModelFiles(
        checkpoints={network: resolve(name) for network, name in _PULLED.items()},
        sizes=_with_parts(ModelSizes(), configs),
        configs=configs,
    )


def _files_in(folder: Path) -> ModelFiles:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder of weights")
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
        how = f"{folder} lacks {', '.join(missing)}; the released ones: {pull_command(RELEASED)}"
        raise MissingWeightsError("talkingpose", how)
    return ModelFiles(
        checkpoints=checkpoints,
        sizes=_with_parts(sizes, own_configs),
        configs=own_configs | ({"model": config} if config.is_file() else {}),
    )


def _with_parts(sizes: ModelSizes, configs: Mapping[str, Path]) -> ModelSizes:
    """Replace the sizes of single networks by those in their own config files."""
    parts = {part: read_sizes(path, _CONFIG_KINDS[part]) for part, path in configs.items()}
    return sizes.model_copy(update=parts)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a checkpoint into memory: safetensors by its suffix, else a file of `torch.save`.

    Raises:
        ConfigError: broken, or not just named tensors; code in a pickle is never run.
    """
    try:
        require_regular(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if path.suffix == ".safetensors":
        try:
            found = library("safetensors.torch").load_file(path)
        except (library("safetensors").SafetensorError, OSError) as error:
            raise _unreadable(path, error) from error
    else:
        try:
            with warnings.catch_warnings():
                # torch warns of plain pickles before it refuses them.
                warnings.filterwarnings("ignore", message="Detected pickle protocol")
                found = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ConfigError(
                f"{path}: refused, as it is broken or a pickle with more than tensors that could "
                "run code; download it again, or save its tensors as safetensors"
            ) from error
        except (OSError, EOFError, RuntimeError, ValueError, KeyError, IndexError) as error:
            raise _unreadable(path, error) from error
    named = isinstance(found, dict) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in found.items()
    )
    if not named:
        raise ConfigError(
            f"{path}: not a checkpoint of one network (want a dictionary of named tensors)"
        )
    return dict(found)


def matched(
    network: str, found: Tensors, wanted: Tensors, *, label: str
) -> dict[str, torch.Tensor]:
    """Return the tensors found in a checkpoint under the names of `wanted`, a state dict.

    Known alternative names are translated (CLIP with and without `vision_model.`, the attention of
    old VAE files). CLIP's position ids and motion modules without effect are dropped.

    Raises:
        ConfigError: keys are missing or unexpected, shapes differ, or a motion module has an
            effect; names the checkpoint by `label`.
    """
    own_names = {canonical_key(network, key): key for key in wanted}
    given = {canonical_key(network, key): tensor for key, tensor in found.items()}
    if network == "image_encoder":
        given.pop(f"{_CLIP_PREFIX}embeddings.position_ids", None)
    if network == "denoising_unet":
        given = _without_motion_modules(given, label)
    missing = sorted(own_names.keys() - given.keys())
    unexpected = sorted(given.keys() - own_names.keys())
    if missing or unexpected:
        parts = [
            f"{len(keys)} keys are {what} ({_first(keys)})"
            for what, keys in (("missing", missing), ("unexpected", unexpected))
            if keys
        ]
        raise ConfigError(
            f"{label}: {' and '.join(parts)}; this is not a checkpoint of the {network}"
        )
    for key, own in own_names.items():
        if given[key].shape != wanted[own].shape:
            shapes = f"{tuple(given[key].shape)}, the {network} wants {tuple(wanted[own].shape)}"
            raise ConfigError(
                f"{label}: {key} has shape {shapes}; a config.json beside it can give other sizes"
            )
    return {own: given[key] for key, own in own_names.items()}


def canonical_key(network: str, key: str) -> str:
    """Return the name of a key in the released files (for the VAE: in current diffusers).

    >>> canonical_key("image_encoder", "post_layernorm.bias")
    'vision_model.post_layernorm.bias'
    >>> canonical_key("vae", "encoder.mid_block.attentions.0.proj_attn.bias")
    'encoder.mid_block.attentions.0.to_out.0.bias'
    """
    if network == "image_encoder":
        projected = key.startswith("visual_projection.")
        return key if projected else f"{_CLIP_PREFIX}{key.removeprefix(_CLIP_PREFIX)}"
    if network == "vae":
        return _OLD_VAE_ATTENTION.sub(lambda old: f"{old[1]}{_NEW_VAE_ATTENTION[old[2]]}.", key)
    return key


def _without_motion_modules(given: Tensors, label: str) -> dict[str, torch.Tensor]:
    """Drop motion modules whose output is multiplied by zero, as they are identities."""
    modules = {key: found[0] for key in given if (found := _MOTION_MODULE.match(key))}
    outputs = [key for key in modules if ".proj_out." in key]
    live = [key for key in outputs if torch.count_nonzero(given[key])]
    live += sorted(set(modules.values()) - {modules[key] for key in outputs})
    if live:
        raise ConfigError(
            f"{label}: contains motion modules with an effect ({_first(live)}: proj_out is not "
            "zero); TalkingPose has none, so this is another model's checkpoint"
        )
    if modules:
        logger.info("%s: dropped %d entries of motion modules without effect", label, len(modules))
    return {key: tensor for key, tensor in given.items() if key not in modules}


def _first(keys: Iterable[str]) -> str:
    listed = list(keys)
    more = ", ..." if len(listed) > _MAX_KEYS_SHOWN else ""
    return ", ".join(listed[:_MAX_KEYS_SHOWN]) + more


def _unreadable(path: Path, error: Exception) -> ConfigError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return ConfigError(f"{path}: not a readable checkpoint ({reason}); download it again")
