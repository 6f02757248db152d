"""Sizes and options of TalkingPose; light, so that models can be listed without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tpbench.baselines.base import Options
from tpbench.errors import ConfigError
from tpbench.files import read_bounded

_ModelT = TypeVar("_ModelT", bound=BaseModel)


_MAX_BYTES = 1 << 20


class _Exact(BaseModel):
    """What we write ourselves: an unknown name is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Foreign(BaseModel):
    """What other projects publish: their files say more than we need."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class UNetSizes(_Exact):
    """The denoising and the reference UNet; `UNet2DConditionModel` of diffusers."""

    sample_size: int = 64
    in_channels: int = 4
    out_channels: int = 4
    block_out_channels: tuple[int, int, int, int] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    cross_attention_dim: int = 768
    attention_head_dim: int = 8
    """Heads, not channels of a head: the field's old misnomer."""
    norm_num_groups: int = 32


class PoseGuiderSizes(_Exact):
    """The convolutions that bring a drawn pose to the size of the latents."""

    conditioning_embedding_channels: int = 320
    block_out_channels: tuple[int, int, int, int] = (16, 32, 96, 256)


class VaeSizes(_Foreign):
    """`AutoencoderKL` of diffusers; names as in `vae/config.json`, defaults of sd-vae-ft-mse."""

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",) * 4
    up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",) * 4
    block_out_channels: tuple[int, int, int, int] = (128, 256, 512, 512)
    """Four blocks: the latents are 8 times smaller than the picture."""
    layers_per_block: int = 2
    latent_channels: int = 4
    norm_num_groups: int = 32
    sample_size: int = 256
    act_fn: str = "silu"


class ImageEncoderSizes(_Foreign):
    """CLIP's vision half with projection; names as in `image_encoder/config.json`."""

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    image_size: int = 224
    patch_size: int = 14
    projection_dim: int = 768
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5


class ScheduleSettings(_Exact):
    """DDIM as the released inference runs it: linear betas, though training used scaled_linear."""

    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: Literal["linear", "scaled_linear"] = "linear"
    clip_sample: bool = False
    steps_offset: int = 1
    prediction_type: Literal["v_prediction"] = "v_prediction"
    rescale_betas_zero_snr: bool = True
    timestep_spacing: Literal["trailing"] = "trailing"


class ModelSizes(_Foreign):
    """All of `config.json`; a section that is not there has the released model's values."""

    unet: UNetSizes = UNetSizes()
    pose_guider: PoseGuiderSizes = PoseGuiderSizes()
    vae: VaeSizes = VaeSizes()
    image_encoder: ImageEncoderSizes = ImageEncoderSizes()
    scheduler: ScheduleSettings = ScheduleSettings()


def read_sizes(path: Path, kind: type[_ModelT]) -> _ModelT:
    """Read a JSON file of sizes.

    Raises:
        ConfigError: not JSON, or values that do not fit; names the file and the value.
    """
    try:
        return kind.model_validate_json(read_bounded(path, _MAX_BYTES))
    except (OSError, ValidationError) as error:
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            reason = f"{place}: {first['msg']}" if place else first["msg"]
        else:
            reason = error.strerror or str(error)
        raise ConfigError(f"{path}: {reason}") from error


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
