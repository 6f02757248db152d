"""Cost of a frame of the native TalkingPose, and what happens to memory in a long clip.

    python benchmarks/bench_talkingpose.py [--size 64] [--steps 30] [--frames 6] [--rounds 5]

On tiny networks with made-up weights, one CPU core. Three ways make the same frames:
plain    as the released script: CLIP, VAE encoder and reference network again for every frame, the
         last with a row that nobody reads, and the reference's tokens projected in every step
ours     one clip at a time
batch    four clips in lock-step
The frames of all three are compared; they must be equal to 1e-3. Times are of the process, so that
other work on the machine hardly counts. Then resident memory after 50 and after 500 frames.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import torch
from torch.nn.functional import scaled_dot_product_attention

from tpbench.baselines.talkingpose.checkpoints import read_sizes
from tpbench.baselines.talkingpose.networks import Networks, load_networks
from tpbench.baselines.talkingpose.parity import BUNDLED_CASE, CaseSettings, made_up_weights
from tpbench.baselines.talkingpose.pipeline import (
    LATENT_SCALE,
    ClipInput,
    LockStep,
    Pipeline,
    Schedule,
    StepFrame,
    clip_batch,
    draw_noise,
    unit_batch,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

GUIDANCE = 3.5
GAIN = 0.05
BATCH = 4


class PlainReader:
    """Self-attention that projects the reference's tokens together with its own, every time."""

    def __init__(self) -> None:
        self.tokens: torch.Tensor | None = None

    def __call__(
        self,
        attn: Any,  # noqa: ANN401 - diffusers' Attention, which has no types
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Do what diffusers asks of a processor."""
        del encoder_hidden_states, attention_mask, temb
        assert self.tokens is not None
        unconditional, conditional = hidden_states.chunk(2)
        seen = (unconditional, torch.cat([conditional, self.tokens], dim=1))
        rows = [
            self.attended(attn, own, others)
            for own, others in zip((unconditional, conditional), seen, strict=True)
        ]
        return torch.cat(rows)

    @staticmethod
    def attended(
        attn: Any,  # noqa: ANN401 - as above
        own: torch.Tensor,
        others: torch.Tensor,
    ) -> torch.Tensor:
        """Attend from one row's tokens to others."""
        query, keys, values = (
            tokens.view(1, tokens.shape[1], attn.heads, -1).transpose(1, 2)
            for tokens in (attn.to_q(own), attn.to_k(others), attn.to_v(others))
        )
        merged = scaled_dot_product_attention(query, keys, values).transpose(1, 2).flatten(2)
        projected: torch.Tensor = attn.to_out[0](merged)
        return projected


class PlainPipeline:
    """Makes one frame after the other and keeps nothing between them but the latents."""

    def __init__(self, networks: Networks, schedule: Schedule) -> None:
        self.networks = networks
        self.schedule = schedule
        self.pose: torch.Tensor | None = None
        self.readers: dict[str, PlainReader] = {}
        unet: Any = networks.denoising_unet
        for name, module in unet.named_modules():
            if name.endswith(".attn1"):
                self.readers[name.removesuffix(".attn1")] = reader = PlainReader()
                module.set_processor(reader)
        unet.conv_in.register_forward_hook(lambda _module, _inputs, output: output + self.pose)

    @torch.inference_mode()
    def frame(self, clip: ClipInput, index: int, before: torch.Tensor | None) -> torch.Tensor:
        """Return the latents of a frame; decode it too, as a frame costs that."""
        encoder: Any = self.networks.image_encoder
        vae: Any = self.networks.vae
        unet: Any = self.networks.denoising_unet
        token = encoder(clip_batch(clip.reference, side_px=224)).image_embeds[:, None]
        prompts = torch.cat([torch.zeros_like(token), token])
        reference = vae.encode(unit_batch([clip.reference]) * 2 - 1).latent_dist.mean
        self.read_reference(reference * LATENT_SCALE, prompts)
        drawing = unit_batch([clip.draw_pose(index)])
        self.pose = self.networks.pose_guider(torch.cat([drawing] * 2))
        latents = clip.noise if before is None else clip.noise + GAIN * (before - clip.noise)
        for timestep in self.schedule.timesteps:
            rows = torch.cat([latents] * 2)
            made = unet(rows, timestep, encoder_hidden_states=prompts).sample
            unconditional, conditional = made.chunk(2)
            velocity = unconditional + GUIDANCE * (conditional - unconditional)
            latents = self.schedule.step(velocity, timestep, latents)
        (vae.decode(latents / LATENT_SCALE).sample / 2 + 0.5).clamp(0, 1)
        return latents

    def read_reference(self, latents: torch.Tensor, prompts: torch.Tensor) -> None:
        """Run the reference network with both rows and give the second one's tokens to readers."""
        unet: Any = self.networks.reference_unet
        with recorded(unet, list(self.readers)) as tokens:
            unet(torch.cat([latents] * 2), 0, encoder_hidden_states=prompts)
        for name, reader in self.readers.items():
            reader.tokens = tokens[name][1:]


@contextmanager
def recorded(unet: torch.nn.Module, names: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Keep what leaves `norm1` of each block."""
    found: dict[str, torch.Tensor] = {}
    handles = [
        unet.get_submodule(f"{name}.norm1").register_forward_hook(partial(_keep, found, name))
        for name in names
    ]
    yield found
    for handle in handles:
        handle.remove()


def _keep(
    found: dict[str, torch.Tensor],
    name: str,
    _module: torch.nn.Module,
    _inputs: object,
    output: torch.Tensor,
) -> None:
    found[name] = output


def make_networks(settings: CaseSettings) -> Networks:
    """Tiny networks with made-up weights."""
    return load_networks(
        settings,
        lambda network, wanted: made_up_weights(settings.seed, network, wanted),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def make_clip(number: int, *, size_px: int, n_frames: int) -> ClipInput:
    """Random pictures."""
    rng = np.random.default_rng(number)
    drawings = rng.integers(0, 256, (8, size_px, size_px, 3), np.uint8)
    return ClipInput(
        clip_id=str(number),
        reference=rng.integers(0, 256, (size_px, size_px, 3), np.uint8),
        draw_pose=lambda index: np.asarray(drawings[index % 8]),
        n_frames=n_frames,
        noise=draw_noise(number, width_px=size_px, height_px=size_px, channels=4),
    )


def run_plain(plain: PlainPipeline, clip: ClipInput) -> list[torch.Tensor]:
    """Latents of all frames."""
    made: list[torch.Tensor] = []
    for index in range(clip.n_frames):
        made.append(plain.frame(clip, index, made[-1] if made else None))
    return made


def run_ours(pipeline: Pipeline, clips: Sequence[ClipInput]) -> list[torch.Tensor]:
    """Latents of all frames of the first clip."""
    made = []
    for frame in LockStep(pipeline, max_clips=len(clips)).run(clips):
        assert isinstance(frame, StepFrame)
        if frame.clip is clips[0]:
            made.append(frame.latents)
    return made


def compare_costs(settings: CaseSettings, arguments: argparse.Namespace) -> None:
    """Print milliseconds of a frame, round by round in turn."""
    schedule = Schedule(settings.scheduler, steps=arguments.steps)
    plain = PlainPipeline(make_networks(settings), schedule)
    ours = Pipeline(make_networks(settings), schedule, guidance=GUIDANCE, gain=GAIN)
    clips = [
        make_clip(number, size_px=arguments.size, n_frames=arguments.frames)
        for number in range(BATCH)
    ]
    ways: dict[str, tuple[Callable[[], list[torch.Tensor]], int]] = {
        "plain": (lambda: run_plain(plain, clips[0]), 1),
        "ours": (lambda: run_ours(ours, clips[:1]), 1),
        "batch": (lambda: run_ours(ours, clips), BATCH),
    }
    print(f"{arguments.size}x{arguments.size}, {arguments.steps} steps, {arguments.frames} frames")
    ms: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(arguments.rounds + 1):
        results = {}
        for name, (run, n_clips) in ways.items():
            began_s = time.process_time()
            results[name] = torch.cat(run())
            spent_ms = 1000 * (time.process_time() - began_s)
            if round_number:  # the first warms up
                ms[name].append(spent_ms / arguments.frames / n_clips)
        for name in ("ours", "batch"):
            error = float((results[name] - results["plain"]).abs().max())
            assert error < 1e-3, (name, error)
    for name, values in ms.items():
        ratios = [a / b for a, b in zip(ms["plain"], values, strict=True)]
        print(
            f"  {name:6} {statistics.median(values):7.1f} ms a frame, "
            f"{statistics.median(ratios):.2f} times as fast as plain "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


def watch_memory(settings: CaseSettings, *, size_px: int, n_frames: int = 500) -> None:
    """Print resident memory while one long clip is made."""
    schedule = Schedule(settings.scheduler, steps=1)
    pipeline = Pipeline(make_networks(settings), schedule, guidance=GUIDANCE, gain=GAIN)
    clip = make_clip(0, size_px=size_px, n_frames=n_frames)
    process = psutil.Process()
    at: dict[int, float] = {}
    for number, _ in enumerate(LockStep(pipeline, max_clips=1).run([clip]), start=1):
        if number in (50, n_frames):
            at[number] = process.memory_info().rss / 2**20
    print(
        f"resident memory after 50 frames {at[50]:.1f} MiB, after {n_frames} {at[n_frames]:.1f} MiB"
    )


def main() -> None:
    """Parse the command line, keep to one core, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64, help="side of the frames in px")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--frames", type=int, default=6, help="of each clip and round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    config: Path = BUNDLED_CASE / "config.json"
    settings = read_sizes(config, CaseSettings)
    watch_memory(settings, size_px=arguments.size)
    compare_costs(settings, arguments)


if __name__ == "__main__":
    main()
