"""LPIPS: how far two pictures are apart in the layers of a network, weighted to human judgement.

    LPIPS(a, b) = sum over layers l of the mean over positions of  w_l . (f_l(a) - f_l(b))^2

with f the features of AlexNet or VGG-16, scaled to unit length over channels, and w_l >= 0 fitted
to human answers (Zhang et al. 2018, version 0.1). Network code and w_l come from package `lpips`;
the backbones are torchvision's files.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tpbench.errors import ConfigError
from tpbench.metrics.networks import check_pictures, exact_inference, read_state, unit_tensor
from tpbench.weights import resolve

Backbone = Literal["alex", "vgg"]
"""alex is what the authors recommend for comparing pictures; vgg is in the TikTok tables."""
FedRange = Literal["signed", "unit"]
"""What the network gets: signed is [-1, 1], as package lpips asks for; unit is [0, 1], the slip of
the TikTok protocol (DisCo), whose numbers need it."""
LPIPS_WEIGHTS: Final[dict[Backbone, str]] = {"alex": "lpips-alexnet", "vgg": "lpips-vgg16"}
"""The backbones' names in `tpbench weights list`."""
LPIPS_MIN_SIZE_PX: Final[dict[Backbone, int]] = {"alex": 31, "vgg": 16}
"""Smaller pictures leave nothing after the last pooling."""


class LpipsDistance:
    """Computes LPIPS of pairs of pictures.

    Args:
        network: as `lpips_network` makes it.
        backbone: which one that is.
        fed: the range of what it gets.
        device: where it runs: "cpu", "cuda", "cuda:1"...
        batch_size: pairs that go through at once; 8 pairs of 512 x 512 take about 1.5 GB. Changes
            the values by rounding only (below 1e-5 of their size).
    """

    def __init__(
        self,
        network: torch.nn.Module,
        *,
        backbone: Backbone = "alex",
        fed: FedRange = "signed",
        device: str = "cpu",
        batch_size: int = 4,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: want 1 or more, got {batch_size}")
        self._device = torch.device(device)
        self._network = network.eval().to(self._device)
        self._min_size_px = LPIPS_MIN_SIZE_PX[backbone]
        self._fed = fed
        self._batch_size = batch_size

    def distances(
        self, real: NDArray[np.uint8], generated: NDArray[np.uint8]
    ) -> NDArray[np.float64]:
        """Return LPIPS of each pair.

        Args:
            real: (n, H, W, 3) uint8 RGB, n may be 0; H and W `LPIPS_MIN_SIZE_PX` or more.
            generated: (n, H, W, 3) uint8 RGB.

        Returns:
            (n,), 0 (equal) or more, seldom above 1; lower is better. Not independent of H and W.

        Raises:
            ValueError: another shape or dtype, or smaller pictures.
        """
        for pictures in (real, generated):
            check_pictures(pictures, axes="n, height, width, 3")
        if real.shape != generated.shape:
            raise ValueError(
                f"pictures: real and generated differ, {real.shape} and {generated.shape}"
            )
        if min(real.shape[1:3]) < self._min_size_px:
            height_px, width_px = real.shape[1:3]
            raise ValueError(
                f"pictures: {width_px}x{height_px} px are too small for this backbone, "
                f"want {self._min_size_px} px or more"
            )
        found = np.empty(len(real), np.float64)
        with exact_inference():
            for start in range(0, len(real), self._batch_size):
                part = slice(start, start + self._batch_size)
                values = self._network(self._input(real[part]), self._input(generated[part]))
                found[part] = values.flatten().cpu().numpy()
        return found

    def _input(self, pictures: NDArray[np.uint8]) -> torch.Tensor:
        unit = unit_tensor(pictures, self._device)
        return unit if self._fed == "unit" else 2.0 * unit - 1.0


def load_lpips(
    backbone: Backbone = "alex",
    *,
    fed: FedRange = "signed",
    device: str = "cpu",
) -> LpipsDistance:
    """Return LPIPS with its published weights; the backbone's must be on this machine.

    Args:
        backbone: which network.
        fed: the range of what it gets.
        device: where it runs.

    Raises:
        MissingWeightsError: the backbone's weights are not there; says what to type.
        ConfigError: the file doesn't fit the network.
    """
    path = resolve(LPIPS_WEIGHTS[backbone])
    state = read_state(path)
    try:
        network = lpips_network(backbone, state)
    except (KeyError, RuntimeError) as error:
        raise ConfigError(
            f"{path}: holds no weights of torchvision's network for LPIPS '{backbone}'"
        ) from error
    return LpipsDistance(network, backbone=backbone, fed=fed, device=device)


def lpips_network(backbone: Backbone, state: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """Return package lpips' own network with the backbone weights given and its own linear heads.

    Args:
        backbone: which network.
        state: the tensors of torchvision's AlexNet or VGG-16, by name; only `features.*` is used.

    Raises:
        KeyError: one is missing.
        RuntimeError: a shape doesn't fit.
    """
    import lpips

    heads = read_state(Path(lpips.__file__).parent / "weights" / "v0.1" / f"{backbone}.pth")
    with warnings.catch_warnings(), torch.device("meta"):
        # The package still says pretrained=False to torchvision.
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
        # On "meta" nothing is drawn at random, and what isn't loaded below can't be computed with.
        network: torch.nn.Module = lpips.LPIPS(
            net=backbone, pretrained=False, pnet_rand=True, verbose=False
        )
    scaling_layer = network.get_submodule("scaling_layer")
    constants = dict(scaling_layer.named_buffers(prefix="scaling_layer"))
    tensors = {
        key: _source(key, backbone=state, heads=heads, constants=constants)
        for key in network.state_dict()
    }
    network.load_state_dict(tensors, assign=True)
    return network.requires_grad_(requires_grad=False)


def _source(
    key: str,
    *,
    backbone: Mapping[str, torch.Tensor],
    heads: Mapping[str, torch.Tensor],
    constants: Mapping[str, torch.Tensor],
) -> torch.Tensor:
    """Return the tensor for a key of package lpips.

    `net.slice3.6.weight` is torchvision's `features.6.weight`; `lins.2.` is the same as `lin2.`.
    """
    if key in constants:
        return constants[key]
    if key.startswith("net."):
        return backbone["features." + key.split(".", 2)[2]]
    return heads[key.replace("lins.", "lin", 1)]
