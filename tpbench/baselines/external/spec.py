"""The spec of a method: its installation, inputs, command and output files.

A spec is a YAML file, of the package (`specs/<id>.yaml`) or anywhere else. It is validated as a
whole, so that mistakes are found before anything runs. `{name}` in commands, templates and patterns
is a placeholder that is replaced by a value; no value is ever inserted into text that is parsed
later. A template is a structure whose strings are filled in and which is then dumped as YAML; a
command is a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from tpbench.canonical import settings_digest
from tpbench.errors import ConfigError, did_you_mean
from tpbench.files import read_bounded
from tpbench.foreign import parse_yaml

Value: TypeAlias = "str | int | float"

EACH: Final = "each_clip"
"""`{each_clip: X}` in a template becomes a list with one X for every clip of the run."""
EACH_MERGED: Final = "each_clip_merged"
"""`{each_clip_merged: {...}}` becomes one mapping with the entries of every clip of the run."""


def names_in(text: str) -> Iterator[str]:
    """Yield the placeholders of one string; `{{` and `}}` stand for braces.

    Raises:
        ValueError: a brace is not closed, or a placeholder is no plain name.
    """
    for _, name, format_spec, conversion in Formatter().parse(text):
        if name is None:
            continue
        if not name.isidentifier() or format_spec or conversion:
            raise ValueError(f"'{text}': a placeholder is a plain name in braces")
        yield name


def names_in_structure(node: Any, *, in_clip: bool = False) -> Iterator[tuple[str, bool]]:  # noqa: ANN401 - any YAML
    """Yield the placeholders of a template, and whether each is below `each_clip`."""
    if isinstance(node, str):
        for name in names_in(node):
            yield name, in_clip
    elif isinstance(node, dict):
        for key, value in node.items():
            if isinstance(key, str) and key not in (EACH, EACH_MERGED):
                yield from names_in_structure(key, in_clip=in_clip)
            yield from names_in_structure(value, in_clip=in_clip or key in (EACH, EACH_MERGED))
    elif isinstance(node, list):
        for item in node:
            yield from names_in_structure(item, in_clip=in_clip)


def fill(text: str, values: Mapping[str, Value]) -> Value:
    """Fill in one string; if it is a single placeholder, the value keeps its type."""
    names = list(names_in(text))
    if len(names) == 1 and text == f"{{{names[0]}}}":
        return values[names[0]]
    return text.format_map(values)


def fill_structure(
    node: Any,  # noqa: ANN401 - any YAML
    values: Mapping[str, Value],
    clips: Sequence[Mapping[str, Value]],
) -> Any:  # noqa: ANN401 - any YAML
    """Fill in a template with the values of the run, and, below `each_clip`, of each clip."""
    if isinstance(node, str):
        return fill(node, values)
    if isinstance(node, list):
        return [fill_structure(item, values, clips) for item in node]
    if not isinstance(node, dict):
        return node
    if set(node) == {EACH}:
        return [fill_structure(node[EACH], {**values, **clip}, clips) for clip in clips]
    if set(node) == {EACH_MERGED}:
        merged: dict[Any, Any] = {}
        for clip in clips:
            merged.update(fill_structure(node[EACH_MERGED], {**values, **clip}, clips))
        return merged
    filled = {key: fill_structure(value, values, clips) for key, value in node.items()}
    return {
        str(fill(key, values)) if isinstance(key, str) else key: value
        for key, value in filled.items()
    }


def _relative(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"'{path}' leads out of its folder")
    return path


Inside: TypeAlias = Annotated[str, AfterValidator(_relative)]
"""A path within a folder of the method."""


class SpecPart(BaseModel):
    """Base class of all parts: unknown fields are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Licence(SpecPart):
    """Licences of the method."""

    code: str
    weights: str


class Environment(SpecPart):
    """The Python environment that the method runs in, created once by the user."""

    kind: Literal["venv", "conda"]
    """Both have their Python at `<env>/bin/python`."""
    python: str
    """Version, such as `3.10`."""
    steps: tuple[str, ...]
    """Commands that install its packages, with {env} and {checkout}."""


class Weights(SpecPart):
    """Files from one source that the method loads."""

    name: str
    source: str
    """A web address."""
    licence: str
    """Terms, including agreements that must be signed."""
    steps: tuple[str, ...] = ()
    """Commands that fetch them, with {checkout}."""
    paths: tuple[Inside, ...]
    """Paths in the checkout; all must exist before the method is run."""


class Geometry(SpecPart):
    """How a clip is fitted to the method's canvas; the output is mapped back the same way.

    pad: the canvas is the clip's size, rounded up to `multiple_of`. letterbox: the clip is scaled
    to fit into one of `sizes`, the one it fills best. stretch: the same, but filling it completely.
    """

    fit: Literal["pad", "letterbox", "stretch"]
    multiple_of: int = Field(default=8, ge=1)
    """Only with pad."""
    sizes: tuple[tuple[PositiveInt, PositiveInt], ...] = ()
    """Width and height in px of the canvases to choose from; of equally good ones, the first."""
    fill: Literal["edge", "black"] = "edge"
    """Content of the canvas around the clip: its outermost pixels repeated, or black."""

    @model_validator(mode="after")
    def _sized(self) -> Self:
        if (self.fit == "pad") == bool(self.sizes):
            raise ValueError("sizes belong to letterbox and stretch, and only to them")
        return self


class RefPng(SpecPart):
    """The reference image as PNG."""

    kind: Literal["ref_png"]


class PoseMp4(SpecPart):
    """The DWPose drawings as H.264 video."""

    kind: Literal["pose_mp4"]


class PosePngs(SpecPart):
    """The DWPose drawings as a folder of PNG files."""

    kind: Literal["pose_pngs"]
    names: str
    """Printf-style name with one %d, such as `frame_%d.png`."""

    @field_validator("names")
    @classmethod
    def _numbered(cls, names: str) -> str:
        if not re.fullmatch(r"[\w.-]*%(0\d+)?d[\w.-]*", names):
            raise ValueError(f"'{names}': want a file name with one %d or %06d")
        return names


class RawMp4(SpecPart):
    """The driving video itself."""

    kind: Literal["raw_mp4"]
    rate_hz: int | None = Field(default=None, ge=1)
    """Frame rate to write instead of the clip's, for methods that drop frames at higher rates."""


class DensePoseMp4(SpecPart):
    """DensePose images of the driving video, which the user provides as `<clip_id>.mp4`."""

    kind: Literal["densepose_mp4"]
    background_rgb: tuple[int, int, int]


class GuidanceDir(SpecPart):
    """Folders of images, which the user provides as `<clip_id>/<folder>/*.png`."""

    kind: Literal["guidance_dir"]
    folders: tuple[str, ...]


Input: TypeAlias = Annotated[
    RefPng | PoseMp4 | PosePngs | RawMp4 | DensePoseMp4 | GuidanceDir, Field(discriminator="kind")
]


class FrameWindow(SpecPart):
    """The `{window}` of a method that processes a fixed number of frames at once."""

    at_most: int = Field(ge=1)
    extra_frames: int = 0
    """Frames that the method adds to the clip, and counts."""

    def frames(self, n_frames: int) -> int:
        """Return the window for a clip: at most its number of frames."""
        return min(self.at_most, n_frames + self.extra_frames)


class Panels(SpecPart):
    """A row of images of equal size, one of which is the generated frame."""

    columns: int = Field(ge=2)
    index: int = Field(ge=0)
    padding_px: int = Field(ge=0)
    """Around each image; adjacent images share it."""

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.index >= self.columns:
            raise ValueError(f"index {self.index} is not one of {self.columns} columns")
        return self


class Collect(SpecPart):
    """The output of the method, and the part of it that contains the clip's frames."""

    root: Literal["out", "work"]
    """out: the private output folder. work: the private folder that it runs in."""
    glob: Inside
    kind: Literal["video", "pictures"]
    index_regex: str = r"(\d+)\.\w+$"
    """Matches an image's number in its name; frames are sorted by it."""
    panels: Panels | None = None
    drop_first: int = Field(default=0, ge=0)
    """Number of frames before those of the clip, which are dropped."""

    @field_validator("index_regex")
    @classmethod
    def _one_group(cls, regex: str) -> str:
        if re.compile(regex).groups != 1:
            raise ValueError(f"'{regex}': want one group")
        return regex


class Timeout(SpecPart):
    """Time limit of a run."""

    base_s: float = Field(gt=0)
    per_frame_s: float = Field(ge=0)


_FOLDER: Final = files("tpbench.baselines.external") / "specs"

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The fast C loader if PyYAML has it, because listing models reads all specs."""
_MAX_BYTES: Final = 1 << 20

RUN_NAMES: Final = ("python", "out", "free_port")
"""Placeholders of a whole run: the environment's Python, a private output folder, ..."""
CLIP_NAMES: Final = ("clip", "width", "height", "fps", "n_frames", "window", "seed")
"""Placeholders of one clip: its short name in the run, the size of the canvas, ..."""


class MethodSpec(SpecPart):
    """The spec of one method."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)
    """Its name on the command line, and the name of its folders and runs."""
    display_name: str
    description: str
    """One line."""
    url: str
    paper_url: str = ""
    """Page of its paper; empty if not known."""
    commit: str
    """The version of the code that this spec was written for."""
    licence: Licence
    params_b: float | None = None
    needs: tuple[str, ...]
    """Lines to display: hardware, inputs that the user must provide."""
    notes: tuple[str, ...]
    """Lines to display: how the adapter keeps the frames aligned with the driving poses."""
    env: Environment
    env_vars: dict[str, str] = Field(default_factory=dict)
    """Variables for the command; may contain placeholders."""
    weights: tuple[Weights, ...]
    mode: Literal["clip", "batch"]
    """clip: one clip per run. batch: several clips per run, independent of each other."""
    uses_seed: bool = True
    geometry: Geometry
    inputs: dict[str, Input]
    """By the placeholder of their path."""
    settings: dict[str, int | float] = Field(default_factory=dict)
    """The method's own settings: options of the model, and placeholders."""
    window: FrameWindow | None = None
    templates: dict[str, Any] = Field(default_factory=dict)
    """By placeholder: structures that are filled in and written as YAML."""
    fresh: tuple[Inside, ...] = ()
    """Folders of the checkout that the method writes into; a run gets private, empty ones."""
    command: tuple[str, ...]
    """Run in a private folder with links to the files of the checkout."""
    collect: Collect
    timeout: Timeout
    _file: Path | None = PrivateAttr(default=None)

    @property
    def digest(self) -> str:
        """sha256 of the whole content of the spec."""
        # The paper says nothing about the frames: without it, runs keep the digest they had.
        return settings_digest(self.model_dump(mode="json", exclude={"paper_url"}))

    @property
    def file(self) -> Path | None:
        """The file it was read from; None for specs of the package."""
        return self._file

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        own = [*self.inputs, *self.settings, *self.templates]
        twice = [name for name in own if own.count(name) > 1 or name in RUN_NAMES + CLIP_NAMES]
        if twice:
            raise ValueError(f"'{twice[0]}' names two things")
        clip = {*CLIP_NAMES, *self.inputs} - ({"window"} if self.window is None else set())
        run = {*RUN_NAMES, *self.settings}
        anywhere = run if self.mode == "batch" else run | clip
        steps = [*self.env.steps, *(step for row in self.weights for step in row.steps)]
        places: tuple[tuple[str, list[Any], set[str]], ...] = (
            ("steps", steps, {"env", "checkout"}),
            ("command", list(self.command), anywhere | set(self.templates)),
            ("env_vars", list(self.env_vars.values()), anywhere),
            ("collect", [self.collect.glob], {*clip, *self.settings}),
            ("templates", list(self.templates.values()), anywhere),
        )
        for where, texts, known_here in places:
            for name, in_clip in names_in_structure(texts):
                known = known_here | clip if in_clip else known_here
                if name not in known:
                    whose = " (one clip's; it can't stand for a batch)" if name in clip else ""
                    hint = "" if whose else did_you_mean(name, known)
                    raise ValueError(f"{where}: unknown placeholder '{{{name}}}'{whose}{hint}")
        return self


def parse_spec(data: object, *, name: str) -> MethodSpec:
    """Validate the parsed YAML of a spec, which errors call `name`.

    Raises:
        ConfigError: something in it is wrong; one line gives the place and the reason.
    """
    try:
        return MethodSpec.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        text = " ".join(first["msg"].removeprefix("Value error, ").split())
        raise ConfigError(f"spec '{name}': {where}{': ' if where else ''}{text}") from error


def spec_ids() -> tuple[str, ...]:
    """Return the ids of the methods that come with tpbench, sorted."""
    names = (entry.name for entry in _FOLDER.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def is_spec_file(name: str) -> bool:
    """Whether the given name of a model is the path of a spec."""
    return name.endswith((".yaml", ".yml"))


def load_spec(name: str) -> MethodSpec:
    """Read a spec: of a method that comes with tpbench by its id, or any other by its path.

    Raises:
        ConfigError: there is none, or something in it is wrong.
    """
    if not is_spec_file(name):
        if name not in spec_ids():
            raise ConfigError(f"no external method '{name}'{did_you_mean(name, spec_ids())}")
        return _packaged(name)
    path = Path(name).expanduser()
    try:
        text = read_bounded(path, _MAX_BYTES).decode("utf-8")
        data = parse_yaml(text, loader=_LOADER)
    except OSError as error:
        raise ConfigError(f"spec '{name}' can't be read: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # PyYAML raises ValueError for an impossible date; text that is no UTF-8 raises it too.
        raise ConfigError(f"spec '{name}' is no YAML: {' '.join(str(error).split())}") from error
    spec = parse_spec(data, name=name)
    if spec.id in spec_ids() and spec == _packaged(spec.id):
        return _packaged(spec.id)
    spec._file = path
    return spec


@cache
def _packaged(method_id: str) -> MethodSpec:
    text = (_FOLDER / f"{method_id}.yaml").read_text(encoding="utf-8")
    return parse_spec(yaml.load(text, Loader=_LOADER), name=method_id)  # noqa: S506 - a safe loader
