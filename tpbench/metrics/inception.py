"""Features of pictures for FID and KID: pytorch-fid's Inception, its weights and its resizing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from tpbench.errors import ConfigError
from tpbench.metrics.networks import check_pictures, exact_inference, read_state, unit_tensor
from tpbench.weights import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

INCEPTION_DIM: Final = 2048
"""Length of a feature vector: the last average pooling ("pool3")."""

INCEPTION_WEIGHTS: Final = "fid-inception"
"""Their name in `tpbench weights list`."""


class InceptionFeatures:
    """Turns pictures into the feature vectors of pytorch-fid.

    x / 255, bilinear resize to 299 x 299 without antialiasing (`align_corners=False`), 2 x - 1, the
    Inception network of 2015-12-05 with its patched pooling, global average. All of it is package
    pytorch-fid's own code.

    Args:
        network: as `inception_network` makes it.
        device: where it runs: "cpu", "cuda", "cuda:1"...
        batch_size: pictures that go through at once; changes the features by rounding only (below
            1e-5 of their size).
    """

    dim = INCEPTION_DIM

    def __init__(
        self, network: torch.nn.Module, *, device: str = "cpu", batch_size: int = 16
    ) -> None:
        if batch_size < 1:
            msg = f"batch_size: want 1 or more, got {batch_size}"
            raise ValueError(msg)
        self._device = torch.device(device)
        self._network = network.eval().to(self._device)
        self._batch_size = batch_size

    def features(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the feature vectors of pictures.

        Args:
            pictures: (n, H, W, 3) uint8 RGB, n may be 0, any size.

        Returns:
            (n, 2048) float32, 0 or more.

        Raises:
            ValueError: another shape or dtype.
        """
        check_pictures(pictures, axes="n, height, width, 3")
        found = np.empty((len(pictures), self.dim), np.float32)
        with exact_inference():
            for start in range(0, len(pictures), self._batch_size):
                batch = unit_tensor(pictures[start : start + self._batch_size], self._device)
                pooled = self._network(batch)[0]
                found[start : start + len(batch)] = pooled.flatten(1).cpu().numpy()
        return found


def load_inception(*, device: str = "cpu", batch_size: int = 16) -> InceptionFeatures:
    """Return the feature extractor with its published weights, which must be on this machine.

    Args:
        device: where it runs.
        batch_size: pictures that go through at once.

    Raises:
        MissingWeightsError: the weights are not there; says what to type.
        ConfigError: the file doesn't fit the network.
    """
    path = resolve(INCEPTION_WEIGHTS)
    state = read_state(path)
    try:
        network = inception_network(state)
    except RuntimeError as error:
        msg = f"{path}: holds no weights of pytorch-fid's Inception"
        raise ConfigError(msg) from error
    return InceptionFeatures(network, device=device, batch_size=batch_size)


def inception_network(state: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """Return pytorch-fid's own `InceptionV3` with the weights given.

    Args:
        state: all tensors of pytorch-fid's `fid_inception_v3`, by name.

    Raises:
        RuntimeError: names or shapes don't fit.
    """
    from pytorch_fid import inception

    def given(*_args: Any, **_kwargs: Any) -> Mapping[str, torch.Tensor]:  # noqa: ANN401 - see below
        return state

    # The package can build its network only through this download; it gets our tensors instead.
    # What it draws at random before they are loaded must not move the caller's generator.
    download = inception.load_state_dict_from_url
    inception.load_state_dict_from_url = given
    try:
        with torch.random.fork_rng(devices=[]):
            network: torch.nn.Module = inception.InceptionV3()
    finally:
        inception.load_state_dict_from_url = download
    return network
