"""Parity check of TalkingPose with the released code, on tiny networks with synthetic weights.

A case is a folder with `config.json` (sizes, settings, seed of the weights) and
`expected.safetensors`: per clip the inputs, and the latents and frames that the released code
computed from them in float32. One case is included in the package.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from tpbench.baselines.base import ClipFailure
from tpbench.baselines.talkingpose.checkpoints import (
    canonical_key,
    matched,
    read_sizes,
    read_tensors,
)
from tpbench.baselines.talkingpose.generator import DTYPES, find_device
from tpbench.baselines.talkingpose.needs import DtypeName
from tpbench.baselines.talkingpose.networks import ModelSizes, load_networks
from tpbench.baselines.talkingpose.pipeline import (
    LATENT_SCALE,
    ClipInput,
    LockStep,
    Pipeline,
    Schedule,
    StepFrame,
)
from tpbench.errors import ConfigError, GeneratorError

TOLERANCE: Final = 1e-3
"""Largest difference of latents, and of frames in [0, 1], that counts as equal in fp32."""
BUNDLED_CASE: Final = Path(__file__).parent / "parity_case"
_CONFIG: Final = "config.json"
_EXPECTED: Final = "expected.safetensors"


def made_up_tensor(seed: int, network: str, key: str, shape: Sequence[int]) -> torch.Tensor:
    """Return one synthetic float32 tensor; `key` is that of the released files.

    Drawn from a standard normal distribution seeded by seed, network and key; divided by the root
    of its fan-in if it has 2 dimensions or more, `1 + 0.1 x` if it is the weight of a norm, and
    `0.02 x` if it is a bias or another vector.
    """
    start = zlib.crc32(f"{seed}/{network}/{key}".encode())
    values = np.random.default_rng(start).standard_normal(tuple(shape))
    if len(shape) >= 2:
        values /= math.sqrt(math.prod(shape[1:]))
    elif key.endswith(".weight"):
        values = 1 + 0.1 * values
    else:
        values *= 0.02
    return torch.from_numpy(values.astype(np.float32))


def made_up_weights(
    seed: int, network: str, wanted: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return all synthetic tensors of a network, with the names and shapes of its state dict."""
    return {
        own: made_up_tensor(seed, network, canonical_key(network, own), tensor.shape)
        for own, tensor in wanted.items()
    }


class _Inference(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    clc_gain: float
    latent_scale: float = LATENT_SCALE


class CaseSettings(ModelSizes):
    """The content of a case's `config.json`."""

    seed: int
    inference: _Inference
    carry_latents_across_clips: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParityCase:
    """The content of a case."""

    name: str
    settings: CaseSettings
    clips: Mapping[str, ClipInput]
    expected: Mapping[str, torch.Tensor]
    """`<clip>.latents` (T, C, h, w) and `<clip>.frames` (T, 3, H, W) in [0, 1], float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipParity:
    """The largest differences of one clip, over all its frames."""

    clip_id: str
    latents_error: float
    frames_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """The result of a case on this machine."""

    case: str
    device: str
    dtype: str
    clips: tuple[ClipParity, ...]
    tolerance: float = TOLERANCE

    @property
    def max_error(self) -> float:
        """The largest difference of all clips."""
        return max(max(clip.latents_error, clip.frames_error) for clip in self.clips)

    @property
    def passed(self) -> bool:
        """Whether all differences are within the tolerance."""
        return self.max_error <= self.tolerance


def find_parity_cases(folder: Path | None = None) -> list[Path]:
    """Return the case in a folder, or the cases in its subfolders, sorted; None: the package's.

    Raises:
        ConfigError: there is none.
    """
    folder = BUNDLED_CASE if folder is None else folder
    if (folder / _CONFIG).is_file():
        return [folder]
    cases = sorted(path.parent for path in folder.glob(f"*/{_CONFIG}"))
    if not cases:
        raise ConfigError(
            f"{folder}: neither a parity case ({_CONFIG}, {_EXPECTED}) nor a folder of such"
        )
    return cases


def run_parity_case(
    folder: Path, *, device: str = "cpu", dtype: DtypeName = "fp32"
) -> ParityReport:
    """Compute a case on this machine and compare; fp16 and bf16 exceed the tolerance.

    Raises:
        ConfigError: not a case, or no such device.
        MissingDependencyError: diffusers or transformers is not installed.
        GeneratorError: a clip could not be computed, because values overflowed or memory ran out.
    """
    case = read_case(folder)
    place = find_device(device)
    pipeline = build_pipeline(case, device=place, dtype=DTYPES[dtype])
    return ParityReport(
        case=case.name, device=str(place), dtype=dtype, clips=compare(case, pipeline)
    )


def read_case(folder: Path) -> ParityCase:
    """Read a case.

    Raises:
        ConfigError: files or tensors are missing or invalid.
    """
    settings = read_sizes(folder / _CONFIG, CaseSettings)
    if settings.inference.latent_scale != LATENT_SCALE:
        raise ConfigError(
            f"{folder / _CONFIG}: latent_scale must be {LATENT_SCALE}, as in the released code"
        )
    tensors = read_tensors(folder / _EXPECTED)
    names = sorted({key.partition(".")[0] for key in tensors if "." in key})
    try:
        noise = tensors["initial_noise"].flatten(1, 2)
        clips = {name: _clip(name, tensors, noise) for name in names}
        expected = {
            key: tensors[key] for name in names for key in (f"{name}.latents", f"{name}.frames")
        }
    except KeyError as error:
        raise ConfigError(f"{folder / _EXPECTED}: tensor {error} is missing") from error
    return ParityCase(name=folder.name, settings=settings, clips=clips, expected=expected)


def build_pipeline(case: ParityCase, *, device: torch.device, dtype: torch.dtype) -> Pipeline:
    """Build the pipeline of a case: its networks with synthetic weights, and its settings."""
    settings = case.settings

    def made_up(network: str, wanted: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        tensors = made_up_weights(settings.seed, network, wanted)
        return matched(network, tensors, wanted, label=case.name)

    return Pipeline(
        load_networks(settings, made_up, device=device, dtype=dtype),
        Schedule(settings.scheduler, steps=settings.inference.num_inference_steps),
        guidance=settings.inference.guidance_scale,
        gain=settings.inference.clc_gain,
    )


def compare(case: ParityCase, pipeline: Pipeline) -> tuple[ClipParity, ...]:
    """Generate all clips and return the largest differences of each.

    Independent clips run in lock-step, so that this is tested too.

    Raises:
        GeneratorError: a clip could not be computed.
    """
    errors = dict.fromkeys(case.clips, (0.0, 0.0))
    before: torch.Tensor | None = None
    carry = case.settings.carry_latents_across_clips
    lockstep = LockStep(pipeline, max_clips=1 if carry else len(case.clips))
    batches = [[clip] for clip in case.clips.values()] if carry else [list(case.clips.values())]
    for batch in batches:
        for made in lockstep.run([replace(clip, before=before) for clip in batch]):
            if isinstance(made, ClipFailure):
                raise GeneratorError(f"{case.name}, {made.clip_id}: {made.reason}")
            name = made.clip.clip_id
            old, new = errors[name], _differences(case, made)
            errors[name] = (max(old[0], new[0]), max(old[1], new[1]))
            before = made.latents if carry else None
    return tuple(
        ClipParity(clip_id=name, latents_error=latents, frames_error=frames)
        for name, (latents, frames) in errors.items()
    )


def _clip(name: str, tensors: Mapping[str, torch.Tensor], noise: torch.Tensor) -> ClipInput:
    drawings = tensors[f"{name}.pose_images"].numpy()
    return ClipInput(
        clip_id=name,
        reference=tensors[f"{name}.reference_image"].numpy(),
        draw_pose=lambda index: drawings[index],
        n_frames=len(drawings),
        noise=noise,
    )


def _differences(case: ParityCase, made: StepFrame) -> tuple[float, float]:
    name = made.clip.clip_id
    latents = case.expected[f"{name}.latents"][made.index]
    image = case.expected[f"{name}.frames"][made.index]
    return (
        float((made.latents[0].cpu() - latents).abs().max()),
        float((made.image.cpu() - image).abs().max()),
    )
