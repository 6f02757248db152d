"""`tpbench demo`, on a dataset of two drawn people instead of the sample clips."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.benchmark.people import write_people
from tests.cli.conftest import invoke
from tpbench.cli import demo
from tpbench.cli.main import app


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the demo prints, line by line."""

    def extract(_inputs: object, out: Path, **_settings: Any) -> None:  # noqa: ANN401 - its options
        write_people(out, {"anna": 106})

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "extract", extract)
    monkeypatch.setattr(demo, "_MODELS", ("oracle", "frozen"))
    monkeypatch.setattr(demo, "_VERIFIED", "frozen")
    monkeypatch.setattr(demo, "_METHODS", {"Real": "oracle", "Frozen": "frozen"})
    result = invoke("demo", "--offline")
    assert result.exit_code == 0
    return result.stdout.splitlines()


@pytest.mark.slow
def test_the_demo_goes_the_whole_way_and_shows_each_command(
    said: list[str], tmp_path: Path
) -> None:
    steps = [shlex.split(line)[2:] for line in said if line.startswith("$ tpbench ")]
    assert [words[0] for words in steps] == [
        "extract", "eval", "eval", "verify", "leaderboard", "score",
    ]  # fmt: skip
    for words in steps:
        command: Any = typer.main.get_command(app)
        rest = words
        while getattr(command, "commands", {}):
            command, rest = command.commands[rest[0]], rest[1:]
        command.make_context("demo", rest)
    assert any(line.startswith("verified (rerun): ") for line in said)
    assert not any("hands" in line.split() for line in said if line.startswith("akd"))
    for file in ("leaderboard/index.html", "scores/leaderboard/leaderboard.csv"):
        assert (tmp_path / "demo" / file).is_file()
    assert str(tmp_path) not in "\n".join(said).partition("$ tpbench eval")[2]
