"""The parts of a spec: environment, weights, geometry, inputs, what is collected."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator, model_validator


class Part(BaseModel):
    """Base of all parts: nothing unknown in it, nothing changed in it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Licence(Part):
    """Under what terms the method may be used."""

    code: str
    weights: str


class Environment(Part):
    """The Python environment the method runs in, made once by the user."""

    kind: Literal["venv", "conda"]
    """Both have their Python at `<env>/bin/python`."""

    python: str
    """Version, as `3.10`."""

    steps: tuple[str, ...]
    """Commands that fill it, with {env} and {checkout}."""


class Weights(Part):
    """Files of one origin that the method loads."""

    name: str
    source: str
    """A web address."""

    licence: str
    """Terms, and what has to be signed to get them."""

    steps: tuple[str, ...] = ()
    """Commands that fetch them, with {checkout}."""

    paths: tuple[str, ...]
    """Where they lie in the checkout; all must be there before the method is run."""

    @field_validator("paths")
    @classmethod
    def _inside(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_relative(path) for path in paths)


class Geometry(Part):
    """How a clip is laid on the canvas the method works on; its output is taken back the same way.

    pad: the canvas is the clip's size, rounded up to `multiple_of`. letterbox: the clip is scaled
    to fit into one of `sizes`, whichever it fills best. stretch: the same, but filling it.
    """

    fit: Literal["pad", "letterbox", "stretch"]
    multiple_of: int = Field(default=8, ge=1)
    """Only with pad."""

    sizes: tuple[tuple[PositiveInt, PositiveInt], ...] = ()
    """Width and height in px of the canvases to choose from; the first of equal ones is taken."""

    fill: Literal["edge", "black"] = "edge"
    """What is around the clip: its outermost pixels again, or black."""

    @model_validator(mode="after")
    def _sized(self) -> Self:
        if (self.fit == "pad") == bool(self.sizes):
            raise ValueError("sizes belong to letterbox and stretch, and only to them")
        return self


class RefPng(Part):
    """The reference picture as PNG."""

    kind: Literal["ref_png"]


class PoseMp4(Part):
    """The DWPose drawings as H.264 video."""

    kind: Literal["pose_mp4"]


class PosePngs(Part):
    """The DWPose drawings as a folder of PNG files."""

    kind: Literal["pose_pngs"]
    names: str
    """Printf-style name with one %d, as `frame_%d.png`."""

    @field_validator("names")
    @classmethod
    def _numbered(cls, names: str) -> str:
        if not re.fullmatch(r"[\w.-]*%(0\d+)?d[\w.-]*", names):
            raise ValueError(f"'{names}': want a file name with one %d or %06d")
        return names


class RawMp4(Part):
    """The driving video itself."""

    kind: Literal["raw_mp4"]
    rate_hz: int | None = Field(default=None, ge=1)
    """Rate it is written at, whatever the clip's: for methods that drop frames of faster ones."""


class DensePoseMp4(Part):
    """DensePose pictures of the driving video, which the user brings as `<clip_id>.mp4`."""

    kind: Literal["densepose_mp4"]
    background_rgb: tuple[int, int, int]


class GuidanceDir(Part):
    """Folders of pictures that the user brings as `<clip_id>/<folder>/*.png`."""

    kind: Literal["guidance_dir"]
    folders: tuple[str, ...]


Input: TypeAlias = Annotated[
    RefPng | PoseMp4 | PosePngs | RawMp4 | DensePoseMp4 | GuidanceDir, Field(discriminator="kind")
]


class Window(Part):
    """The `{window}` of a method that works on a fixed number of frames at once."""

    at_most: int = Field(ge=1)
    extra_frames: int = 0
    """Frames that the method adds to those of the clip before it counts."""

    def frames(self, n_frames: int) -> int:
        """Return the window for a clip: never more than there are frames."""
        return min(self.at_most, n_frames + self.extra_frames)


class Panels(Part):
    """A row of equal pictures side by side, of which one is wanted."""

    columns: int = Field(ge=2)
    index: int = Field(ge=0)
    padding_px: int = Field(ge=0)
    """Around each picture; between two it is shared."""

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.index >= self.columns:
            raise ValueError(f"index {self.index} is not one of {self.columns} columns")
        return self


class Collect(Part):
    """What the method writes, and which part of it are the clip's frames."""

    root: Literal["out", "work"]
    """out: the private output folder. work: the private folder that it runs in."""

    glob: str
    kind: Literal["video", "pictures"]
    index_regex: str = r"(\d+)\.\w+$"
    """Finds a picture's number in its name: frames are sorted by it, not by their names."""

    panels: Panels | None = None
    drop_first: int = Field(default=0, ge=0)
    """Frames in front of those of the clip."""

    @field_validator("glob")
    @classmethod
    def _inside(cls, glob: str) -> str:
        return _relative(glob)

    @field_validator("index_regex")
    @classmethod
    def _one_group(cls, regex: str) -> str:
        if re.compile(regex).groups != 1:
            raise ValueError(f"'{regex}': want one group")
        return regex


class Timeout(Part):
    """How long a run may take before it counts as hanging."""

    base_s: float = Field(gt=0)
    per_frame_s: float = Field(ge=0)


def _relative(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"'{path}' leads out of its folder")
    return path
