"""What a user may set of TalkingPose."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tpbench.baselines.options import Options

DtypeName = Literal["fp32", "fp16", "bf16"]


class TalkingPoseOptions(Options):
    """Options of TalkingPose; the defaults are the released script's."""

    steps: int = Field(default=30, ge=1, le=1000)
    """Steps of denoising for each frame."""

    guidance: float = Field(default=3.5, ge=0)
    """Classifier-free guidance; up to 1 there is none, which is twice as fast."""

    gain: float = Field(default=0.05, ge=0, le=1)
    """Of the feedback from frame to frame; 0 makes each frame by itself."""

    dtype: DtypeName | Literal["auto"] = "auto"
    """What the networks compute in. auto: fp16 on a GPU, fp32 on a CPU."""

    max_clips: int | Literal["auto"] = Field(default="auto", ge=1)
    """Clips made at once, as one batch. auto: 8 on a GPU, 1 on a CPU."""

    compile: bool = False
    """Run the denoising UNet through `torch.compile`: minutes at the start, faster afterwards."""

    reference_quirks: bool = False
    """Do as the released script does, for parity with it: the last latents of a clip go on into the
    next (so results depend on the order of the clips), pictures and poses are stretched to a square
    and frames back, and colours are cut off to whole levels instead of rounded. One clip at a time.
    """

    square_px: int = Field(default=512, ge=8, multiple_of=8)
    """Side of that square. Means nothing without `reference_quirks`."""
