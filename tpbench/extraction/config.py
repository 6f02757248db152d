"""The settings of an extraction, and the presets they come from.

The source of each number is given beside it in `presets/*.yaml`; the models here define its
meaning, unit and bounds. A preset names every setting, so no default hides in code.
"""

from __future__ import annotations

import hashlib
import json
import logging
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tpbench.errors import ConfigError, did_you_mean
from tpbench.extraction.filters import ALL_FILTERS
from tpbench.files import read_bounded
from tpbench.foreign import parse_yaml

logger = logging.getLogger(__name__)

_MAX_PRESET_BYTES = 1 << 20


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ShotSettings(_Settings):
    """Where one shot ends and the next begins."""

    content_threshold: float = Field(gt=0, le=255)
    """PySceneDetect ContentDetector: HSV change from one frame to the next that is a cut."""
    adaptive_ratio: float = Field(gt=1)
    """PySceneDetect AdaptiveDetector: ratio of a change to that of the neighbouring frames."""
    adaptive_min_content: float = Field(gt=0, le=255)
    """AdaptiveDetector: smaller changes are no cut, whatever their ratio."""
    transition_levels: float = Field(gt=0, le=255)
    """Least mean CIELAB change, within 1, 2 or 4 s, of a dissolve or fade."""
    margin_frames: int = Field(ge=0)
    """Frames left out on both sides of a cut: encoders and converters smear cuts by a frame."""


class ScreeningSettings(_Settings):
    """The cheap first pass."""

    rate_hz: float = Field(ge=0.5, le=10)
    """Frames analysed per second."""
    max_side_px: int = Field(ge=128)
    """Frames are scaled down to this longer side before any analysis, in later stages too."""
    max_gap_s: float = Field(ge=0)
    """A good stretch may have gaps (no face, two faces) up to this long."""
    prominent_face_share: float = Field(gt=0, le=1)
    """A second face counts when it is at least this share of the main face's height."""


class TrackSettings(_Settings):
    """Tracking of one person through the clip."""

    max_jump_faces: float = Field(gt=0)
    """The face may move by this many face heights from one frame to the next."""
    max_gap_s: float = Field(ge=0)
    """The person may be lost (turned away, covered) this long before the clip ends."""
    max_appearance_change: float = Field(gt=0, le=1)
    """A larger Hellinger distance of colour histograms means another person."""


class ClipSettings(_Settings):
    """Length, size and margin of a clip."""

    min_s: float = Field(gt=0)
    max_s: float = Field(gt=0)
    """Shortest and longest clip. Longer stretches are cut into equal parts."""
    out_size_px: int = Field(ge=64, le=4096, multiple_of=16)
    """Side of the square clip."""
    margin_share: float = Field(ge=0, le=1)
    """Space around the body, as a share of the body box."""

    @model_validator(mode="after")
    def _ordered(self) -> ClipSettings:
        if self.max_s < 2 * self.min_s:
            raise ValueError(
                "max_s must be at least twice min_s, else some lengths can't be cut into clips"
            )
        return self


class DWPoseSettings(_Settings):
    """Which frames are searched where the skeleton is DWPose; 1 for every frame.

    Frames are analysed 16 at a time, and the last of them is always searched.
    """

    detect_every: int = Field(ge=1, le=16)
    """Frames from one search for people to the next; between, their boxes are followed."""
    faces_every: int = Field(ge=1, le=16)
    """Frames from one search for faces to the next; between, they move with DWPose's points."""
    hands_every: int = Field(ge=1, le=16)
    """Likewise for hands."""


class MediaPipeSettings(_Settings):
    """How MediaPipe's networks are used in the full-rate pass."""

    every_frame: bool
    """Run them on every frame. Otherwise those of body, faces and hands run about three times a
    second, and more often where optical flow does not lead from one to the next."""


class ExtractionConfig(_Settings):
    """All settings of an extraction. `filters` maps a reject code to its threshold.

    A filter whose threshold is null is off, and so is one that is not named.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    clip: ClipSettings
    shots: ShotSettings
    screening: ScreeningSettings
    track: TrackSettings
    dwpose: DWPoseSettings
    mediapipe: MediaPipeSettings
    filters: dict[str, float | None]

    @model_validator(mode="after")
    def _known_filters(self) -> ExtractionConfig:
        known = {row.code for row in ALL_FILTERS}
        for code in self.filters:
            if code not in known:
                raise ValueError(f"unknown filter '{code}'{did_you_mean(code, known)}")
        return self

    def digest(self) -> str:
        """Return the sha256 of the settings in canonical JSON; the name does not count."""
        settings = self.model_dump(mode="json", exclude={"name"})
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def preset_names() -> list[str]:
    """Return the names of the presets that come with the package."""
    folder = files("tpbench.extraction") / "presets"
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def load_preset(name_or_path: str) -> ExtractionConfig:
    """Return a preset of the package by name, or one of the user's own by path (`*.yaml`).

    An edited copy that still has the name of a preset is called `<name>-edited`.

    Raises:
        ConfigError: no such preset or file, no YAML, an unknown key, a value out of bounds.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        try:
            text = read_bounded(path, _MAX_PRESET_BYTES).decode("utf-8")
        except OSError as error:
            raise ConfigError(f"preset {path} can't be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"preset {path} is no UTF-8 text") from error
        config = parse_preset(text, origin=str(path))
        if unnamed := [row.code for row in ALL_FILTERS if row.code not in config.filters]:
            logger.warning(
                "preset %s does not name %s: off (null makes it explicit)", path, ", ".join(unnamed)
            )
        if config.name in preset_names() and config.digest() != load_preset(config.name).digest():
            return config.model_copy(update={"name": f"{config.name}-edited"})
        return config
    known = preset_names()
    if name_or_path not in known:
        raise ConfigError(
            f"unknown preset '{name_or_path}'{did_you_mean(name_or_path, known)}"
            " (or give the path of a .yaml file)"
        )
    text = (files("tpbench.extraction") / "presets" / f"{name_or_path}.yaml").read_text("utf-8")
    return parse_preset(text, origin=f"preset '{name_or_path}'")


def parse_preset(text: str, *, origin: str) -> ExtractionConfig:
    """Return the settings that a YAML text holds; `origin` names it in errors.

    Raises:
        ConfigError: with every wrong key and value in one line.
    """
    try:
        data = parse_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # PyYAML lets the ValueError of an impossible date or number through.
        raise ConfigError(f"{origin} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{origin} must hold a mapping of settings")
    try:
        return ExtractionConfig.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(_problem(item) for item in error.errors())
        raise ConfigError(f"{origin}: {problems}") from error


def _problem(item: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails is a TypedDict of unions
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        *parents, key = (str(part) for part in item["loc"])
        return f"unknown setting '{where}'{did_you_mean(key, _settings_of(parents))}"
    text = str(item["msg"]).removeprefix("Value error, ")
    return f"{where}: {text}" if where else text


def _settings_of(parents: list[str]) -> list[str]:
    model: type[BaseModel] = ExtractionConfig
    for parent in parents:
        annotation = model.model_fields[parent].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
