"""Tables fit the terminal; numbers stand with their nouns."""

from __future__ import annotations

import io
from typing import IO, cast

import pytest
from rich.table import Table

from tpbench.cli.output import console, counted, new_table, print_table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _table() -> Table:
    table = new_table("name", "value", "unit", "about", right=("value",), whole=("name", "value"))
    table.add_row("drift_sharpness_ratio", "0.1234", "dB per 100 frames", "a text " * 9)
    table.add_row("a\nname on two lines", "1", "share", "")
    return table


def _printed(columns: int, monkeypatch: pytest.MonkeyPatch, *, spare: tuple[str, ...] = ()) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    terminal = Terminal()
    print_table(_table(), console(file=cast("IO[str]", terminal)), spare=spare)
    return terminal.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "")


@pytest.mark.parametrize("columns", [120, 80, 60, 44])
def test_a_table_fits_the_terminal_and_names_and_numbers_are_whole(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = _printed(columns, monkeypatch, spare=("about", "unit"))
    assert max(map(len, said.splitlines())) <= columns
    assert "drift_sharpness_ratio" in said
    assert "name on two lines" in said
    assert "0.1234" in said
    assert "…" not in said
    assert ("no room for: about" in said) == (columns < 60)


def test_without_a_terminal_rows_are_lines_and_end_without_blanks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    file = io.StringIO()
    print_table(_table(), console(file=file), spare=("about", "unit"))
    lines = file.getvalue().splitlines()
    (row,) = (line for line in lines if "sharpness" in line)
    assert row.endswith("dB per 100 frames   " + " ".join(["a text"] * 9))
    assert lines == [line.rstrip() for line in lines]


@pytest.mark.parametrize(
    ("n", "noun", "said"),
    [
        (0, "clip", "0 clips"),
        (1, "clip", "1 clip"),
        (2000, "clip", "2,000 clips"),
        (1, "identity", "1 identity"),
        (2, "identity", "2 identities"),
    ],
)
def test_numbers_stand_with_their_nouns(n: int, noun: str, said: str) -> None:
    assert counted(n, noun) == said
