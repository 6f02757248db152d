"""The arithmetic of TalkingPose: what is done once for a clip, and what for each frame.

Between the networks everything is float32, whatever the networks compute in.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from tpbench.baselines.talkingpose.attention import (
    KeysValues,
    ReferenceAttention,
    recorded_norms,
)
from tpbench.baselines.talkingpose.pictures import clip_batch, unit_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tpbench.baselines.talkingpose.networks import Networks
    from tpbench.baselines.talkingpose.schedule import Schedule

LATENT_SCALE: Final = 0.18215
"""Stable Diffusion's: the VAE's latents times this have a variance of about 1."""

SIZE_STEP_PX: Final = 8
"""Width and height must be multiples of this; a latent covers 8 x 8 pixels."""


@contextmanager
def _reproducible() -> Iterator[None]:
    """Make a GPU convolve in true float32, not TF32, and in the same order each time."""
    cudnn: Any = torch.backends.cudnn
    with cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        yield


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipInput:
    """One clip as the networks see it."""

    clip_id: str

    reference: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB; H and W are those of the frames and multiples of 8."""

    draw_pose: Callable[[int], NDArray[np.uint8]]
    """Gives the drawn pose of frame n: (H, W, 3) uint8 RGB."""

    n_frames: int

    noise: torch.Tensor
    """(1, C, H/8, W/8) float32: the one tensor that all frames of the clip begin with."""

    before: torch.Tensor | None = None
    """(1, C, H/8, W/8) float32 latents that count as the frame before the first; usually none."""


@dataclass(slots=True, kw_only=True, eq=False)
class ClipState:
    """What is kept of a clip from frame to frame; its size does not depend on their number."""

    clip: ClipInput
    token: torch.Tensor
    """(1, 1, D): CLIP's embedding of the reference."""

    bank: Mapping[str, KeysValues]
    """What the denoising UNet attends to, for each of its transformer blocks."""

    latents: torch.Tensor | None
    """(1, C, h, w) float32 latents of the frame before; None before the first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MadeFrames:
    """One frame of each of B clips."""

    latents: torch.Tensor
    """(B, C, h, w) float32, in the scale in which the UNet works."""

    images: torch.Tensor
    """(B, 3, H, W) float32 in [0, 1]."""

    finite: tuple[bool, ...]
    """For each clip whether the networks stayed within the numbers of their dtype."""


class Pipeline:
    """Prepares clips and makes their frames, several clips as one batch.

    Args:
        networks: filled; the denoising UNet's self-attentions are taken over.
        schedule: the timesteps.
        guidance: how far to go from the unconditional prediction to the conditional one and beyond.
            Up to 1 only the conditional one is made.
        gain: of the feedback from one frame to the next, 0 (none) to 1.
        compiled: run the denoising UNet through `torch.compile`.
    """

    def __init__(
        self,
        networks: Networks,
        schedule: Schedule,
        *,
        guidance: float,
        gain: float,
        compiled: bool = False,
    ) -> None:
        self.networks = networks
        self.schedule = schedule
        self.guidance = guidance
        self.gain = gain
        self._attention = ReferenceAttention(networks.denoising_unet)
        self._pose_features: torch.Tensor | None = None
        self._timesteps = torch.tensor(schedule.timesteps, device=networks.device)
        unet: Any = networks.denoising_unet
        unet.conv_in.register_forward_hook(self._add_pose)
        self._denoising_unet: Any = torch.compile(unet) if compiled else unet

    @_reproducible()
    @torch.inference_mode()
    def prepare(self, clip: ClipInput) -> ClipState:
        """Run CLIP, the VAE's encoder and the reference UNet: all that is done once for a clip."""
        encoder: Any = self.networks.image_encoder
        vae: Any = self.networks.vae
        side_px = encoder.config.image_size
        token = encoder(self._sent(clip_batch(clip.reference, side_px=side_px))).image_embeds
        token = token[:, None]
        picture = self._sent(unit_batch([clip.reference]) * 2 - 1)
        latents = vae.encode(picture).latent_dist.mean * LATENT_SCALE
        with recorded_norms(self.networks.reference_unet) as norms:
            self.networks.reference_unet(latents, 0, encoder_hidden_states=token)
        before = None if clip.before is None else self._placed(clip.before)
        return ClipState(
            clip=clip, token=token, bank=self._attention.project(norms), latents=before
        )

    @_reproducible()
    @torch.inference_mode()
    def make_frames(self, states: Sequence[ClipState], index: int) -> MadeFrames:
        """Make frame `index` of each clip, as one batch; their states move on when it is done.

        Args:
            states: clips of one size, in any order: none sees another.
            index: of the frame; the frames of a clip are made in order.
        """
        drawings = unit_batch([state.clip.draw_pose(index) for state in states])
        pose_features = self.networks.pose_guider(self._sent(drawings))
        latents = self._denoised(states, pose_features)
        vae: Any = self.networks.vae
        decoded = vae.decode((latents / LATENT_SCALE).to(self.networks.dtype), return_dict=False)[0]
        images = (decoded.float() / 2 + 0.5).clamp(0, 1)
        finite = tuple(decoded.isfinite().all(dim=(1, 2, 3)).tolist())
        for row, state in enumerate(states):
            state.latents = latents[row : row + 1]
        return MadeFrames(latents=latents, images=images, finite=finite)

    def _denoised(self, states: Sequence[ClipState], pose_features: torch.Tensor) -> torch.Tensor:
        latents = torch.cat([self._begun(state) for state in states])
        tokens = torch.cat([state.token for state in states])
        guided = self.guidance > 1
        # The prompt of the unconditional half is zeros, not what CLIP makes of a black picture.
        prompts = torch.cat([torch.zeros_like(tokens), tokens]) if guided else tokens
        self._pose_features = torch.cat([pose_features] * 2) if guided else pose_features
        banks = [state.bank for state in states]
        try:
            with self._attention.reading(banks, plain_rows=len(states) if guided else 0):
                for timestep, placed in zip(self.schedule.timesteps, self._timesteps, strict=True):
                    rows = torch.cat([latents] * 2) if guided else latents
                    velocity = self._denoising_unet(
                        rows.to(self.networks.dtype),
                        placed,
                        encoder_hidden_states=prompts,
                        return_dict=False,
                    )[0].float()
                    if guided:
                        velocity = _guided(velocity, self.guidance)
                    latents = self.schedule.step(velocity, timestep, latents)
        finally:
            self._pose_features = None
        return latents

    def _begun(self, state: ClipState) -> torch.Tensor:
        """Where a frame starts: the clip's noise, drawn a little towards the frame before."""
        noise = self._placed(state.clip.noise)
        if state.latents is None:
            return noise
        return noise + self.gain * (state.latents - noise)

    def _add_pose(self, _module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        return output if self._pose_features is None else output + self._pose_features

    def _sent(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.to(device=self.networks.device, dtype=self.networks.dtype)

    def _placed(self, latents: torch.Tensor) -> torch.Tensor:
        return latents.to(device=self.networks.device, dtype=torch.float32)


def draw_noise(seed: int, *, width_px: int, height_px: int, channels: int) -> torch.Tensor:
    """Return a clip's noise: (1, channels, height_px / 8, width_px / 8) float32.

    Drawn on the CPU by a generator of its own, so the same on every machine and in any company. The
    released code draws it in the shape (1, C, 1, h, w), which gives the same numbers.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    shape = (1, channels, height_px // SIZE_STEP_PX, width_px // SIZE_STEP_PX)
    return torch.randn(shape, generator=generator)


def _guided(velocity: torch.Tensor, guidance: float) -> torch.Tensor:
    unconditional, conditional = velocity.chunk(2)
    return unconditional + guidance * (conditional - unconditional)
