"""The options of a generator: what a user may set, checked before anything is loaded."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from tpbench.baselines.model_row import OptionValue
from tpbench.errors import ConfigError, did_you_mean


class Options(BaseModel):
    """Base of the options of every generator.

    A subclass names each option with its type, bounds and default, and says below it what it means.
    Values may be text, as a command line has them: `"5"` is good for an int, `"no"` for a bool.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


OptionsT = TypeVar("OptionsT", bound=Options)


def parse_options(
    model_id: str, kind: type[OptionsT], options: Mapping[str, OptionValue]
) -> OptionsT:
    """Return the options of a model, with its defaults for those that are not given.

    Args:
        model_id: names the model in errors.
        kind: the model's class of options.
        options: what was given.

    Raises:
        ConfigError: an unknown, missing or wrong option; one line names each, its value and what is
            allowed.
    """
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        problems = dict.fromkeys(_problem(item, kind) for item in error.errors())
        raise ConfigError(f"{model_id}: {'; '.join(problems)}") from error


def _problem(item: ErrorDetails, kind: type[Options]) -> str:
    """Say in one line what is wrong with one option, or with all of them together."""
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
