"""What is printed can't steer a terminal."""

from __future__ import annotations

import io
import json
import logging
import sys
from typing import IO, cast

import pytest
import typer

from tpbench.cli.console import CleanConsole
from tpbench.cli.main import CleanFormatter, CleanStream, clean_streams

HOSTILE = "a\r\x1b[2J\x9b31m\u202eb\x07"
HARMFUL = set("\r\x1b\x9b\u202e\x07")


@pytest.mark.parametrize("err", [True, False])
def test_what_a_command_prints_is_clean(capsys: pytest.CaptureFixture[str], err: bool) -> None:  # noqa: FBT001
    clean_streams()

    (sys.stderr if err else sys.stdout).write(f"{HOSTILE}\nsecond\tline\n")
    typer.echo(HOSTILE.removeprefix("a"), err=err)

    said = "".join(capsys.readouterr())
    assert not set(said) & HARMFUL
    assert (
        said
        == "a\\r\\u001b[2J\\u009b31m\\u202eb\\u0007\nsecond\tline\n\\r\\u009b31m\\u202eb\\u0007\n"
    )


def test_json_that_is_printed_stays_what_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    clean_streams()

    typer.echo(json.dumps({"name": HOSTILE}, ensure_ascii=False, indent=1))

    said = capsys.readouterr().out
    assert not set(said) & HARMFUL
    assert json.loads(said) == {"name": HOSTILE}


def test_streams_are_wrapped_once() -> None:
    clean_streams()
    first = sys.stderr
    clean_streams()

    assert sys.stderr is first
    assert isinstance(first, CleanStream)


def test_log_lines_are_clean_and_one_line_each() -> None:
    formatter = CleanFormatter("%(levelname)s: %(message)s")
    record = logging.LogRecord(
        "x", logging.WARNING, "", 0, "%s: lost\nERROR: all", (HOSTILE,), None
    )

    line = formatter.format(record)

    assert line == "WARNING: a\\r\\u001b[2J\\u009b31m\\u202eb\\u0007: lost\\nERROR: all"


def test_tables_on_a_terminal_keep_their_colours_and_clean_their_texts() -> None:
    from rich.table import Table

    terminal = io.StringIO()
    table = Table(HOSTILE)
    table.add_row(HOSTILE, style="red")
    console = CleanConsole(
        file=cast("IO[str]", CleanStream(terminal)), force_terminal=True, width=80
    )

    console.print(table)

    said = terminal.getvalue()
    assert "\x1b[31m" in said
    assert not set(said) & {"\r", "\x9b", "\u202e", "\x07"}
    assert "\x1b[2J" not in said
