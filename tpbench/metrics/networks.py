"""Networks that metrics use, loaded from safe weight files: Inception and LPIPS.

    LPIPS(a, b) = sum over layers l of the mean over positions of  w_l . (f_l(a) - f_l(b))^2

with f the features of AlexNet or VGG-16, scaled to unit length over channels, and w_l >= 0 fitted
to human judgements (Zhang et al. 2018, version 0.1). Network code and w_l come from package
`lpips`; the backbones are torchvision's files.

Images are (n, H, W, 3) uint8 RGB, n may be 0; anything else raises a `ValueError`.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from tpbench.errors import ConfigError
from tpbench.weights import resolve

Picture = NDArray[np.uint8] | NDArray[np.float32]


class _ExactConvolutions:
    """cuDNN's process-wide flags, which are set while any thread needs them."""

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
    """Run networks without gradients, in full float32 and deterministically.

    Several threads may use it at once.
    """
    _EXACT.enter()
    try:
        with torch.inference_mode():
            yield
    finally:
        _EXACT.leave()


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Load the tensors of a model file onto the CPU, without executing code from it.

    Raises:
        ConfigError: the file can't be read or holds anything but named tensors.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(f"{path}: is no model file that can be read ({reason})") from error
    if not isinstance(state, dict) or not all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        raise ConfigError(f"{path}: want named tensors, got {type(state).__name__}")
    return cast("dict[str, torch.Tensor]", state)


def check_pictures(pictures: Picture, *, axes: str, unrounded: bool = False) -> None:
    """Check that images are uint8 RGB.

    Args:
        pictures: (..., height, width, 3).
        axes: names of all axes, as in "n, height, width, 3".
        unrounded: whether float32 images are accepted, too.

    Raises:
        ValueError: another dtype or shape, or images without a pixel.
    """
    wanted = (np.uint8, np.float32) if unrounded else (np.uint8,)
    if (
        pictures.dtype not in wanted
        or pictures.ndim != axes.count(",") + 1
        or pictures.shape[-1] != 3
        or 0 in pictures.shape[1:]
    ):
        raise ValueError(
            f"pictures: want ({axes}) uint8 RGB, got {pictures.shape} {pictures.dtype}"
        )


def unit_tensor(pictures: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Return images (n, H, W, 3) as (n, 3, H, W) float32 in [0, 1] on the device.

    The same numbers as torchvision's `ToTensor`.
    """
    return byte_tensor(pictures, device).permute(0, 3, 1, 2).contiguous().float().div(255.0)


def byte_tensor(pictures: Picture, device: torch.device) -> torch.Tensor:
    """Copy images to the device unconverted: bytes take a quarter of the memory of float32."""
    # Torch accepts no array with negative strides, and warns about read-only ones.
    return torch.from_numpy(np.array(pictures, order="C")).to(device)


INCEPTION_DIM: Final = 2048
"""Length of a feature vector: the last average pooling ("pool3")."""
INCEPTION_WEIGHTS: Final = "fid-inception"
"""Their name in `tpbench weights list`."""


class Batched:
    """A network on a device, run in small batches.

    Args:
        network: the network.
        device: "cpu", "cuda", "cuda:1"...
        batch_size: inputs that are run at once; changes values by rounding only (below 1e-5 of
            their size).
    """

    def __init__(
        self, network: torch.nn.Module, *, device: str = "cpu", batch_size: int = 16
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: want 1 or more, got {batch_size}")
        self._device = torch.device(device)
        self._network = network.eval().to(self._device)
        self._batch_size = batch_size

    def run_batches(
        self, n: int, dim: int, compute: Callable[[slice], torch.Tensor]
    ) -> NDArray[np.float32]:
        """Return the results of `compute` for all parts of the n inputs, (n, dim) float32."""
        found = np.empty((n, dim), np.float32)
        with exact_inference():
            for start in range(0, n, self._batch_size):
                part = slice(start, min(start + self._batch_size, n))
                values = compute(part)
                if values.shape != (part.stop - start, dim):
                    raise RuntimeError(
                        f"the network returned {tuple(values.shape)}, not (n, {dim})"
                    )
                found[part] = values.cpu().numpy()
        return found


class InceptionFeatures(Batched):
    """Computes the feature vectors of pytorch-fid from images.

    x / 255, bilinear resize to 299 x 299 without antialiasing (`align_corners=False`), 2 x - 1, the
    Inception network of 2015-12-05 with its patched pooling, global average. All of it is package
    pytorch-fid's own code; the network is built by `inception_network`.
    """

    def features(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the feature vectors of images of any size, (n, 2048) float32, 0 or more."""
        check_pictures(pictures, axes="n, height, width, 3")

        def pooled(part: slice) -> torch.Tensor:
            found: torch.Tensor = self._network(unit_tensor(pictures[part], self._device))[0]
            return found.flatten(1)

        return self.run_batches(len(pictures), INCEPTION_DIM, pooled)


def load_inception(*, device: str = "cpu") -> InceptionFeatures:
    """Return the feature extractor with its published weights, which must be on this machine.

    Raises:
        MissingWeightsError: the weights are missing; the message says what to type.
        ConfigError: the file doesn't fit the network.
    """
    path = resolve(INCEPTION_WEIGHTS)
    state = read_state(path)
    try:
        network = inception_network(state)
    except RuntimeError as error:
        raise ConfigError(f"{path}: holds no weights of pytorch-fid's Inception") from error
    return InceptionFeatures(network, device=device)


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

    # The package can build its network only through this download, so it gets our tensors instead.
    # Its random initialisation before that must not advance the caller's generator.
    download = inception.load_state_dict_from_url
    inception.load_state_dict_from_url = given
    try:
        with torch.random.fork_rng(devices=[]):
            network: torch.nn.Module = inception.InceptionV3()
    finally:
        inception.load_state_dict_from_url = download
    return network


Backbone = Literal["alex", "vgg"]
"""The authors recommend alex for comparing images; the TikTok tables use vgg."""
FedRange = Literal["signed", "unit"]
"""Input range of the network: signed is [-1, 1], as package lpips requires; unit is [0, 1], an
error of the TikTok protocol (DisCo), whose numbers depend on it."""
LPIPS_WEIGHTS: Final[dict[Backbone, str]] = {"alex": "lpips-alexnet", "vgg": "lpips-vgg16"}
"""The backbones' names in `tpbench weights list`."""
LPIPS_MIN_SIZE_PX: Final[dict[Backbone, int]] = {"alex": 31, "vgg": 16}
"""Smaller images are empty after the last pooling."""


class LpipsDistance(Batched):
    """Computes LPIPS of pairs of images.

    Args:
        network: as built by `lpips_network`.
        backbone: that of the network.
        fed: range of its inputs.
        device: where it runs.
        batch_size: pairs that are run at once; 8 pairs of 512 x 512 take about 1.5 GB.
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
        super().__init__(network, device=device, batch_size=batch_size)
        self._min_size_px = LPIPS_MIN_SIZE_PX[backbone]
        self._fed = fed

    def distances(
        self, real: NDArray[np.uint8], generated: NDArray[np.uint8]
    ) -> NDArray[np.float64]:
        """Return LPIPS of each pair.

        Args:
            real: (n, H, W, 3) uint8 RGB, n may be 0; H and W `LPIPS_MIN_SIZE_PX` or more.
            generated: (n, H, W, 3) uint8 RGB.

        Returns:
            (n,), 0 (equal) or more, seldom above 1; lower is better. Depends on H and W.

        Raises:
            ValueError: another shape or dtype, or smaller images.
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

        def values(part: slice) -> torch.Tensor:
            inputs = (unit_tensor(side[part], self._device) for side in (real, generated))
            if self._fed == "signed":
                inputs = (2.0 * unit - 1.0 for unit in inputs)
            found: torch.Tensor = self._network(*inputs)
            return found.flatten(1)

        return self.run_batches(len(real), 1, values)[:, 0].astype(np.float64)


def load_lpips(
    backbone: Backbone = "alex", *, fed: FedRange = "signed", device: str = "cpu"
) -> LpipsDistance:
    """Return LPIPS with its published weights; the backbone's must be on this machine.

    Raises:
        MissingWeightsError: the backbone's weights are missing; the message says what to type.
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

    Of the tensors of torchvision's AlexNet or VGG-16, `state`, only `features.*` is used.

    Raises:
        KeyError: one is missing.
        RuntimeError: a shape doesn't fit.
    """
    import lpips

    heads = read_state(Path(lpips.__file__).parent / "weights" / "v0.1" / f"{backbone}.pth")
    with warnings.catch_warnings(), torch.device("meta"):
        # The package still passes pretrained=False to torchvision.
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
        # On "meta" nothing is initialised at random, and tensors not loaded below are unusable.
        network: torch.nn.Module = lpips.LPIPS(
            net=backbone, pretrained=False, pnet_rand=True, verbose=False
        )
    scaling_layer = network.get_submodule("scaling_layer")
    constants = dict(scaling_layer.named_buffers(prefix="scaling_layer"))
    # `net.slice3.6.weight` is torchvision's `features.6.weight`; `lins.2.` is the same as `lin2.`.
    tensors = {
        key: constants[key]
        if key in constants
        else state["features." + key.split(".", 2)[2]]
        if key.startswith("net.")
        else heads[key.replace("lins.", "lin", 1)]
        for key in network.state_dict()
    }
    network.load_state_dict(tensors, assign=True)
    return network.requires_grad_(requires_grad=False)
