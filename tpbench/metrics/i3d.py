"""The I3D network of FVD: windows of 16 frames, their features, and frames that cost less.

Windows are (n, 16, H, W, 3) uint8 RGB, n may be 0; anything else raises a `ValueError`.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from tpbench.errors import ConfigError
from tpbench.metrics.networks import Batched, Picture, byte_tensor, check_pictures
from tpbench.metrics.temporal import WINDOW_FRAMES
from tpbench.weights import read_checked, resolve

I3D_DIM: Final = 400
"""Length of a feature vector: the logits of Kinetics-400, before the softmax."""
I3D_WEIGHTS: Final = "i3d-torchscript"
"""Their name in `tpbench weights list`."""


logger = logging.getLogger(__name__)
_ALIKE: Final = 1e-5
_SIDE_PX: Final = 224
Way = Callable[[torch.Tensor], torch.Tensor]
"""Takes windows (n, 3, 16, H, W) in [0, 255] and returns features."""


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


Pads = tuple[int, int]
"""Zeros before and behind, along one axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PutOff:
    """Padding that was asked for and not done yet."""

    frames: torch.Tensor
    pads: list[Pads]
    """Along T, H, W."""

    def done(self) -> torch.Tensor:
        """Return the padded tensor."""
        backwards = [n for pad in reversed(self.pads) for n in pad]
        return torch.nn.functional.pad(self.frames, backwards)


class CheaperFrames(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's gap
    """While it is entered, padding, pooling and convolution of 3D tensors cost less on the CPU.

    Networks that come from TensorFlow pad before each pooling and convolution, and torch's pooling
    looks at each of the 27 values of a 3 x 3 x 3 window and notes which was the largest: together
    half of the time of I3D. Here

    - pooling takes one axis after the other, as the largest of a window is the largest along one
      axis, of the largest along the next: the same values in every bit;
    - nothing is padded before something needs it. Pooling pads along the axis that it takes, and a
      convolution pads by itself;
    - a convolution of more than one pixel always runs in oneDNN, which torch leaves aside for small
      ones: equal to rounding, 1e-6 of the size of the features.

    It holds for inference in the calling thread, also inside TorchScript. What is unlike these
    cases (another padding, another device, pooling with padding of its own) is left to torch.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's gap
        # By the tensor that stands for the padded one: of its size, but without memory. An entry
        # lasts as long as that tensor.
        self._put_off: MutableMapping[torch.Tensor, _PutOff] = WeakTensorKeyDictionary()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from importing its compiler, over a second, only to switch it off here."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - as torch has it, like the rest
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """See `TorchDispatchMode`."""
        aten = torch.ops.aten
        if func is aten.size.int:
            return func(*args)
        if not kwargs and _are_frames(args):
            # Arguments that have their default at the end do not come.
            is_pad = func is aten.pad.default or func is aten.constant_pad_nd.default
            if is_pad and _pads_with_zeros(*args[1:]):
                return self._pad_later(*args)
            if func is aten.max_pool3d.default and _pools_plainly(*args[1:]):
                return self._pool(*args)
            if func is aten.conv3d.default and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch's gap
                return self._convolve(*args)
        return func(*self._padded(args), **(kwargs or {}))

    def _pad_later(self, frames: torch.Tensor, ends: Sequence[int], *_: object) -> torch.Tensor:
        # Torch's pairs begin with the last axis.
        pads = [*zip(ends[::2], ends[1::2], strict=True)][::-1]
        pads = [(0, 0)] * (3 - len(pads)) + pads
        sides = [side + sum(pad) for side, pad in zip(frames.shape[2:], pads, strict=True)]
        stand_in = frames.new_zeros(()).expand(*frames.shape[:2], *sides)
        self._put_off[stand_in] = _PutOff(frames=frames, pads=pads)
        return stand_in

    def _take(self, frames: torch.Tensor) -> tuple[torch.Tensor, list[Pads]]:
        """Return frames and the padding that they lack."""
        found = self._put_off.get(frames)
        return (found.frames, found.pads) if found else (frames, [(0, 0)] * 3)

    def _pool(
        self, frames: torch.Tensor, sides: Sequence[int], strides: Sequence[int] = (), *_: object
    ) -> torch.Tensor:
        frames, pads = self._take(frames)
        return pooled(frames, _three(sides), _three(strides or sides), pads)

    def _convolve(
        self,
        frames: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        stride: Sequence[int] = (1,),
        padding: Sequence[int] = (0,),
        dilation: Sequence[int] = (1,),
        groups: int = 1,
    ) -> torch.Tensor:
        lacking, pads = self._take(frames)
        if any(padding) or any(before != behind for before, behind in pads):
            frames = self._padded(frames)
        else:
            frames, padding = lacking, [before for before, _ in pads]
        if max(weight.shape[2:]) == 1 or frames.dtype != torch.float32:
            return torch.conv3d(frames, weight, bias, stride, padding, dilation, groups)
        in_onednn = torch.ops.aten.mkldnn_convolution
        sizes = (_three(padding), _three(stride), _three(dilation))
        convolved: torch.Tensor = in_onednn(frames, weight, bias, *sizes, groups)
        return convolved

    def _padded(self, value: Any) -> Any:  # noqa: ANN401 - arguments of any function
        """Return arguments with the padding done that was put off."""
        if isinstance(value, torch.Tensor):
            found = self._put_off.get(value)
            return found.done() if found else value
        if isinstance(value, (list, tuple)) and self._put_off:
            return type(value)(map(self._padded, value))
        return value


def _are_frames(args: tuple[Any, ...]) -> bool:
    first = args[0] if args else None
    return isinstance(first, torch.Tensor) and first.ndim == 5 and first.device.type == "cpu"


def _pads_with_zeros(ends: Sequence[int], *mode_and_value: object) -> bool:
    zeros = all(given in ("constant", None, 0) for given in mode_and_value)
    return zeros and len(ends) <= 6 and min(ends) >= 0


def _pools_plainly(
    sides: Sequence[int],
    _strides: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil: bool = False,  # noqa: FBT001, FBT002 - torch's order
) -> bool:
    skips = any(step != 1 for step in dilation)
    return max(sides) > 1 and not any(padding) and not skips and not ceil


def _three(values: Sequence[int]) -> list[int]:
    """Torch takes one number for all three axes."""
    return [*values] if len(values) == 3 else [values[0]] * 3


def pooled(
    frames: torch.Tensor,
    sides: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[Pads] = ((0, 0),) * 3,
) -> torch.Tensor:
    """Return the largest values of windows, as `torch.max_pool3d` of frames padded with zeros.

    Args:
        frames: (n, channels, T, H, W).
        sides: of a window along T, H, W.
        strides: between the starts of two windows.
        pads: zeros before and behind, along T, H, W.

    Raises:
        RuntimeError: a window does not fit.
    """
    for axis, (side, stride, pad) in enumerate(zip(sides, strides, pads, strict=True), start=2):
        if any(pad):
            frames = torch.nn.functional.pad(frames, [0, 0] * (4 - axis) + [*pad])
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

    On the CPU cheaper ways are tried with the first windows, and the first one is taken that has
    the features of this call to 1e-5 of the largest: squashed before, and with `CheaperFrames`.
    """

    def __init__(
        self, network: torch.nn.Module, *, device: str = "cpu", batch_size: int = 2
    ) -> None:
        super().__init__(network, device=device, batch_size=batch_size)
        self._way: Way | None = None
        """How the network is run; None before the first window."""

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
            if self._way is None:
                self._way = self._cheapest(clips)
            return self._way(clips)

        return self.run_batches(len(windows), I3D_DIM, logits)

    def _as_published(self, clips: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._network(
            clips.float(), rescale=True, resize=True, return_features=True
        )
        return found

    def _with_cheaper_frames(self, clips: torch.Tensor) -> torch.Tensor:
        with CheaperFrames():
            return self._as_published(clips)

    def _squashed_before(self, clips: torch.Tensor) -> torch.Tensor:
        """Squash frame by frame and scale what is left, not 50 MB in each step."""
        frames = clips.permute(0, 2, 1, 3, 4).flatten(0, 1)
        small = torch.cat([_squashed(frame[None].float()) for frame in frames])
        small = small.mul_(2 / 255).sub_(1)
        small = small.view(len(clips), -1, *small.shape[1:]).permute(0, 2, 1, 3, 4)
        with CheaperFrames():
            found: torch.Tensor = self._network(
                small.contiguous(), rescale=False, resize=False, return_features=True
            )
            return found

    def _cheapest(self, clips: torch.Tensor) -> Way:
        """Return the cheapest way that has the features of the network as published.

        The file is not ours: how it squashes, pads and pools is not known before it is seen.
        """
        if clips.device.type != "cpu":
            return self._as_published
        expected = self._as_published(clips)
        within = _ALIKE * float(expected.abs().max())
        for way in (self._squashed_before, self._with_cheaper_frames):
            try:
                found = way(clips)
            except Exception as error:  # noqa: BLE001 - whatever a network of others raises
                logger.info("I3D does not run %s: %s", way.__name__, error)
                continue
            if found.shape == expected.shape and torch.allclose(
                found, expected, rtol=0, atol=within
            ):
                return way
            logger.info("I3D has other features %s", way.__name__)
        logger.warning("I3D runs as it is published, which is slower: -v says why")
        return self._as_published


def _squashed(frame: torch.Tensor) -> torch.Tensor:
    size = [_SIDE_PX, _SIDE_PX]
    return torch.nn.functional.interpolate(frame, size, mode="bilinear", align_corners=False)


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
