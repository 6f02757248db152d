"""The seam between the harness and the generators.

A generator gets tasks and yields frames as they come. It knows no dataset, no run folder and no
metric. Nothing of one clip may affect the next.
"""

from __future__ import annotations

import reprlib
from abc import ABC, abstractmethod
from collections.abc import Generator as IteratorOf
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from tpbench.errors import ConfigError, MediaError, did_you_mean
from tpbench.wholebody import WholeBodyPose

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
"""What a run's record can hold."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnimationTask:
    """One clip to make: a person's picture and the poses that move it."""

    clip_id: str
    """Names the clip in records and files."""
    reference: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB: the person to animate, with the background."""
    reference_pose: WholeBodyPose | None
    """Pose of the reference, one frame; None where it is not known."""
    driving: WholeBodyPose
    """T frames of pose, in px of the output; one frame is made for each."""
    driving_video: Path | None
    """The clip the poses were taken from, for methods that want pixels; None if there is none."""
    audio_path: Path | None
    """Sound of the driving clip; None if there is none."""
    width_px: int
    """Of the frames to make, and of the reference; so is the height."""
    height_px: int
    fps: Fraction
    """Frame rate of the driving poses."""
    seed: int
    """Random seed; the same seed and task give the same frames."""

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
    """A clip that can't be made; the others of the batch go on. Its frames are discarded."""

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
        """Free memory, processes and temporary folders. May be called twice."""
        ...


Images: TypeAlias = IteratorOf[NDArray[np.uint8]]


class ClipByClip(ABC):
    """Base of generators that make one clip after the other and hold nothing between them."""

    max_clips = 1

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        """Yield the frames of each task, or its failure if a file of it can't be used."""
        for task in tasks:
            try:
                with closing(self.images(task)) as stream:
                    for index, image in enumerate(stream):
                        yield GeneratedFrame(clip_id=task.clip_id, index=index, image=image)
            except MediaError as error:
                yield ClipFailure(clip_id=task.clip_id, reason=str(error))

    @abstractmethod
    def images(self, task: AnimationTask) -> Images:
        """Yield (height_px, width_px, 3) uint8 RGB, as many as the task asks for."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Do nothing: nothing is held."""


Kind = Literal["anchor", "baseline", "model", "external"]
"""anchor: calibrates the metrics. baseline: needs no weights. model: native, with weights.
external: runs in the method's own environment."""
OptionValue = str | int | float | bool


class ModelRow(BaseModel):
    """A model that is not built yet: a row of `registry.yaml`, or from a spec."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    display_name: str
    kind: Kind
    description: str
    """One line."""
    factory: str
    """"module:callable", called as `callable(name, options, weights_dir=..., device=...)`."""
    variants: Mapping[str, Mapping[str, OptionValue]] = {}
    """Options that `id:variant` stands for."""
    needs: tuple[str, ...] = ()
    """Lines for people: weights, extras, hardware."""
    install: tuple[str, ...] = ()
    """Commands that install it, one a line."""
    licence_code: str = ""
    licence_weights: str = ""
    """Empty where there are no weights."""
    url: str = ""
    params_b: float | None = None
    """Parameters in billions, all networks that run; None where not known."""


class Options(BaseModel):
    """Base of the options of every generator.

    A subclass names each option with its type, bounds, default and meaning. Values may be text, as
    on a command line: `"5"` for an int, `"no"` for a bool.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


OptionsT = TypeVar("OptionsT", bound=Options)


def parse_options(
    model_id: str, kind: type[OptionsT], options: Mapping[str, OptionValue]
) -> OptionsT:
    """Return the options given for a model as its class of options, which has the defaults.

    Raises:
        ConfigError: unknown, missing or wrong options; one line names the model, each of them, its
            value and what is allowed.
    """
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        problems = dict.fromkeys(_problem(item, kind) for item in error.errors())
        raise ConfigError(f"{model_id}: {'; '.join(problems)}") from error


def _problem(item: ErrorDetails, kind: type[Options]) -> str:
    """Return what is wrong with one option, or with all of them together, in one line."""
    text = " ".join(item["msg"].removeprefix("Value error, ").split())
    if not item["loc"]:
        return text
    # What follows the name is the branch of a union that did not fit.
    name = str(item["loc"][0])
    if item["type"] == "extra_forbidden":
        known = kind.model_fields
        return f"no option '{name}'{did_you_mean(name, known) if known else '; it has none'}"
    if item["type"] == "missing":
        return f"option '{name}' is required: give {name}=..."
    return f"{name}={reprlib.repr(item['input'])} is wrong: {text[:1].lower()}{text[1:]}"
