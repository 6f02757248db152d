"""The I3D network of FVD: windows of 16 frames, their features, and a pooling that costs less.

Windows are (n, 16, H, W, 3) uint8 RGB, n may be 0; anything else raises a `ValueError`.
"""

from __future__ import annotations

import io
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

from tpbench.errors import ConfigError
from tpbench.metrics.networks import Batched, Picture, byte_tensor, check_pictures
from tpbench.metrics.temporal import WINDOW_FRAMES
from tpbench.weights import read_checked, resolve

I3D_DIM: Final = 400
"""Length of a feature vector: the logits of Kinetics-400, before the softmax."""
I3D_WEIGHTS: Final = "i3d-torchscript"
"""Their name in `tpbench weights list`."""


class WindowStream:
    """Cuts a stream of frames into windows of 16, holding one window at most.

    Windows start at frames 0, stride, 2 stride... A clip's last frames that fill no window are left
    out (as StyleGAN-V leaves out videos that are too short): padding them would show the network a
    freeze that is not in the clip.

    Args:
        stride: frames between the starts of two windows; below 16 they overlap.
    """

    def __init__(self, *, stride: int) -> None:
        self._stride = stride
        self._frames: deque[Picture] = deque(maxlen=WINDOW_FRAMES)
        self._n_frames = 0

    def push(self, image: Picture) -> Picture | None:
        """Add the next frame, and return the window that it completes, if any.

        Args:
            image: (H, W, 3) uint8 RGB, or float32 of the same scale. Held without copying until its
                windows are complete: don't write into it.

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


class SeparablePooling(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's gap
    """While it is entered, max pooling of 3D tensors on the CPU takes one axis after the other.

    The largest of a 3 x 3 x 3 window is the largest along one axis, of the largest along the next:
    the values are the same, bit by bit. Torch's own pooling looks at all 27 values for each output,
    notes which was the largest, and takes two fifths of the time of I3D. Only the calling thread is
    affected, also inside TorchScript; pooling that pads or skips by itself is left to torch.
    """

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - as torch has it, like the rest
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """See `TorchDispatchMode`."""
        if func is torch.ops.aten.max_pool3d.default and not kwargs:
            frames, sides = args[:2]
            strides = args[2] if len(args) > 2 and args[2] else sides
            plain = _is_plain(*args[3:]) and max(sides) > 1 and frames.ndim == 5
            if plain and frames.device.type == "cpu":
                return pooled(frames, _three(sides), _three(strides))
        return func(*args, **(kwargs or {}))


def _is_plain(
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil: bool = False,  # noqa: FBT001, FBT002 - torch's order
) -> bool:
    return not any(padding) and all(step == 1 for step in dilation) and not ceil


def _three(values: Sequence[int]) -> Sequence[int]:
    return values if len(values) == 3 else [values[0]] * 3


def pooled(frames: torch.Tensor, sides: Sequence[int], strides: Sequence[int]) -> torch.Tensor:
    """Return the largest values of windows, as `torch.max_pool3d` without padding.

    Args:
        frames: (n, channels, T, H, W).
        sides: of a window along T, H, W.
        strides: between the starts of two windows.
    """
    for axis, (side, stride) in enumerate(zip(sides, strides, strict=True), start=2):
        n = (frames.shape[axis] - side) // stride + 1
        if n < 1:
            raise RuntimeError(f"no window of {side} fits into {tuple(frames.shape)}")
        every = (slice(None),) * axis
        parts = [
            frames[(*every, slice(start, start + (n - 1) * stride + 1, stride))]
            for start in range(side)
        ]
        frames = torch.maximum(parts[0], parts[1]) if side > 1 else parts[0]
        for part in parts[2:]:
            torch.maximum(frames, part, out=frames)
    return frames


class I3DFeatures(Batched):
    """Computes the feature vectors of FVD from windows of frames.

    The network is called as StyleGAN-V calls it, `network(x, rescale=True, resize=True,
    return_features=True)` with x (n, 3, 16, H, W) in [0, 255]: it scales to [-1, 1] and squashes to
    224 x 224 by itself. One window of 512 x 512 is 50 MB before that.
    """

    def __init__(
        self, network: torch.nn.Module, *, device: str = "cpu", batch_size: int = 2
    ) -> None:
        super().__init__(network, device=device, batch_size=batch_size)

    def features(self, windows: Picture) -> NDArray[np.float32]:
        """Return the feature vectors of windows.

        Args:
            windows: (n, 16, H, W, 3) uint8 RGB, n may be 0, any H and W; or float32 of the same
                scale, which need not be whole levels, nor within 0 to 255. The network accepts
                other lengths above 9, too, but their features differ.

        Returns:
            (n, 400) float32, any real numbers.

        Raises:
            ValueError: another shape or dtype.
            RuntimeError: the network returned another shape.
        """
        check_pictures(windows, axes="n, frames, height, width, 3", unrounded=True)

        def logits(part: slice) -> torch.Tensor:
            clips = byte_tensor(windows[part], self._device).permute(0, 4, 1, 2, 3)
            with SeparablePooling():  # type: ignore[no-untyped-call]  # torch's gap
                found: torch.Tensor = self._network(
                    clips.contiguous().float(), rescale=True, resize=True, return_features=True
                )
            return found

        return self.run_batches(len(windows), I3D_DIM, logits)


def load_i3d(*, device: str = "cpu") -> I3DFeatures:
    """Return the feature extractor with its published weights, which must be on this machine.

    The file is a TorchScript program. It runs in torch's interpreter, which unpickles no Python
    objects, and only if its checksum is the published one.

    Raises:
        MissingWeightsError: the weights are missing; the message says what to type.
        ConfigError: the file is no TorchScript.
    """
    # A TorchScript file is code: the bytes that are run are those whose checksum was verified.
    data = read_checked(I3D_WEIGHTS)
    try:
        with warnings.catch_warnings():
            # Torch prefers exported programs; these weights are published as TorchScript.
            warnings.simplefilter("ignore", FutureWarning)
            network: torch.nn.Module = torch.jit.load(  # type: ignore[no-untyped-call]  # its gap
                io.BytesIO(data), map_location=device
            )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"{resolve(I3D_WEIGHTS)}: is no TorchScript module that can be read"
        ) from error
    return I3DFeatures(network, device=device)
