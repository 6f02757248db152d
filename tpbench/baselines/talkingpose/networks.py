"""The five networks, built from their sizes and filled with checked tensors.

The denoising UNet is diffusers' own `UNet2DConditionModel`: the released 3-D one without its motion
modules (which are identities in the released checkpoint) computes the same, frame by frame. The
reference UNet is the same without the last norm and convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from itertools import pairwise
from typing import Any, Final, Literal, TypeAlias, cast, get_args

import torch
from torch import nn

from tpbench.baselines.talkingpose.settings import (
    ImageEncoderSizes,
    ModelSizes,
    PoseGuiderSizes,
    UNetSizes,
)
from tpbench.errors import MissingDependencyError

PACKAGES: Final = ("diffusers", "transformers", "safetensors")


def library(name: str) -> Any:  # noqa: ANN401 - a module without types
    """Import a module of the extra.

    Raises:
        MissingDependencyError: it is not installed, or what is installed can't be imported.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"TalkingPose (package {name})", "pip install 'tpbench[talkingpose]'"
        ) from error


NetworkName = Literal["denoising_unet", "reference_unet", "pose_guider", "image_encoder", "vae"]
NETWORK_NAMES: Final[tuple[NetworkName, ...]] = get_args(NetworkName)

TensorSource: TypeAlias = (
    "Callable[[NetworkName, Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]]"
)
"""Given a network's name and its own state dict, returns the tensors to load, checked."""
_DOWN_BLOCKS: Final = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
_UP_BLOCKS: Final = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3


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
        """Where they are."""
        return next(self.pose_guider.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What they compute in."""
        return next(self.pose_guider.parameters()).dtype

    @property
    def parameter_count(self) -> int:
        """Of all five together."""
        networks = (getattr(self, field.name) for field in fields(self))
        return sum(tensor.numel() for network in networks for tensor in network.parameters())


class PoseGuider(nn.Module):
    """Plain convolutions from a drawn pose to what is added to the UNet's first feature map.

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
    """Build all networks and fill them, one after the other, so that one is in memory twice.

    Args:
        sizes: of the networks.
        source: gives the tensors of each.
        device: where they go.
        dtype: what they are cast to.

    Raises:
        MissingDependencyError: diffusers or transformers is not installed.
    """
    filled: dict[str, nn.Module] = {}
    for name in NETWORK_NAMES:
        network = _build(name, sizes)
        own = network.state_dict()
        # `assign`: the network takes these tensors as they are, in place of its own.
        network.load_state_dict(source(name, own), strict=True, assign=True)
        # diffusers' own `to` warns of nothing whenever the dtype changes.
        nn.Module.to(network, device=device, dtype=dtype)
        filled[name] = network.eval().requires_grad_(requires_grad=False)
    return Networks(**filled)


def _build(name: NetworkName, sizes: ModelSizes) -> nn.Module:
    if name == "image_encoder":
        # CLIP keeps its position numbers outside its state dict: nothing would replace them.
        return _image_encoder(sizes.image_encoder)
    # Nothing is drawn for weights that are about to be replaced.
    with torch.device("meta"):
        match name:
            case "denoising_unet":
                return _unet(sizes.unet)
            case "reference_unet":
                return _without_tail(_unet(sizes.unet))
            case "pose_guider":
                return PoseGuider(sizes.pose_guider)
            case "vae":
                vae = library("diffusers").AutoencoderKL(**sizes.vae.model_dump())
                return cast("nn.Module", vae)


def _image_encoder(sizes: ImageEncoderSizes) -> nn.Module:
    transformers = library("transformers")
    config = transformers.CLIPVisionConfig(**sizes.model_dump())
    return cast("nn.Module", transformers.CLIPVisionModelWithProjection(config))


def _unet(sizes: UNetSizes) -> nn.Module:
    unet = library("diffusers").UNet2DConditionModel(
        **sizes.model_dump(), down_block_types=_DOWN_BLOCKS, up_block_types=_UP_BLOCKS
    )
    return cast("nn.Module", unet)


def _without_tail(unet: nn.Module) -> nn.Module:
    """Take away the last norm and convolution: the released reference UNet has none."""
    unet.register_module("conv_norm_out", None)
    unet.conv_out = nn.Identity()
    return unet
