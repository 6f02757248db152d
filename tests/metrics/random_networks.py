"""Networks with made-up weights, and a place to find them, so that no test needs real ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tpbench.weights import store, weight


def random_pictures(
    n: int, *, size: tuple[int, int] = (64, 64), seed: int = 0
) -> NDArray[np.uint8]:
    """Return n pictures (n, height, width, 3) with structure at several scales."""
    draw = np.random.default_rng(seed)
    height_px, width_px = size
    coarse = draw.integers(0, 200, (n, -(-height_px // 8), -(-width_px // 8), 3))
    blocks = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height_px, :width_px]
    return (blocks + draw.integers(0, 56, blocks.shape)).astype(np.uint8)


def random_state(module: torch.nn.Module, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return weights for a module that keep signals at one size through many layers."""
    draw = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in module.state_dict().items():
        noise = torch.randn(tensor.shape, generator=draw)
        if tensor.ndim >= 2:
            state[name] = noise * math.sqrt(2 / tensor[0].numel())
        elif name.endswith("running_var"):
            state[name] = torch.exp(0.2 * noise)
        elif name.endswith("num_batches_tracked"):
            state[name] = tensor
        else:
            state[name] = 0.1 * noise + (1.0 if name.endswith("bn.weight") else 0.0)
    return state


def weights_path(name: str, *, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where model file `name` is looked for, in a cache of the test; any file will do."""
    monkeypatch.setenv("TPBENCH_CACHE", str(cache))
    row = weight(name).model_copy(update={"sha256": None, "size_bytes": None})
    monkeypatch.setattr(store, "WEIGHTS", (row,))
    folder = cache / "weights"
    folder.mkdir(parents=True)
    return folder / row.filename


def save_state(state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write weights as torch writes them."""
    torch.save(dict(state), path)
