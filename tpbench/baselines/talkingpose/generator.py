"""TalkingPose behind the interface of all generators."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tpbench.baselines.base import (
    AnimationTask,
    ClipFailure,
    GeneratedFrame,
    JsonValue,
    OptionValue,
    parse_options,
)
from tpbench.baselines.talkingpose.checkpoints import find_files, matched, read_tensors
from tpbench.baselines.talkingpose.needs import PACKAGES, DtypeName, TalkingPoseOptions
from tpbench.baselines.talkingpose.networks import NetworkName, library, load_networks
from tpbench.baselines.talkingpose.pipeline import (
    SIZE_STEP_PX,
    ClipInput,
    LockStep,
    Pipeline,
    Schedule,
    draw_noise,
    stretched,
    to_bytes,
)
from tpbench.devices import require_device
from tpbench.dwpose_drawing import draw_pose
from tpbench.errors import GeneratorError

logger = logging.getLogger(__name__)

DTYPES: Final[Mapping[DtypeName, torch.dtype]] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
_GPU_CLIPS: Final = 8
"""Intended for 512 x 512 on a GPU of 24 GB, not measured; if memory runs out, it is halved."""
_RENDERER: Final = "tpbench.dwpose_drawing.draw_pose, uncompressed"
"""The model was trained on such drawings after lossy H.264, which slightly blurs their colours."""


def find_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is the first GPU, or the CPU if there is none.

    Raises:
        ConfigError: this machine has no such device.
    """
    require_device(name)
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def find_dtype(name: DtypeName | Literal["auto"], device: torch.device) -> DtypeName:
    """Return the dtype's name; "auto" is fp16 on a GPU and fp32 on a CPU."""
    if name != "auto":
        return name
    return "fp16" if device.type == "cuda" else "fp32"


class TalkingPose:
    """Generates clips with TalkingPose, several at once.

    Each pose is drawn from the task's keypoints when its frame is generated, without compression.

    Args:
        options: see `TalkingPoseOptions`.
        weights_dir: the user's folder of weights; None: that of `tpbench weights`.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        ConfigError: wrong option or device, or a checkpoint of another model.
        MissingWeightsError: files are missing.
        MissingDependencyError: diffusers or transformers is not installed.
        GeneratorError: the networks do not fit into the GPU.
    """

    def __init__(
        self, options: Mapping[str, OptionValue], *, weights_dir: Path | None, device: str
    ) -> None:
        self._options = parse_options("talkingpose", TalkingPoseOptions, options)
        self._device = find_device(device)
        self._dtype = find_dtype(self._options.dtype, self._device)
        self._files = find_files(weights_dir)
        for package in PACKAGES:
            library(package)
        self._carried: torch.Tensor | None = None
        self._sha256: dict[str, str] | None = None
        pipeline = self._load()
        self._parameter_count = pipeline.networks.parameter_count
        self.max_clips = self._clips_at_once()
        self._lockstep: LockStep | None = LockStep(pipeline, max_clips=self.max_clips)

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        """Generate all tasks in lock-step; see `Generator.generate`.

        A clip fails if its size is no multiple of 8, its poses are in px of another size, it does
        not fit into GPU memory even alone, or its values overflow the dtype.
        """
        if self._lockstep is None:
            raise GeneratorError("talkingpose: closed; build a new one to generate more clips")
        by_id = {task.clip_id: task for task in tasks}
        if len(by_id) != len(tasks) or len(tasks) > self.max_clips:
            raise ValueError(
                f"want 1 to {self.max_clips} tasks with different ids, got {len(tasks)}"
            )
        clips = []
        for task in tasks:
            reason = self._refusal(task)
            if reason:
                yield ClipFailure(clip_id=task.clip_id, reason=reason)
            else:
                clips.append(self._clip(task))
        for made in self._lockstep.run(clips):
            if isinstance(made, ClipFailure):
                yield made
                continue
            if self._options.reference_quirks:
                self._carried = made.latents
            image = to_bytes(made.image, truncated=self._options.reference_quirks)
            task = by_id[made.clip.clip_id]
            yield GeneratedFrame(
                clip_id=task.clip_id,
                index=made.index,
                image=stretched(image, width_px=task.width_px, height_px=task.height_px),
            )

    def describe(self) -> Mapping[str, JsonValue]:
        """Return the resolved options, the sizes, and the sha256 of every file of weights.

        The device and the number of clips at once are omitted: both change frames by rounding only,
        and a run may be resumed on another GPU.
        """
        if self._sha256 is None:
            self._sha256 = self._files.sha256()
        options = self._options.model_dump(mode="json")
        del options["max_clips"]
        if not self._options.reference_quirks:
            del options["square_px"]
        return {
            "model": "talkingpose",
            "options": options | {"dtype": self._dtype},
            "pose_renderer": _RENDERER,
            "parity_with_released_script": self._options.reference_quirks,
            "latents_carried_across_clips": self._options.reference_quirks,
            "sizes": self._files.sizes.model_dump(mode="json"),
            "parameters": self._parameter_count,
            "weights_sha256": dict(self._sha256),
        }

    def close(self) -> None:
        """Free the networks."""
        self._lockstep = None
        self._carried = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _load(self) -> Pipeline:
        files = self._files

        def checked(
            network: NetworkName, wanted: Mapping[str, torch.Tensor]
        ) -> Mapping[str, torch.Tensor]:
            path = files.checkpoints[network]
            logger.info("loading %s", path)
            return matched(network, read_tensors(path), wanted, label=str(path))

        try:
            networks = load_networks(
                files.sizes, checked, device=self._device, dtype=DTYPES[self._dtype]
            )
        except torch.cuda.OutOfMemoryError as error:
            raise GeneratorError(
                f"talkingpose: {self._device} has too little free memory for the networks alone"
            ) from error
        return Pipeline(
            networks,
            Schedule(files.sizes.scheduler, steps=self._options.steps),
            guidance=self._options.guidance,
            gain=self._options.gain,
            compiled=self._options.compile,
        )

    def _clips_at_once(self) -> int:
        if self._options.reference_quirks:
            return 1
        if self._options.max_clips != "auto":
            return self._options.max_clips
        return _GPU_CLIPS if self._device.type == "cuda" else 1

    def _refusal(self, task: AnimationTask) -> str | None:
        """Return the reason why a clip can't be generated, or None."""
        driving = task.driving
        if (driving.width_px, driving.height_px) != (task.width_px, task.height_px):
            return (
                f"the driving poses are for {driving.width_px}x{driving.height_px} px, the frames "
                f"are to be {task.width_px}x{task.height_px}; scale the poses to that size"
            )
        if task.width_px % SIZE_STEP_PX or task.height_px % SIZE_STEP_PX:
            if self._options.reference_quirks:
                return None
            return (
                f"TalkingPose generates sizes in multiples of {SIZE_STEP_PX} px, not "
                f"{task.width_px}x{task.height_px}; crop or scale the clip"
            )
        return None

    def _clip(self, task: AnimationTask) -> ClipInput:
        width_px, height_px = task.width_px, task.height_px
        if self._options.reference_quirks:
            width_px = height_px = self._options.square_px

        def draw(index: int) -> NDArray[np.uint8]:
            """Draw frame `index` of the poses in the task's size, and stretch it to the input's."""
            frame, driving = slice(index, index + 1), task.driving
            points, scores = driving.keypoints[frame], driving.scores[frame]
            drawing = draw_pose(points, scores, task.height_px, task.width_px)
            return stretched(drawing, width_px=width_px, height_px=height_px)

        return ClipInput(
            clip_id=task.clip_id,
            reference=stretched(task.reference, width_px=width_px, height_px=height_px),
            draw_pose=draw,
            n_frames=task.n_frames,
            noise=draw_noise(
                task.seed,
                width_px=width_px,
                height_px=height_px,
                channels=self._files.sizes.unet.in_channels,
            ),
            on_step=task.still_working,
            before=self._carried,
        )
