"""Made-up weights that two programs can compute each for itself, so that none need be stored."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from tpbench.baselines.talkingpose.checkpoints import canonical_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def made_up_tensor(seed: int, network: str, key: str, shape: Sequence[int]) -> torch.Tensor:
    """Return one float32 tensor of the parity formula.

    Drawn from a standard normal distribution that seed, network and key start; divided by the root
    of its fan-in if it has 2 dimensions or more, `1 + 0.1 x` if it is the weight of a norm, and
    `0.02 x` if it is a bias or another vector.

    Args:
        seed: of the parity case.
        network: its name.
        key: as in the released files.
        shape: of the tensor.
    """
    start = zlib.crc32(f"{seed}/{network}/{key}".encode())
    values = np.random.default_rng(start).standard_normal(tuple(shape))
    if len(shape) >= 2:
        values /= math.sqrt(math.prod(shape[1:]))
    elif key.endswith(".weight"):
        values = 1 + 0.1 * values
    else:
        values *= 0.02
    return torch.from_numpy(values.astype(np.float32))


def made_up_weights(
    seed: int, network: str, wanted: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return all tensors of a network, under the names it has for them.

    Args:
        seed: of the parity case.
        network: its name, one of `NETWORK_NAMES`.
        wanted: the network's own state dict, for names and shapes.
    """
    return {
        own: made_up_tensor(seed, network, canonical_key(network, own), tensor.shape)
        for own, tensor in wanted.items()
    }
