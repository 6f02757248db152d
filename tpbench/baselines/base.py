"""The interface between the benchmark and the generators.

A generator receives tasks and yields frames as they are generated. It has no access to datasets,
run folders or metrics, and no state of one clip may affect the next.
"""

from __future__ import annotations

import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Generator as IteratorOf
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar, get_args, get_origin

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, to_jsonable_python

from tpbench.errors import ConfigError, MediaError, did_you_mean
from tpbench.wholebody import WholeBodyPose

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
"""Values that a run's record can hold."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnimationTask:
    """One clip to generate: the image of a person and the poses that drive it."""

    clip_id: str
    """Identifies the clip in records and files."""
    reference: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB: the person to animate, with the background."""
    reference_pose: WholeBodyPose | None
    """Pose of the reference, one frame; None if unknown."""
    driving: WholeBodyPose
    """T frames of pose, in px of the output; one frame is generated for each."""
    driving_video: Path | None
    """The clip that the poses were extracted from, for methods that need pixels; None if none."""
    audio_path: Path | None
    """Sound of the driving clip; None if there is none."""
    width_px: int
    """Width of the frames to generate and of the reference; the same holds for the height."""
    height_px: int
    fps: Fraction
    """Frame rate of the driving poses."""
    seed: int
    """Random seed; the same seed and task give the same frames."""
    still_working: Callable[[], None] = field(default=lambda: None, repr=False)
    """Cheap to call where the next frame may take more than minutes: the work goes on. A clip of
    which nothing is heard for long is taken to hang, and its worker is killed."""

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
        """Number of frames to generate."""
        return len(self.driving)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GeneratedFrame:
    """One frame of one clip."""

    clip_id: str
    index: int
    """0..T-1; frames of a clip come in order, those of different clips may alternate."""
    image: NDArray[np.uint8]
    """(height_px, width_px, 3) uint8 RGB, as in the task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFailure:
    """A clip that can't be generated; its frames are discarded, and the batch continues."""

    clip_id: str
    reason: str
    """One line for the user: what is wrong and, if possible, what to do."""


class Generator(Protocol):
    """Generates videos in which a reference image moves according to driving poses.

    Built once, used for many clips, closed at the end.
    """

    max_clips: int
    """Number of tasks that `generate` accepts at once, 1 or more."""

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        """Yield the frames of all tasks, `task.n_frames` each, without holding whole clips.

        Args:
            tasks: 1 to `max_clips` clips with different ids.

        Yields:
            Frames, in order within a clip; or one failure for a clip, after which no more frames of
            that clip follow.

        Raises:
            GeneratorError: none of the unfinished clips can be generated.
        """
        ...

    def describe(self) -> Mapping[str, JsonValue]:
        """Return what a run records to be repeatable: resolved options, sha256 of weights, ..."""
        ...

    def close(self) -> None:
        """Release memory, processes and temporary folders. May be called repeatedly."""
        ...


Images: TypeAlias = IteratorOf[NDArray[np.uint8]]


class ClipByClip(ABC):
    """Base class of generators that process one clip at a time and hold no state in between."""

    max_clips = 1

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        """Yield the frames of each task, or a failure if one of its files can't be used."""
        for task in tasks:
            try:
                with closing(self.images(task)) as stream:
                    for index, image in enumerate(stream):
                        yield GeneratedFrame(clip_id=task.clip_id, index=index, image=image)
            except MediaError as error:
                yield ClipFailure(clip_id=task.clip_id, reason=str(error))

    @abstractmethod
    def images(self, task: AnimationTask) -> Images:
        """Yield (height_px, width_px, 3) uint8 RGB, one for each frame of the task."""

    def close(self) -> None:  # noqa: B027 - most have no resources
        """Do nothing, as there are no resources to release."""


Kind = Literal["anchor", "baseline", "model", "external"]
"""anchor: calibrates the metrics. baseline: needs no weights. model: native, with weights.
external: runs in the method's own environment."""
OptionValue = str | int | float | bool


class ModelRow(BaseModel):
    """Description of a model before it is built: a row of `registry.yaml`, or from a spec."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    display_name: str
    kind: Kind
    description: str
    """One line."""
    factory: str
    """"module:callable", called as `callable(name, options, weights_dir=..., device=...)`."""
    options: str = ""
    """"module:class" of its `Options`; empty: `Options` itself, or, of a spec, made from it."""
    lacking: str = ""
    """"module:callable" that finds out, without loading any weights, what it lacks on this machine;
    called like the factory, it returns lines. Empty: the factory itself says what it lacks."""
    weights: str = ""
    """Its group in `tpbench weights list`; empty: none of the table."""
    variants: Mapping[str, Mapping[str, OptionValue]] = {}
    """Variant -> the options that `id:variant` selects."""
    needs: tuple[str, ...] = ()
    """Lines to display: weights, extras, hardware."""
    install: tuple[str, ...] = ()
    """Commands that install it, one per line."""
    licence_code: str = ""
    licence_weights: str = ""
    """Empty if there are no weights."""
    url: str = ""
    """Home of its code."""
    paper_url: str = ""
    weights_url: str = ""
    """Page of its weights. These are empty if not known."""
    params_b: float | None = None
    """Parameters in billions, over all networks that run; None if unknown."""


class Options(BaseModel):
    """Base class of the options of a generator.

    A subclass declares each option with its type, bounds, default and, as its docstring, meaning:
    `tpbench models show` prints them. Values may be text, as on a command line: `"5"` for an int,
    `"no"` for a bool.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )


class OptionRow(NamedTuple):
    """One option of a model, for display."""

    name: str
    type: str
    """In words, such as "whole number, 1 or more", or the allowed values: "fail, area"."""
    default: JsonValue
    """None also where there is no default, see `required`."""
    required: bool
    meaning: str
    """Empty if the method itself names the option."""


class WeightPart(NamedTuple):
    """Files of a model from one source, for display."""

    name: str
    status: str
    """Such as missing, present, verified."""
    size_bytes: int | None
    """None if not known."""
    source: str
    """A web address."""
    licence: str


def option_rows(kind: type[Options]) -> tuple[OptionRow, ...]:
    """Return the options that a class declares, in its order."""
    defaults = {name: field.get_default() for name, field in kind.model_fields.items()}
    return tuple(
        OptionRow(
            name=name,
            type=_shown_type(field.annotation, _limits(field.metadata)),
            default=None if field.is_required() else to_jsonable_python(defaults[name]),
            required=field.is_required(),
            meaning=" ".join((field.description or "").split()),
        )
        for name, field in kind.model_fields.items()
    )


def _shown_type(annotation: Any, limits: str = "") -> str:  # noqa: ANN401 - any annotation
    """Return a type as a user types its values: "number (0 to 1)", "fp32, fp16, auto", "path"."""
    if get_origin(annotation) is Literal:
        return ", ".join(map(str, get_args(annotation)))
    parts = [part for part in get_args(annotation) if part is not type(None)]
    if parts:
        return ", ".join(_shown_type(part, limits) for part in parts)
    if annotation in (int, float):
        return ("whole number" if annotation is int else "number") + limits
    names = {Path: "path", bool: "yes or no", str: "text"}
    return names.get(annotation) or str(getattr(annotation, "__name__", annotation))


def _limits(metadata: Sequence[Any]) -> str:
    """Return the bounds of a number as its fields' metadata have them: " (1 to 1000)"."""
    found = {
        name: limit
        for item in metadata
        for name in ("ge", "gt", "le", "multiple_of")
        if (limit := getattr(item, name, None)) is not None
    }
    words = []
    if "ge" in found:
        words.append(f"{found['ge']:g} " + (f"to {found['le']:g}" if "le" in found else "or more"))
    if "gt" in found:
        words.append(f"above {found['gt']:g}")
    if "multiple_of" in found:
        words.append(f"a multiple of {found['multiple_of']:g}")
    return f" ({', '.join(words)})" if words else ""


OptionsT = TypeVar("OptionsT", bound=Options)


def parse_options(
    model_id: str, kind: type[OptionsT], options: Mapping[str, OptionValue]
) -> OptionsT:
    """Return the given options of a model as an instance of its options class, with defaults.

    Raises:
        ConfigError: unknown, missing or wrong options; one line names the model, each such option,
            its value and what is allowed.
    """
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        problems = dict.fromkeys(_problem(item, kind) for item in error.errors())
        raise ConfigError(f"{model_id}: {'; '.join(problems)}") from error


def _problem(item: ErrorDetails, kind: type[Options]) -> str:
    """Describe in one line what is wrong with one option, or with the options together."""
    text = " ".join(item["msg"].removeprefix("Value error, ").split())
    if not item["loc"]:
        return text
    # Further parts of `loc` name the branch of a union that did not match.
    name = str(item["loc"][0])
    if item["type"] == "extra_forbidden":
        known = kind.model_fields
        return f"no option '{name}'{did_you_mean(name, known) if known else '; it has none'}"
    if item["type"] == "missing":
        return f"option '{name}' is required: give {name}=..."
    return f"{name}={reprlib.repr(item['input'])} is wrong: {text[:1].lower()}{text[1:]}"
