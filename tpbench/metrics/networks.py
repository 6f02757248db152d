"""What the metrics with a network share: pictures in, batches through, the same numbers each time.

float32 without TensorFloat-32 or autotuning: an NVIDIA card would otherwise keep 10 bits of the
mantissa in convolutions, and choose its algorithms by a race.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import torch

from tpbench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


class _ExactConvolutions:
    """cuDNN's flags, which are the whole process's: set while any thread needs them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0
        self._flags = ExitStack()

    def enter(self) -> None:
        with self._lock:
            if self._n_inside == 0:
                self._flags.enter_context(
                    torch.backends.cudnn.flags(
                        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
                    )
                )
            self._n_inside += 1

    def leave(self) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                self._flags.close()


_EXACT: Final = _ExactConvolutions()


@contextmanager
def exact_inference() -> Iterator[None]:
    """Run networks without gradients and with full float32, the same way each time.

    Threads may be in it at once.
    """
    _EXACT.enter()
    try:
        with torch.inference_mode():
            yield
    finally:
        _EXACT.leave()


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a model file, onto the CPU, without running anything in it.

    Raises:
        ConfigError: the file can't be read or holds anything else than named tensors.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        msg = f"{path}: is no model file that can be read ({reason})"
        raise ConfigError(msg) from error
    if not isinstance(state, dict) or not all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        msg = f"{path}: want named tensors, got {type(state).__name__}"
        raise ConfigError(msg)
    return cast("dict[str, torch.Tensor]", state)


def check_pictures(
    pictures: NDArray[np.uint8] | NDArray[np.float32], *, axes: str, unrounded: bool = False
) -> None:
    """Make sure of uint8 RGB pictures.

    Args:
        pictures: (..., height, width, 3).
        axes: names of all axes, as in "n, height, width, 3".
        unrounded: whether float32 pictures will do, too.

    Raises:
        ValueError: another dtype or shape, or pictures without a pixel.
    """
    wanted = (np.uint8, np.float32) if unrounded else (np.uint8,)
    if (
        pictures.dtype not in wanted
        or pictures.ndim != axes.count(",") + 1
        or pictures.shape[-1] != 3
        or 0 in pictures.shape[1:]
    ):
        msg = f"pictures: want ({axes}) uint8 RGB, got {pictures.shape} {pictures.dtype}"
        raise ValueError(msg)


def unit_tensor(pictures: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Return pictures (n, H, W, 3) as (n, 3, H, W) float32 in [0, 1] on the device.

    The same numbers as torchvision's `ToTensor`.
    """
    return byte_tensor(pictures, device).permute(0, 3, 1, 2).contiguous().float().div(255.0)


def byte_tensor(
    pictures: NDArray[np.uint8] | NDArray[np.float32], device: torch.device
) -> torch.Tensor:
    """Return pictures as they are on the device: bytes are a quarter of what float32 would be."""
    # Torch takes over no array with negative strides, and complains of read-only ones.
    return torch.from_numpy(np.array(pictures, order="C")).to(device)
