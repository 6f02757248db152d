"""What is written down about a method: how to get it, what it wants, what it leaves behind.

A spec is read from `specs/<id>.yaml` and checked as a whole, so that a slip in it is found before
anything runs.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from tpbench.baselines.external.parts import (
    Collect,
    Environment,
    Geometry,
    Input,
    Licence,
    Part,
    Timeout,
    Weights,
    Window,
)
from tpbench.baselines.external.placeholders import names_in, names_in_structure
from tpbench.errors import ConfigError, did_you_mean

RUN_NAMES: Final = ("python", "out", "free_port")
"""Placeholders that hold for a whole run: the environment's Python, a private output folder, ..."""

CLIP_NAMES: Final = ("clip", "width", "height", "fps", "n_frames", "window", "seed")
"""Placeholders of one clip: its short name in the run, the size the method works at, ..."""


class MethodSpec(Part):
    """One method."""

    id: str
    display_name: str
    description: str
    """One line."""

    url: str
    commit: str
    """The state of the code that this spec was written for."""

    licence: Licence
    params_b: float | None = None
    needs: tuple[str, ...]
    """Lines for people: hardware, inputs that the user has to bring."""

    notes: tuple[str, ...]
    """Lines for people: what the adapter does so that frames come back aligned."""

    env: Environment
    env_vars: dict[str, str] = Field(default_factory=dict)
    """Variables for the command; may hold placeholders."""

    weights: tuple[Weights, ...]
    mode: Literal["clip", "batch"]
    """clip: one clip a run. batch: several, without one having an effect on the other."""

    uses_seed: bool = True
    geometry: Geometry
    inputs: dict[str, Input]
    """By the placeholder that gives their path."""

    settings: dict[str, int | float] = Field(default_factory=dict)
    """The method's own knobs, which the user may set as options; placeholders too."""

    window: Window | None = None
    templates: dict[str, Any] = Field(default_factory=dict)
    """By placeholder: structures that are filled in and written as YAML."""

    fresh: tuple[str, ...] = ()
    """Folders of the checkout that the method writes into; a run gets private, empty ones."""

    command: tuple[str, ...]
    """Run in a private folder that shows the checkout."""

    collect: Collect
    timeout: Timeout

    @property
    def digest(self) -> str:
        """sha256 over everything that the spec says."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        own = [*self.inputs, *self.settings, *self.templates]
        twice = [name for name in own if own.count(name) > 1 or name in RUN_NAMES + CLIP_NAMES]
        if twice:
            raise ValueError(f"'{twice[0]}' names two things")
        clip = {*CLIP_NAMES, *self.inputs} - ({"window"} if self.window is None else set())
        run = {*RUN_NAMES, *self.settings}
        anywhere = run if self.mode == "batch" else run | clip
        known_at = {
            "command": anywhere | set(self.templates),
            "env_vars": anywhere,
            "templates": anywhere,
            "collect": {*clip, *self.settings},
            "steps": {"env", "checkout"},
        }
        for where, name, in_clip in self._placeholders():
            known = known_at[where] | (clip if in_clip else set())
            if name not in known:
                whose = " (one clip's; it can't stand for a batch)" if name in clip else ""
                hint = "" if whose else did_you_mean(name, known)
                raise ValueError(f"{where}: unknown placeholder '{{{name}}}'{whose}{hint}")
        return self

    def _placeholders(self) -> list[tuple[str, str, bool]]:
        """Return all placeholders: where, which, and whether it is one clip's there."""
        steps = [*self.env.steps, *(step for row in self.weights for step in row.steps)]
        found = [("steps", name, False) for text in steps for name in names_in(text)]
        found += [("command", name, False) for text in self.command for name in names_in(text)]
        found += [
            ("env_vars", name, False) for text in self.env_vars.values() for name in names_in(text)
        ]
        found += [("collect", name, True) for name in names_in(self.collect.glob)]
        found += [
            ("templates", name, in_clip)
            for name, in_clip in names_in_structure(list(self.templates.values()))
        ]
        return found


def parse_spec(data: object, *, name: str) -> MethodSpec:
    """Check a spec.

    Args:
        data: what YAML gives.
        name: names the spec in errors.

    Raises:
        ConfigError: something in it is wrong; one line says what and where.
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
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


@cache
def load_spec(method_id: str) -> MethodSpec:
    """Read the spec of a method that comes with tpbench.

    Raises:
        ConfigError: there is none, or something in it is wrong.
    """
    if method_id not in spec_ids():
        raise ConfigError(f"no external method '{method_id}'{did_you_mean(method_id, spec_ids())}")
    text = (_folder() / f"{method_id}.yaml").read_text(encoding="utf-8")
    # The C loader where PyYAML has it: listing models reads all specs.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return parse_spec(yaml.load(text, Loader=loader), name=method_id)  # noqa: S506 - a safe loader


def _folder() -> Any:  # noqa: ANN401 - a Traversable, which has no public name in Python 3.11
    return files("tpbench.baselines.external") / "specs"
