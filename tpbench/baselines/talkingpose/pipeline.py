"""The computation of TalkingPose: once per clip, and for each frame.

Between the networks all values are float32, whatever the dtype of the networks.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tpbench.baselines.base import ClipFailure
from tpbench.baselines.talkingpose.networks import (
    KeysValues,
    Networks,
    ReferenceAttention,
    ScheduleSettings,
    library,
    recorded_norms,
)

logger = logging.getLogger(__name__)

LATENT_SCALE: Final = 0.18215
"""Stable Diffusion's scale: the VAE's latents times this have a variance of about 1."""
SIZE_STEP_PX: Final = 8
"""Width and height must be multiples of this; a latent covers 8 x 8 pixels."""
_CLIP_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD: Final = (0.26862954, 0.26130258, 0.27577711)
_OUT_OF_MEMORY: Final = (
    "out of GPU memory with a single clip; use smaller frames, dtype=fp16, or another GPU"
)
_WIDER: Final = "use dtype=bf16 or dtype=fp32"

_T = TypeVar("_T")


class Schedule:
    """The DDIM timesteps of one frame, 1 to 1000 of them, and the denoising step; eta is 0."""

    def __init__(self, settings: ScheduleSettings, *, steps: int) -> None:
        scheduler = library("diffusers").DDIMScheduler
        self._ddim = scheduler(**settings.model_dump(), set_alpha_to_one=True)
        self._ddim.set_timesteps(steps)
        self.timesteps: tuple[int, ...] = tuple(int(value) for value in self._ddim.timesteps)

    def step(self, velocity: torch.Tensor, timestep: int, latents: torch.Tensor) -> torch.Tensor:
        """Return the latents (B, C, h, w) after one denoising step with the predicted velocity."""
        (earlier,) = self._ddim.step(velocity, timestep, latents, return_dict=False)[:1]
        return cast("torch.Tensor", earlier)


def stretched(image: NDArray[np.uint8], *, width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Resize an image (H, W, 3) uint8 RGB by Pillow's Lanczos filter, ignoring its aspect ratio."""
    if image.shape[:2] == (height_px, width_px):
        return image
    resized = Image.fromarray(image).resize((width_px, height_px), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def unit_batch(images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """Convert (H, W, 3) uint8 RGB images of one size to (B, 3, H, W) float32 in [0, 1]."""
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(images)))
    return stacked.permute(0, 3, 1, 2).to(torch.float32) / 255


def clip_batch(image: NDArray[np.uint8], *, side_px: int) -> torch.Tensor:
    """Prepare an image for CLIP: resized to a square by Pillow's bicubic filter, normalised."""
    square = Image.fromarray(image).resize((side_px, side_px), Image.Resampling.BICUBIC)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (_CLIP_MEAN, _CLIP_STD))
    return (unit_batch([np.asarray(square)]) - mean) / std


def to_bytes(image: torch.Tensor, *, truncated: bool) -> NDArray[np.uint8]:
    """Convert (3, H, W) float in [0, 1] to (H, W, 3) uint8 RGB.

    Args:
        image: on any device.
        truncated: truncate to whole levels instead of rounding, as the released script does (half a
            level too dark on average).
    """
    levels = image.permute(1, 2, 0) * 255
    whole = levels if truncated else levels.round()
    return cast("NDArray[np.uint8]", whole.to(torch.uint8).cpu().numpy())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepFrame:
    """One frame of one clip, still on the device."""

    clip: ClipInput
    index: int
    latents: torch.Tensor
    """(1, C, h, w) float32, in the scale of the UNet."""
    image: torch.Tensor
    """(3, H, W) float32 in [0, 1]."""
    finite: bool
    """Whether all values are finite, i.e. did not overflow the networks' dtype."""


class LockStep:
    """Runs clips through a pipeline, at most `max_clips` at once; fewer after memory ran out."""

    def __init__(self, pipeline: Pipeline, *, max_clips: int) -> None:
        self._pipeline = pipeline
        self.max_clips = max_clips

    def run(self, clips: Sequence[ClipInput]) -> Iterator[StepFrame | ClipFailure]:
        """Generate all clips, in batches of equal size; clips do not affect each other.

        Yields:
            Frames, in order within a clip; or one failure, which ends its clip.
        """
        waiting = deque(clips)
        while waiting:
            states: list[ClipState] = []
            yield from self._gather(waiting, states)
            yield from self._frames(states)

    def _gather(self, waiting: deque[ClipInput], states: list[ClipState]) -> Iterator[ClipFailure]:
        """Prepare the first waiting clips, as many as fit into memory and have the same size."""
        while waiting and len(states) < self.max_clips:
            clip = waiting[0]
            if states and clip.noise.shape != states[0].clip.noise.shape:
                return
            state = _within_memory(partial(self._pipeline.prepare, clip))
            if state is None and states:
                self._halve(len(states) + 1)
                return
            waiting.popleft()
            if state is None:
                yield ClipFailure(clip_id=clip.clip_id, reason=_OUT_OF_MEMORY)
            else:
                states.append(state)

    def _frames(self, states: list[ClipState]) -> Iterator[StepFrame | ClipFailure]:
        index = 0
        while states := [state for state in states if index < state.clip.n_frames]:
            todo = deque(states)
            while todo:
                batch = [todo.popleft() for _ in range(min(self.max_clips, len(todo)))]
                made = _within_memory(partial(self._pipeline.make_frames, batch, index))
                if made is not None:
                    for state, frame in zip(batch, made, strict=True):
                        if frame.finite:
                            yield frame
                            continue
                        states.remove(state)
                        reason = f"the networks overflowed in frame {index}; {_WIDER}"
                        yield ClipFailure(clip_id=state.clip.clip_id, reason=reason)
                elif len(batch) > 1:
                    self._halve(len(batch))
                    todo.extendleft(reversed(batch))
                else:
                    states.remove(batch[0])
                    yield ClipFailure(clip_id=batch[0].clip.clip_id, reason=_OUT_OF_MEMORY)
            index += 1

    def _halve(self, tried: int) -> None:
        self.max_clips = tried // 2
        logger.warning(
            "out of GPU memory with %d clips at once; continuing with %d", tried, self.max_clips
        )


def _within_memory(step: Callable[[], _T]) -> _T | None:
    """Return the result of a step; None if the GPU's memory ran out."""
    try:
        return step()
    except torch.cuda.OutOfMemoryError:
        pass
    # Outside the handler, because the error and its stack frames keep tensors alive until it ends.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


@contextmanager
def _reproducible() -> Iterator[None]:
    """Make convolutions on a GPU deterministic, and in true float32 instead of TF32."""
    cudnn: Any = torch.backends.cudnn
    with cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        yield


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipInput:
    """The input of the networks for one clip."""

    clip_id: str
    reference: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB; H and W are those of the frames and multiples of 8."""
    draw_pose: Callable[[int], NDArray[np.uint8]]
    """Returns the pose drawing of frame n: (H, W, 3) uint8 RGB."""
    n_frames: int
    noise: torch.Tensor
    """(1, C, H/8, W/8) float32: one tensor, the same for all frames of the clip."""
    on_step: Callable[[], None] = lambda: None
    """Called after each step of denoising: a frame is slow on a processor."""
    before: torch.Tensor | None = None
    """(1, C, H/8, W/8) float32 latents used as those before the first frame; usually None."""


@dataclass(slots=True, kw_only=True, eq=False)
class ClipState:
    """The state of a clip between frames; its size does not depend on the number of frames."""

    clip: ClipInput
    token: torch.Tensor
    """(1, 1, D): CLIP's embedding of the reference."""
    bank: Mapping[str, KeysValues]
    """Keys and values of the reference, for each transformer block of the denoising UNet."""
    latents: torch.Tensor | None
    """(1, C, h, w) float32 latents of the previous frame; None before the first."""


class Pipeline:
    """Prepares clips and generates their frames, several clips as one batch.

    Args:
        networks: with weights; the denoising UNet's self-attentions are replaced.
        schedule: the timesteps.
        guidance: scale of classifier-free guidance, from the unconditional prediction (0) to the
            conditional one (1) and beyond. Up to 1, only the conditional one is computed.
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
        """Run CLIP, the VAE's encoder and the reference UNet: the computation once per clip."""
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
    def make_frames(self, states: Sequence[ClipState], index: int) -> list[StepFrame]:
        """Generate frame `index` of clips of one size, as one batch; updates their states.

        The frames of a clip must be generated in order.
        """
        drawings = unit_batch([state.clip.draw_pose(index) for state in states])
        pose_features = self.networks.pose_guider(self._sent(drawings))
        latents = self._denoised(states, pose_features)
        vae: Any = self.networks.vae
        decoded = vae.decode((latents / LATENT_SCALE).to(self.networks.dtype), return_dict=False)[0]
        images = (decoded.float() / 2 + 0.5).clamp(0, 1)
        finite = decoded.isfinite().all(dim=(1, 2, 3)).tolist()
        frames = []
        for row, state in enumerate(states):
            state.latents = latents[row : row + 1]
            frame = StepFrame(
                clip=state.clip,
                index=index,
                latents=state.latents,
                image=images[row],
                finite=finite[row],
            )
            frames.append(frame)
        return frames

    def _denoised(self, states: Sequence[ClipState], pose_features: torch.Tensor) -> torch.Tensor:
        latents = torch.cat([self._begun(state) for state in states])
        tokens = torch.cat([state.token for state in states])
        guided = self.guidance > 1
        # The prompt of the unconditional half is zeros, not CLIP's embedding of a black image.
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
                    states[0].clip.on_step()
        finally:
            self._pose_features = None
        return latents

    def _begun(self, state: ClipState) -> torch.Tensor:
        """Return the initial latents of a frame: the clip's noise, moved towards the last frame."""
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

    Drawn on the CPU by a generator of its own, so it is the same on every machine and in every
    batch. The released code draws it in the shape (1, C, 1, h, w), which gives the same numbers.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    shape = (1, channels, height_px // SIZE_STEP_PX, width_px // SIZE_STEP_PX)
    return torch.randn(shape, generator=generator)


def _guided(velocity: torch.Tensor, guidance: float) -> torch.Tensor:
    unconditional, conditional = velocity.chunk(2)
    return unconditional + guidance * (conditional - unconditional)
