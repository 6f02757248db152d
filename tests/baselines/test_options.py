"""Options are checked in one place, and what is wrong is said in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from tpbench.baselines.base import Options, option_rows, parse_options
from tpbench.errors import ConfigError


class Warping(Options):
    """Options of a model that does not exist."""

    steps: int = Field(default=30, ge=1, le=1000)
    strength: float = Field(default=1.0, ge=0)
    smooth: bool = True
    edge: Literal["still", "move"] = "still"
    size: int | float = 1
    last_step: int = 30

    @model_validator(mode="after")
    def _ends_within(self) -> Warping:
        if self.last_step > self.steps:
            raise ValueError(f"last_step={self.last_step} lies\nbehind steps={self.steps}")
        return self


class Reading(Options):
    """Options one of which has no default."""

    folder: Path


def test_defaults_hold_where_nothing_is_given() -> None:
    assert parse_options("warping", Warping, {}) == Warping(steps=30, strength=1.0, smooth=True)


def test_text_of_a_command_line_is_parsed() -> None:
    given = {"steps": "40", "strength": "0.5", "smooth": "no", "edge": "move"}
    options = parse_options("warping", Warping, given)
    assert options == Warping(steps=40, strength=0.5, smooth=False, edge="move")
    assert parse_options("reading", Reading, {"folder": "a/b"}).folder == Path("a/b")


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"step": 4}, ["no option 'step'", "did you mean 'steps'?"]),
        ({"zzz": 4}, ["no option 'zzz'", "known: edge, last_step, size, smooth, steps, strength"]),
        ({"steps": "many"}, ["steps='many'", "valid integer"]),
        ({"steps": "4.5"}, ["steps='4.5'", "valid integer"]),
        ({"steps": 0}, ["steps=0", "greater than or equal to 1"]),
        ({"strength": "nan"}, ["strength='nan'", "finite number"]),
        ({"edge": "fly"}, ["edge='fly'", "'still' or 'move'"]),
        ({"smooth": "perhaps"}, ["smooth='perhaps'", "valid boolean"]),
        ({"size": "x"}, ["size='x'", "valid integer", "valid number"]),
        ({"steps": "x\ny"}, [r"steps='x\ny'"]),
        ({"steps": "9x" * 5000}, ["steps='9x9x"]),
        ({"steps": 20}, ["last_step=30 lies behind steps=20"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    given: dict[str, str | int | float | bool], parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_options("warping", Warping, given)
    message = str(caught.value)
    assert message.startswith("warping: ")
    assert "\n" not in message
    assert len(message) < 200
    for part in parts:
        assert part in message


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"steps=0 .*; edge='fly' .*; no option 'zzz'"):
        parse_options("warping", Warping, {"steps": 0, "edge": "fly", "zzz": 1})


def test_a_required_option_is_asked_for_and_a_model_without_options_says_so() -> None:
    with pytest.raises(ConfigError, match=r"^reading: option 'folder' is required: give folder="):
        parse_options("reading", Reading, {})
    with pytest.raises(ConfigError, match=r"^frozen: no option 'gain'; it has none$"):
        parse_options("frozen", Options, {"gain": 1})


def test_options_do_not_change() -> None:
    options = parse_options("warping", Warping, {})
    with pytest.raises(ValidationError, match="frozen"):
        options.steps = 3


def test_options_are_listed_with_type_default_and_meaning() -> None:
    class Shown(Options):
        """Options to show."""

        folder: Path
        """Where the videos
        lie."""
        edge: Literal["still", "move"] = "still"
        at_once: int | Literal["auto"] = "auto"
        size: float | None = Field(default=None, gt=0, description="In px.")
        smooth: bool = True

    assert [tuple(row) for row in option_rows(Shown)] == [
        ("folder", "path", None, True, "Where the videos lie."),
        ("edge", "still, move", "still", False, ""),
        ("at_once", "whole number, auto", "auto", False, ""),
        ("size", "number (above 0)", None, False, "In px."),
        ("smooth", "yes or no", True, False, ""),
    ]
