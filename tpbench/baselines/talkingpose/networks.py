"""The five networks: their sizes, construction and weights, and the reference attention.

The denoising UNet is diffusers' `UNet2DConditionModel`. It computes the same, frame by frame, as
the released 3-D UNet, whose motion modules are identities in the released checkpoint. The reference
UNet is the same without the last norm and convolution.

The denoising UNet reads the reference through its self-attentions. Every transformer block of the
reference UNet records the input of its self-attention. The block of the same name in the denoising
UNet projects it with its own key and value matrices, once per clip, and appends the result to its
own keys and values. Rows without a prompt (the unconditional half of guidance) attend only to
themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib import import_module
from itertools import pairwise
from typing import Any, Final, Literal, TypeAlias, cast, get_args

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from tpbench.errors import MissingDependencyError

NetworkName = Literal["denoising_unet", "reference_unet", "pose_guider", "image_encoder", "vae"]
NETWORK_NAMES: Final[tuple[NetworkName, ...]] = get_args(NetworkName)

TensorSource: TypeAlias = Callable[
    [NetworkName, Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]
]
"""Takes a network's name and state dict, and returns the checked tensors to load."""
_DOWN_BLOCKS: Final = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
_UP_BLOCKS: Final = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
_SELF_ATTENTION: Final = ".attn1"


def library(name: str) -> Any:  # noqa: ANN401 - a module without types
    """Import a module of the extra [talkingpose].

    Raises:
        MissingDependencyError: it is not installed or can't be imported.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"TalkingPose (package {name})", "pip install diffusers transformers safetensors"
        ) from error


class _Exact(BaseModel):
    """Base class for our own files: unknown names are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Foreign(BaseModel):
    """Base class for files of other projects: unknown names are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class UNetSizes(_Exact):
    """Sizes of the denoising and the reference UNet; `UNet2DConditionModel` of diffusers."""

    sample_size: int = 64
    in_channels: int = 4
    out_channels: int = 4
    block_out_channels: tuple[int, int, int, int] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    cross_attention_dim: int = 768
    attention_head_dim: int = 8
    """The number of heads, in spite of the name, as in diffusers."""
    norm_num_groups: int = 32


class PoseGuiderSizes(_Exact):
    """Sizes of the convolutions that reduce a pose drawing to the size of the latents."""

    conditioning_embedding_channels: int = 320
    block_out_channels: tuple[int, int, int, int] = (16, 32, 96, 256)


class VaeSizes(_Foreign):
    """`AutoencoderKL` of diffusers; names as in `vae/config.json`, defaults of sd-vae-ft-mse."""

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",) * 4
    up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",) * 4
    block_out_channels: tuple[int, int, int, int] = (128, 256, 512, 512)
    """Four blocks: the latents are 8 times smaller than the image."""
    layers_per_block: int = 2
    latent_channels: int = 4
    norm_num_groups: int = 32
    sample_size: int = 256
    act_fn: str = "silu"


class ImageEncoderSizes(_Foreign):
    """CLIP's vision model with projection; names as in `image_encoder/config.json`."""

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
    """DDIM as in the released inference: linear betas, although training used scaled_linear."""

    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: Literal["linear", "scaled_linear"] = "linear"
    clip_sample: bool = False
    steps_offset: int = 1
    prediction_type: Literal["v_prediction"] = "v_prediction"
    rescale_betas_zero_snr: bool = True
    timestep_spacing: Literal["trailing"] = "trailing"


class ModelSizes(_Foreign):
    """The content of `config.json`; missing sections have the released model's values."""

    unet: UNetSizes = UNetSizes()
    pose_guider: PoseGuiderSizes = PoseGuiderSizes()
    vae: VaeSizes = VaeSizes()
    image_encoder: ImageEncoderSizes = ImageEncoderSizes()
    scheduler: ScheduleSettings = ScheduleSettings()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Networks:
    """The networks, on one device, in one dtype, without gradients."""

    denoising_unet: nn.Module
    reference_unet: nn.Module
    pose_guider: nn.Module
    image_encoder: nn.Module
    vae: nn.Module

    @property
    def device(self) -> torch.device:
        """The device they are on."""
        return next(self.pose_guider.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype they compute in."""
        return next(self.pose_guider.parameters()).dtype

    @property
    def parameter_count(self) -> int:
        """Number of parameters of all five networks."""
        networks = (getattr(self, field.name) for field in fields(self))
        return sum(tensor.numel() for network in networks for tensor in network.parameters())


class PoseGuider(nn.Module):
    """Plain convolutions that turn a pose drawing into a summand of the UNet's first feature map.

    Keys are those of the released `pose_guider.pth`.
    """

    def __init__(self, sizes: PoseGuiderSizes) -> None:
        super().__init__()
        widths = sizes.block_out_channels
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for narrow, wide in pairwise(widths):
            self.blocks.append(nn.Conv2d(narrow, narrow, 3, padding=1))
            self.blocks.append(nn.Conv2d(narrow, wide, 3, padding=1, stride=2))
        self.conv_out = nn.Conv2d(widths[-1], sizes.conditioning_embedding_channels, 3, padding=1)

    def forward(self, drawing: torch.Tensor) -> torch.Tensor:
        """Return (B, C, H/8, W/8) for a drawing (B, 3, H, W) in [0, 1]."""
        features = nn.functional.silu(self.conv_in(drawing))
        for block in self.blocks:
            features = nn.functional.silu(block(features))
        return cast("torch.Tensor", self.conv_out(features))


def load_networks(
    sizes: ModelSizes, source: TensorSource, *, device: torch.device, dtype: torch.dtype
) -> Networks:
    """Build all networks and load their weights from `source`, one after the other to save memory.

    Raises:
        MissingDependencyError: diffusers or transformers is not installed.
    """
    filled: dict[str, nn.Module] = {}
    for name in NETWORK_NAMES:
        network = _build(name, sizes)
        own = network.state_dict()
        # `assign`: the network uses these tensors directly, instead of copying them.
        network.load_state_dict(source(name, own), strict=True, assign=True)
        # diffusers' own `to` logs needless warnings whenever the dtype changes.
        nn.Module.to(network, device=device, dtype=dtype)
        filled[name] = network.eval().requires_grad_(requires_grad=False)
    return Networks(**filled)


def _build(name: NetworkName, sizes: ModelSizes) -> nn.Module:
    if name == "image_encoder":
        # Not on "meta": CLIP's position ids are not in its state dict, so they would stay unset.
        transformers = library("transformers")
        config = transformers.CLIPVisionConfig(**sizes.image_encoder.model_dump())
        return cast("nn.Module", transformers.CLIPVisionModelWithProjection(config))
    # On "meta": no random initialisation of weights that are about to be replaced.
    with torch.device("meta"):
        if name == "pose_guider":
            return PoseGuider(sizes.pose_guider)
        diffusers = library("diffusers")
        if name == "vae":
            return cast("nn.Module", diffusers.AutoencoderKL(**sizes.vae.model_dump()))
        unet: nn.Module = diffusers.UNet2DConditionModel(
            **sizes.unet.model_dump(), down_block_types=_DOWN_BLOCKS, up_block_types=_UP_BLOCKS
        )
        if name == "reference_unet":
            unet.register_module("conv_norm_out", None)
            unet.conv_out = nn.Identity()
        return unet


KeysValues: TypeAlias = tuple[torch.Tensor, torch.Tensor]
"""Additional keys and values of one block: (B, heads, tokens, channels per head) each."""


@contextmanager
def recorded_norms(reference_unet: nn.Module) -> Iterator[dict[str, torch.Tensor]]:
    """Record the input of each self-attention while the reference UNet runs in the context.

    Yields:
        Name of the transformer block -> (B, tokens, channels); filled during the run.
    """
    norms: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:  # noqa: ANN401 - torch's type of hooks is loose
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            norms[name] = output

        return hook

    handles = [
        reference_unet.get_submodule(f"{name}.norm1").register_forward_hook(keep(name))
        for name in _blocks(reference_unet)
    ]
    try:
        yield norms
    finally:
        for handle in handles:
            handle.remove()


class ReferenceAttention:
    """Replaces the self-attentions of a denoising UNet by ones that can read a reference."""

    def __init__(self, denoising_unet: nn.Module) -> None:
        self._readers: dict[str, _Reader] = {}
        self._attentions: dict[str, Any] = {}
        for name in _blocks(denoising_unet):
            attention: Any = denoising_unet.get_submodule(f"{name}{_SELF_ATTENTION}")
            self._readers[name] = _Reader()
            self._attentions[name] = attention
            attention.set_processor(self._readers[name])

    def project(self, norms: Mapping[str, torch.Tensor]) -> dict[str, KeysValues]:
        """Project the inputs found by `recorded_norms` to keys and values, by block name.

        Raises:
            KeyError: the UNets have different blocks.
        """
        return {
            name: (
                _by_head(attention, attention.to_k(norms[name])),
                _by_head(attention, attention.to_v(norms[name])),
            )
            for name, attention in self._attentions.items()
        }

    @contextmanager
    def reading(
        self, banks: Sequence[Mapping[str, KeysValues]], *, plain_rows: int
    ) -> Iterator[None]:
        """Let the UNet read references within the context.

        Args:
            banks: one for each of the last rows of the UNet's batch, in order.
            plain_rows: number of rows before them, which read no reference.
        """
        try:
            for name, reader in self._readers.items():
                reader.plain_rows = plain_rows
                own = [bank[name] for bank in banks]
                keys, values = zip(*own, strict=True)
                reader.bank = own[0] if len(own) == 1 else (torch.cat(keys), torch.cat(values))
            yield
        finally:
            for reader in self._readers.values():
                reader.bank = None


class _Reader:
    """Self-attention as in diffusers' own processor, with additional keys and values."""

    def __init__(self) -> None:
        self.bank: KeysValues | None = None
        self.plain_rows = 0

    def __call__(
        self,
        attn: Any,  # noqa: ANN401 - diffusers' Attention, which has no types
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        del encoder_hidden_states, attention_mask, temb  # unused by a self-attention without mask
        query = _by_head(attn, attn.to_q(hidden_states))
        keys = _by_head(attn, attn.to_k(hidden_states))
        values = _by_head(attn, attn.to_v(hidden_states))
        if self.bank is None:
            attended = scaled_dot_product_attention(query, keys, values)
        else:
            plain, rest = slice(self.plain_rows), slice(self.plain_rows, None)
            attended = scaled_dot_product_attention(
                query[rest],
                torch.cat([keys[rest], self.bank[0]], dim=2),
                torch.cat([values[rest], self.bank[1]], dim=2),
            )
            if self.plain_rows:
                alone = scaled_dot_product_attention(query[plain], keys[plain], values[plain])
                attended = torch.cat([alone, attended])
        return cast("torch.Tensor", attn.to_out[0](attended.transpose(1, 2).flatten(2)))


def _blocks(unet: nn.Module) -> list[str]:
    """Return the names of the transformer blocks that have a self-attention."""
    names = [name for name, _ in unet.named_modules() if name.endswith(_SELF_ATTENTION)]
    return [name.removesuffix(_SELF_ATTENTION) for name in names]


def _by_head(attention: Any, tokens: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - as above
    """Reshape (B, tokens, channels) to (B, heads, tokens, channels per head)."""
    return tokens.view(*tokens.shape[:2], attention.heads, -1).transpose(1, 2)
