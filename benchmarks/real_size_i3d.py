"""A network of I3D's architecture and size, as TorchScript with the published signature.

Inception-v1, inflated (Carreira and Zisserman 2017): 12 million weights, made up. As in networks
that come from TensorFlow, everything is padded with zeros before it, as "SAME" asks for.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Final

import torch
from torch import nn
from torch.nn import functional

from tests.metrics.random_networks import random_state

_MIXED: Final = (
    (192, (64, 96, 128, 16, 32, 32)),
    (256, (128, 128, 192, 32, 96, 64)),
    (480, (192, 96, 208, 16, 48, 64)),
    (512, (160, 112, 224, 24, 64, 64)),
    (512, (128, 128, 256, 24, 64, 64)),
    (512, (112, 144, 288, 32, 64, 64)),
    (528, (256, 160, 320, 32, 128, 128)),
    (832, (256, 160, 320, 32, 128, 128)),
    (832, (384, 192, 384, 48, 128, 128)),
)
"""Channels that come, and those of the six convolutions of a block."""


def ends_of(length: int, side: int, stride: int) -> list[int]:
    """Return how many zeros come before and behind an axis of this length."""
    rest = length % stride
    lacking = max(side - (stride if rest == 0 else rest), 0)
    return [lacking // 2, lacking - lacking // 2]


def zeros_around(x: torch.Tensor, sides: list[int], strides: list[int]) -> torch.Tensor:
    """Pad as TensorFlow's "SAME": each axis gives ceil(its length / stride) windows."""
    ends = ends_of(x.size(4), sides[2], strides[2])
    ends += ends_of(x.size(3), sides[1], strides[1])
    ends += ends_of(x.size(2), sides[0], strides[0])
    return functional.pad(x, ends)


class Unit(nn.Module):
    """Padding, convolution, batch normalisation, ReLU."""

    def __init__(self, n_in: int, n_out: int, side: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.sides: list[int] = [side] * 3
        self.strides: list[int] = [stride] * 3
        self.conv3d = nn.Conv3d(n_in, n_out, side, stride, bias=False)
        self.bn = nn.BatchNorm3d(n_out, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, `n_out`, T, H, W) over the stride."""
        padded = zeros_around(x, self.sides, self.strides)
        return functional.relu(self.bn(self.conv3d(padded)))


class Pool(nn.Module):
    """Padding and max pooling."""

    def __init__(self, sides: tuple[int, int, int], strides: tuple[int, int, int]) -> None:
        super().__init__()
        self.sides: list[int] = [*sides]
        self.strides: list[int] = [*strides]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x over the strides."""
        padded = zeros_around(x, self.sides, self.strides)
        return functional.max_pool3d(padded, self.sides, self.strides)


class Mixed(nn.Module):
    """An Inception block: four branches side by side."""

    def __init__(self, n_in: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        alone, before_3, of_3, before_5, of_5, pooled = widths
        self.b0 = Unit(n_in, alone)
        self.b1 = nn.Sequential(Unit(n_in, before_3), Unit(before_3, of_3, 3))
        self.b2 = nn.Sequential(Unit(n_in, before_5), Unit(before_5, of_5, 3))
        self.b3 = nn.Sequential(Pool((3, 3, 3), (1, 1, 1)), Unit(n_in, pooled))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the branches, one behind the other along the channels."""
        return torch.cat([self.b0(x), self.b1(x), self.b2(x), self.b3(x)], dim=1)


class I3D(nn.Module):
    """(n, 3, 16, H, W) in [0, 255] to (n, 400)."""

    def __init__(self) -> None:
        super().__init__()
        mixed = [Mixed(n_in, widths) for n_in, widths in _MIXED]
        self.body = nn.Sequential(
            Unit(3, 64, 7, 2),
            Pool((1, 3, 3), (1, 2, 2)),
            Unit(64, 64),
            Unit(64, 192, 3),
            Pool((1, 3, 3), (1, 2, 2)),
            *mixed[:2],
            Pool((3, 3, 3), (2, 2, 2)),
            *mixed[2:7],
            Pool((2, 2, 2), (2, 2, 2)),
            *mixed[7:],
        )
        self.logits = nn.Conv3d(1024, 400, 1)

    def forward(
        self,
        x: torch.Tensor,
        rescale: bool = False,  # noqa: FBT001, FBT002 - the published signature
        resize: bool = False,  # noqa: FBT001, FBT002 - as above
        return_features: bool = False,  # noqa: FBT001, FBT002 - as above
    ) -> torch.Tensor:
        """Return logits, or with `return_features=False` shares."""
        if rescale:
            x = 2 * x / 255 - 1
        if resize:
            n, channels, length = x.size(0), x.size(1), x.size(2)
            frames = x.permute(0, 2, 1, 3, 4).flatten(0, 1)
            frames = functional.interpolate(
                frames, size=[224, 224], mode="bilinear", align_corners=False
            )
            x = frames.view(n, length, channels, 224, 224).permute(0, 2, 1, 3, 4)
        pooled = functional.avg_pool3d(self.body(x), [2, 7, 7], [1, 1, 1])
        logits = self.logits(pooled).squeeze(4).squeeze(3).mean(2)
        return logits if return_features else torch.softmax(logits, dim=1)


def save_i3d(path: Path) -> None:
    """Write the network with made-up weights."""
    network = I3D()
    network.load_state_dict(random_state(network))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch would rather have exported programs
        torch.jit.script(network.eval()).save(str(path))  # type: ignore[no-untyped-call]  # its gap
