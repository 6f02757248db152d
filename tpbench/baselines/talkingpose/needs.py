"""The options of TalkingPose, and what it lacks on this machine; loads no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from tpbench.baselines.base import Options, OptionValue, parse_options
from tpbench.errors import TPBenchError

PACKAGES: Final = ("diffusers", "transformers", "safetensors")
"""Of the extra [talkingpose]."""
DtypeName = Literal["fp32", "fp16", "bf16"]


class TalkingPoseOptions(Options):
    """Options of TalkingPose; the defaults are the released script's."""

    steps: int = Field(default=30, ge=1, le=1000)
    """Denoising steps for each frame."""
    guidance: float = Field(default=3.5, ge=0)
    """Scale of classifier-free guidance; 1 or less disables it, which is twice as fast."""
    gain: float = Field(default=0.05, ge=0, le=1)
    """Gain of the feedback from frame to frame; 0: frames are independent."""
    dtype: DtypeName | Literal["auto"] = "auto"
    """Dtype of the networks. auto: fp16 on a GPU, fp32 on a CPU."""
    max_clips: int | Literal["auto"] = Field(default="auto", ge=1)
    """Clips generated at once, as one batch. auto: 8 on a GPU, 1 on a CPU."""
    compile: bool = False
    """Run the denoising UNet through `torch.compile`: minutes at the start, faster afterwards."""
    reference_quirks: bool = False
    """Reproduce the released script, for parity: the last latents of a clip are carried into the
    next (so results depend on the order of the clips), images and poses are stretched to a square
    and frames back, and colours are truncated to whole levels. One clip at a time."""
    square_px: int = Field(default=512, ge=8, multiple_of=8)
    """Side of that square; ignored unless `reference_quirks` is set."""


def lacking(
    options: Mapping[str, OptionValue], *, weights_dir: Path | None, device: str
) -> Iterator[str]:
    """Yield what keeps TalkingPose from being built, one line each, except a missing device.

    Args:
        options: the user's.
        weights_dir: the user's folder of weights; None: that of `tpbench weights`.
        device: not looked at: `tpbench.devices` says whether there is one.
    """
    from tpbench.baselines.talkingpose.checkpoints import find_files

    del device
    try:
        parse_options("talkingpose", TalkingPoseOptions, options)
    except TPBenchError as error:
        yield str(error)
    missing = [package for package in PACKAGES if find_spec(package) is None]
    if missing:
        yield f"packages are missing ({', '.join(missing)}): pip install {' '.join(missing)}"
    try:
        find_files(weights_dir)
    except TPBenchError as error:
        yield str(error)
