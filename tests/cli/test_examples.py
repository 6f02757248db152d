"""The help of every command: examples that can be pasted, and `--verbose`."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.cli.conftest import invoke
from tpbench.cli.examples import EXAMPLES
from tpbench.cli.main import app

_COLUMNS = 80


def _commands(command: Any, *path: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer's own click
    below: dict[str, Any] = getattr(command, "commands", {})
    if not below:
        yield " ".join(path), command
    for name, one in below.items():
        yield from _commands(one, *path, name)


COMMANDS = dict(_commands(typer.main.get_command(app)))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Restores the level of the log, which `--verbose` changes."""
    log = logging.getLogger("tpbench")
    level = log.level
    yield
    log.setLevel(level)


def test_every_command_has_two_or_three_examples_and_no_other_has() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()
    for path, lines in EXAMPLES.items():
        assert len(lines) <= 3
        assert len(lines) > 1 or path == "weights path"


@pytest.mark.parametrize("path", COMMANDS)
def test_examples_parse_and_stand_in_the_help_line_by_line(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = invoke(*path.split(), "--help").output.splitlines()
    for line in EXAMPLES[path]:
        assert f"    {line}" in said
        words = shlex.split(line.partition(" > ")[0])
        assert words[: 1 + len(path.split())] == ["tpbench", *path.split()]
        COMMANDS[path].make_context(path, words[1 + len(path.split()) :])
    assert max(map(len, said)) <= _COLUMNS


@pytest.mark.parametrize("group", ["", "leaderboard", "models", "metrics", "weights", "cache"])
def test_lists_of_commands_are_not_cut_on_80_columns(
    group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    listed = invoke(*group.split(), "--help").output.partition("Commands:")[2]
    assert listed
    assert "..." not in listed


@pytest.mark.parametrize("words", [("-v", "inspect"), ("inspect", "-v"), ("inspect", "--verbose")])
def test_verbose_works_before_and_after_the_command(
    words: tuple[str, ...], data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    at = words.index("inspect") + 1
    with caplog.at_level(logging.WARNING, logger="tpbench"):
        assert invoke(*words[:at], data, *words[at:]).exit_code == 0
        assert logging.getLogger("tpbench").level == logging.INFO


def test_verbose_says_what_is_done(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generate = ("generate", "--model", "frozen", "--data", data, "--out", tmp_path)
    assert invoke(*generate, "-v").exit_code == 0
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert any(": 2 of 2 clips left, " in line for line in said)
    assert "generate: a: 101 frames, 1 made" in said
