"""Networks of TalkingPose small enough for a test, in files as the released ones are named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import save_file

from tests.baselines.driven_tasks import pose_of, task_for
from tpbench.baselines.base import AnimationTask
from tpbench.baselines.talkingpose.networks import (
    NETWORK_NAMES,
    ModelSizes,
    Networks,
    ScheduleSettings,
    load_networks,
)
from tpbench.baselines.talkingpose.parity import BUNDLED_CASE, made_up_weights
from tpbench.baselines.talkingpose.pipeline import ClipInput, Pipeline, Schedule, draw_noise
from tpbench.wholebody import WholeBodyPose

SEED: Final = 7
SECTIONS: Final = ("unet", "pose_guider", "vae", "image_encoder", "scheduler")
OLD_VAE_NAMES: Final = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def tiny_config() -> dict[str, Any]:
    """Sections of a `config.json` with tiny sizes."""
    config = json.loads((BUNDLED_CASE / "config.json").read_text())
    return {section: config[section] for section in SECTIONS}


def tiny_networks(captured: dict[str, dict[str, torch.Tensor]] | None = None) -> Networks:
    """Build the networks with made-up weights; `captured` gets the tensors of each."""

    def source(network: str, wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tensors = made_up_weights(SEED, network, wanted)
        if captured is not None:
            captured[network] = tensors
        return tensors

    sizes = ModelSizes.model_validate(tiny_config())
    return load_networks(sizes, source, device=torch.device("cpu"), dtype=torch.float32)


def tiny_pipeline(*, steps: int = 2, guidance: float = 3.5, gain: float = 0.2) -> Pipeline:
    """The tiny networks, ready to make frames."""
    schedule = Schedule(ScheduleSettings(), steps=steps)
    return Pipeline(tiny_networks(), schedule, guidance=guidance, gain=gain)


def tiny_tensors() -> dict[str, dict[str, torch.Tensor]]:
    """Tensors of each network under the names that the released files have."""
    tensors: dict[str, dict[str, torch.Tensor]] = {}
    tiny_networks(tensors)
    assert tuple(tensors) == NETWORK_NAMES
    positions = torch.arange(50)[None]
    tensors["image_encoder"]["vision_model.embeddings.position_ids"] = positions
    tensors["vae"] = {old_vae_name(key): tensor for key, tensor in tensors["vae"].items()}
    return tensors


def old_vae_name(key: str) -> str:
    """Return what files of sd-vae-ft-mse call this entry of the VAE."""
    if "mid_block.attentions.0." in key:
        for new, old in OLD_VAE_NAMES.items():
            key = key.replace(f".{new}.", f".{old}.")
    return key


def write_tiny_weights(folder: Path) -> Path:
    """Write a folder for `--weights` with tiny networks: 64x64 frames take a few 1/100 s each."""
    tensors = tiny_tensors()
    for part in ("image_encoder", "vae"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(tiny_config()))
    for name in ("denoising_unet", "reference_unet", "pose_guider"):
        torch.save(tensors[name], folder / f"{name}.pth")
    torch.save(tensors["image_encoder"], folder / "image_encoder" / "pytorch_model.bin")
    save_file(tensors["vae"], folder / "vae" / "diffusion_pytorch_model.safetensors")
    return folder


def random_pose(
    n_frames: int, *, seed: int = 0, width_px: int = 64, height_px: int = 64
) -> WholeBodyPose:
    """Points anywhere in the picture; no two frames alike."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, (width_px, height_px), (n_frames, 133, 2))
    return pose_of(points, width_px=width_px, height_px=height_px)


def tiny_task(
    clip_id: str = "clip",
    *,
    n_frames: int = 2,
    picture: int = 0,
    seed: int = 42,
    width_px: int = 64,
    height_px: int = 64,
    driving: WholeBodyPose | None = None,
) -> AnimationTask:
    """Return a task with a random picture and random poses."""
    reference = np.random.default_rng(picture).integers(0, 256, (height_px, width_px, 3), np.uint8)
    if driving is None:
        driving = random_pose(n_frames, seed=picture, width_px=width_px, height_px=height_px)
    return task_for(reference, driving, clip_id=clip_id, seed=seed)


def tiny_clip(
    clip_id: str = "clip",
    *,
    n_frames: int = 2,
    picture: int = 0,
    width_px: int = 64,
    height_px: int = 64,
) -> ClipInput:
    """Return a clip as the pipeline wants it: random picture, random drawings, noise of its own."""
    rng = np.random.default_rng(picture)
    drawings = rng.integers(0, 256, (n_frames, height_px, width_px, 3), np.uint8)
    return ClipInput(
        clip_id=clip_id,
        reference=rng.integers(0, 256, (height_px, width_px, 3), np.uint8),
        draw_pose=lambda index: np.asarray(drawings[index]),
        n_frames=n_frames,
        noise=draw_noise(picture, width_px=width_px, height_px=height_px, channels=4),
    )
