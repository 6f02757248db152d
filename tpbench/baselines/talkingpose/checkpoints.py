"""Tensors out of files, and the proof that they are the ones a network wants.

Nothing is loaded that could run code, and no key is passed over in silence: a checkpoint that fills
a network only in part makes pictures that look nearly right.
"""

from __future__ import annotations

import logging
import pickle
import re
import warnings
from typing import TYPE_CHECKING, Final

import torch

from tpbench.baselines.talkingpose.libraries import library
from tpbench.errors import ConfigError
from tpbench.files import require_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    Tensors = Mapping[str, torch.Tensor]

logger = logging.getLogger(__name__)

_MOTION_MODULE: Final = re.compile(r".*\.motion_modules\.\d+\b")
_MOTION_OUTPUT: Final = ".proj_out."
_MAX_KEYS_SHOWN: Final = 3

_CLIP_PREFIX: Final = "vision_model."
_CLIP_POSITIONS: Final = "embeddings.position_ids"
_OLD_VAE_ATTENTION: Final = re.compile(r"(mid_block\.attentions\.0\.)(query|key|value|proj_attn)\.")
_NEW_VAE_ATTENTION: Final = {
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a checkpoint into memory: safetensors by its ending, else what `torch.save` wrote.

    Raises:
        ConfigError: broken, or holds anything but named tensors; code in a pickle is never run.
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
                # What plain pickles are told before they are refused.
                warnings.filterwarnings("ignore", message="Detected pickle protocol")
                found = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            msg = (
                f"{path}: refused, it is broken or a pickle that holds more than tensors and could "
                "run code; get it anew from its publisher, or save its tensors as safetensors"
            )
            raise ConfigError(msg) from error
        except (OSError, EOFError, RuntimeError, ValueError, KeyError, IndexError) as error:
            raise _unreadable(path, error) from error
    named = isinstance(found, dict) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in found.items()
    )
    if not named:
        msg = f"{path}: not a checkpoint of one network (want a dictionary of named tensors)"
        raise ConfigError(msg)
    return dict(found)


def matched(
    network: str, found: Tensors, wanted: Tensors, *, label: str
) -> dict[str, torch.Tensor]:
    """Return the tensors under the names that the network has for them.

    Known other names are translated (CLIP with and without `vision_model.`, the attention of old
    VAE files). CLIP's position numbers are left out, and so are motion modules that do nothing.

    Args:
        network: its name, one of `NETWORK_NAMES`.
        found: what the checkpoint holds.
        wanted: the network's own state dict, for names and shapes.
        label: names the checkpoint in errors.

    Raises:
        ConfigError: keys are missing or not expected, shapes differ, or a motion module does
            something.
    """
    own_names = {canonical_key(network, key): key for key in wanted}
    given = {canonical_key(network, key): tensor for key, tensor in found.items()}
    if network == "image_encoder":
        given.pop(f"{_CLIP_PREFIX}{_CLIP_POSITIONS}", None)
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
        msg = f"{label}: {' and '.join(parts)}; this is not a checkpoint of the {network}"
        raise ConfigError(msg)
    for key, own in own_names.items():
        if given[key].shape != wanted[own].shape:
            shapes = f"{tuple(given[key].shape)}, the {network} wants {tuple(wanted[own].shape)}"
            msg = f"{label}: {key} has shape {shapes}; a config.json beside it can give other sizes"
            raise ConfigError(msg)
    return {own: given[key] for key, own in own_names.items()}


def canonical_key(network: str, key: str) -> str:
    """Return the key under which the released files (for the VAE: today's diffusers) have it.

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
    """Leave out motion modules whose output is multiplied by zero; they are identities."""
    modules = {key: found[0] for key in given if (found := _MOTION_MODULE.match(key))}
    outputs = [key for key in modules if _MOTION_OUTPUT in key]
    live = [key for key in outputs if torch.count_nonzero(given[key])]
    live += sorted(set(modules.values()) - {modules[key] for key in outputs})
    if live:
        msg = (
            f"{label}: it holds motion modules that do something ({_first(live)}: proj_out is not "
            "zero); TalkingPose runs without any, this is another model's checkpoint"
        )
        raise ConfigError(msg)
    if modules:
        logger.info(
            "%s: left out %d entries of motion modules that do nothing", label, len(modules)
        )
    return {key: tensor for key, tensor in given.items() if key not in modules}


def _first(keys: Iterable[str]) -> str:
    listed = list(keys)
    more = ", ..." if len(listed) > _MAX_KEYS_SHOWN else ""
    return ", ".join(listed[:_MAX_KEYS_SHOWN]) + more


def _unreadable(path: Path, error: Exception) -> ConfigError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return ConfigError(f"{path}: not a readable checkpoint ({reason}); get the file anew")
