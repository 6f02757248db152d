"""Feature networks: Inception-v3 of pytorch-fid and I3D, from safe weight files."""

from __future__ import annotations

import io
import threading
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray

from tpbench.errors import ConfigError
from tpbench.weights import read_checked, resolve


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
        raise ConfigError(f"{path}: is no model file that can be read ({reason})") from error
    if not isinstance(state, dict) or not all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        raise ConfigError(f"{path}: want named tensors, got {type(state).__name__}")
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
        raise ValueError(
            f"pictures: want ({axes}) uint8 RGB, got {pictures.shape} {pictures.dtype}"
        )


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
            raise ValueError(f"batch_size: want 1 or more, got {batch_size}")
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


def load_inception(*, device: str = "cpu") -> InceptionFeatures:
    """Return the feature extractor with its published weights, which must be on this machine.

    Args:
        device: where it runs.

    Raises:
        MissingWeightsError: the weights are not there; says what to type.
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


Picture = NDArray[np.uint8] | NDArray[np.float32]

I3D_DIM: Final = 400
"""Length of a feature vector: the logits of Kinetics-400, before the softmax."""
I3D_WEIGHTS: Final = "i3d-torchscript"
"""Their name in `tpbench weights list`."""
WINDOW_FRAMES: Final = 16
"""Frames of a window, and from the start of one to the start of the next."""


class WindowStream:
    """Cuts a stream of frames into windows of 16, holding one window at most.

    Windows start at frames 0, stride, 2 stride... A clip's last frames that fill no window are left
    out (as StyleGAN-V leaves out videos that are too short): padding them would show the network a
    freeze that nobody made.

    Args:
        stride: from the start of one to the start of the next; below 16 they overlap.
    """

    def __init__(self, *, stride: int) -> None:
        self._stride = stride
        self._frames: deque[Picture] = deque(maxlen=WINDOW_FRAMES)
        self._n_frames = 0

    def push(self, image: Picture) -> Picture | None:
        """Take the next frame, and return the window that it completes, if it does.

        Args:
            image: (H, W, 3) uint8 RGB, or float32 of the same scale. Kept until its windows are
                complete, not copied: don't write into it.

        Returns:
            (16, H, W, 3) of the same dtype, or None.

        Raises:
            ValueError: another dtype or shape, or another size than the frames before it.
        """
        check_pictures(image[None], axes="1, height, width, 3", unrounded=True)
        if self._frames and image.shape != self._frames[-1].shape:
            raise ValueError(
                f"frame {self._n_frames}: {image.shape} after frames of {self._frames[-1].shape}"
            )
        self._frames.append(image)
        self._n_frames += 1
        beyond = self._n_frames - WINDOW_FRAMES
        if beyond < 0 or beyond % self._stride:
            return None
        return cast("Picture", np.stack(self._frames))


class I3DFeatures:
    """Turns windows of frames into the feature vectors of FVD.

    The network is called as StyleGAN-V calls it, `network(x, rescale=True, resize=True,
    return_features=True)` with x (n, 3, 16, H, W) in [0, 255]: it scales to [-1, 1] and squashes to
    224 x 224 by itself.

    Args:
        network: a module of that signature, which returns (n, 400).
        device: where it runs: "cpu", "cuda", "cuda:1"...
        batch_size: windows that go through at once; one of 512 x 512 is 50 MB before the network.
            Changes the features by rounding only.
    """

    dim = I3D_DIM

    def __init__(
        self, network: torch.nn.Module, *, device: str = "cpu", batch_size: int = 2
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: want 1 or more, got {batch_size}")
        self._device = torch.device(device)
        self._network = network.eval().to(self._device)
        self._batch_size = batch_size

    def features(self, windows: Picture) -> NDArray[np.float32]:
        """Return the feature vectors of windows.

        Args:
            windows: (n, 16, H, W, 3) uint8 RGB, n may be 0, any H and W; or float32 of the same
                scale, which need not be whole levels, nor within 0 to 255. The network takes other
                lengths above 9 too; their features are others.

        Returns:
            (n, 400) float32, any real numbers.

        Raises:
            ValueError: another shape or dtype.
            RuntimeError: the network returned another shape.
        """
        check_pictures(windows, axes="n, frames, height, width, 3", unrounded=True)
        found = np.empty((len(windows), self.dim), np.float32)
        with exact_inference():
            for start in range(0, len(windows), self._batch_size):
                batch = byte_tensor(windows[start : start + self._batch_size], self._device)
                clips = batch.permute(0, 4, 1, 2, 3).contiguous().float()
                logits = self._network(clips, rescale=True, resize=True, return_features=True)
                if logits.shape != (len(batch), self.dim):
                    raise RuntimeError(
                        f"the I3D network returned {tuple(logits.shape)}, not (n, {self.dim})"
                    )
                found[start : start + len(batch)] = logits.cpu().numpy()
        return found


def load_i3d(*, device: str = "cpu") -> I3DFeatures:
    """Return the feature extractor with its published weights, which must be on this machine.

    The file is a TorchScript program. It runs in torch's interpreter, which unpickles no Python
    objects, and only after its checksum was found to be the published one.

    Args:
        device: where it runs.

    Raises:
        MissingWeightsError: the weights are not there; says what to type.
        ConfigError: the file is no TorchScript.
    """
    # A TorchScript file is code: what is run are the bytes that were held against the checksum.
    data = read_checked(I3D_WEIGHTS)
    try:
        with warnings.catch_warnings():
            # Torch would rather have exported programs; these weights are published as TorchScript.
            warnings.simplefilter("ignore", FutureWarning)
            network: torch.nn.Module = torch.jit.load(  # type: ignore[no-untyped-call]  # its gap
                io.BytesIO(data), map_location=device
            )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"{resolve(I3D_WEIGHTS)}: is no TorchScript module that can be read"
        ) from error
    return I3DFeatures(network, device=device)
