"""The seam between the harness and whatever makes frames.

A generator gets tasks and yields frames as they come. It knows no dataset, no run folder and no
metric. What one clip did must not show in the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tpbench.wholebody import WholeBodyPose

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
"""What a run's record can hold."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnimationTask:
    """One clip to make: whose picture, moved how."""

    clip_id: str
    """Names the clip in records and files."""

    reference: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB: who is to be animated, and before what background."""

    reference_pose: WholeBodyPose | None
    """Pose of the reference, one frame; None where it is not known."""

    driving: WholeBodyPose
    """T frames of pose: as many frames are made, one each. In px of the output."""

    driving_video: Path | None
    """The clip the poses were taken from, for methods that want pixels; None if there is none."""

    audio_path: Path | None
    """Sound of the driving clip; None if there is none."""

    width_px: int
    """Of the frames to make, and of the reference."""

    height_px: int
    """Of the frames to make, and of the reference."""

    fps: Fraction
    """Frame rate of the driving poses."""

    seed: int
    """Where randomness starts; the same seed and task give the same frames."""

    def __post_init__(self) -> None:
        size = (self.height_px, self.width_px, 3)
        if self.reference.shape != size or self.reference.dtype != np.uint8:
            got = f"{self.reference.shape} {self.reference.dtype}"
            raise ValueError(f"{self.clip_id}: want a reference of {size} uint8, got {got}")
        if self.reference_pose is not None and len(self.reference_pose) != 1:
            raise ValueError(
                f"{self.clip_id}: want one reference pose, got {len(self.reference_pose)}"
            )

    @property
    def n_frames(self) -> int:
        """How many frames are to be made."""
        return len(self.driving)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GeneratedFrame:
    """One frame of one clip."""

    clip_id: str
    index: int
    """0..T-1; frames of a clip come in order, those of different clips may alternate."""

    image: NDArray[np.uint8]
    """(height_px, width_px, 3) uint8 RGB, as the task asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFailure:
    """A clip that can't be made, while the others of the batch go on. Its frames are void."""

    clip_id: str
    reason: str
    """One line for the user: what is wrong, and what to do if there is something."""


class Generator(Protocol):
    """Makes videos of a reference picture that moves as driving poses say.

    Built once, used for many clips, closed at the end.
    """

    max_clips: int
    """How many tasks `generate` takes at once, 1 or more."""

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        """Yield the frames of all tasks, `task.n_frames` each, without holding whole clips.

        Args:
            tasks: 1 to `max_clips` clips with different ids.

        Yields:
            Frames, in order within a clip; or one failure for a clip, after which nothing of that
            clip follows.

        Raises:
            GeneratorError: none of the clips that are not finished yet can be made.
        """
        ...

    def describe(self) -> Mapping[str, JsonValue]:
        """Return what a run has to record to be repeated: resolved options, weights' sha256, ..."""
        ...

    def close(self) -> None:
        """Give back what was taken: memory, processes, temporary folders. May be called twice."""
        ...
