"""Features of short clips for FVD: windows of frames, and the I3D network of StyleGAN-V.

I3D variants are not interchangeable: they differ in padding, pooling and batch norm. This is the
TorchScript file that StyleGAN-V published; it equals the TF-Hub network of the FVD paper to 3e-4.
"""

from __future__ import annotations

import io
import warnings
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import torch

from tpbench.errors import ConfigError
from tpbench.metrics.networks import byte_tensor, check_pictures, exact_inference
from tpbench.weights import read_checked, resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
            msg = f"frame {self._n_frames}: {image.shape} after frames of {self._frames[-1].shape}"
            raise ValueError(msg)
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
            msg = f"batch_size: want 1 or more, got {batch_size}"
            raise ValueError(msg)
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
                    msg = f"the I3D network returned {tuple(logits.shape)}, not (n, {self.dim})"
                    raise RuntimeError(msg)
                found[start : start + len(batch)] = logits.cpu().numpy()
        return found


def load_i3d(*, device: str = "cpu", batch_size: int = 2) -> I3DFeatures:
    """Return the feature extractor with its published weights, which must be on this machine.

    The file is a TorchScript program. It runs in torch's interpreter, which unpickles no Python
    objects, and only after its checksum was found to be the published one.

    Args:
        device: where it runs.
        batch_size: windows that go through at once.

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
        msg = f"{resolve(I3D_WEIGHTS)}: is no TorchScript module that can be read"
        raise ConfigError(msg) from error
    return I3DFeatures(network, device=device, batch_size=batch_size)
