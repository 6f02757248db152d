"""What is printed can't steer a terminal."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

import pytest
import typer

import tpbench
from tpbench import doctor
from tpbench.cli.main import main
from tpbench.cli.output import CleanFormatter, CleanStream, clean_streams, console
from tpbench.doctor import Check

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


def test_tables_on_a_terminal_keep_their_colours_and_clean_their_texts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rich.table import Table

    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "80", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = io.StringIO()
    table = Table(HOSTILE)
    table.add_row(HOSTILE, style="red")
    console(file=cast("IO[str]", CleanStream(terminal))).print(table)
    said = terminal.getvalue()
    assert "\x1b[31m" in said
    assert not set(said) & {"\r", "\x9b", "\u202e", "\x07"}
    assert "\x1b[2J" not in said


HEAVY = (
    "torch", "cv2", "mediapipe", "onnxruntime", "av", "decord", "pandas", "pyarrow", "matplotlib",
    "numpy", "pydantic",
)  # fmt: skip


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process; gives exit code, stdout and stderr."""
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tpbench", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    return call


def _raise(error: BaseException) -> Callable[..., None]:
    def raising(*_args: object, **_options: object) -> None:
        raise error

    return raising


def test_help_lists_every_command(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = run("--help")
    commands = out[out.index("Commands:") :]
    assert (code, err) == (0, "")
    for name in ("extract", "inspect", "split", "weights", "doctor"):
        assert f"\n  {name} " in commands


@pytest.mark.parametrize("module", ["tpbench", "tpbench.cli"])
def test_nothing_heavy_is_imported_at_start(module: str) -> None:
    code = f"import sys, {module}; print([m for m in sys.argv[1:] if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def test_version_is_the_packages(run: Callable[..., tuple[int, str, str]]) -> None:
    assert run("--version") == (0, f"tpbench {tpbench.__version__}\n", "")


def test_an_error_of_the_user_is_one_line_and_exit_2(
    run: Callable[..., tuple[int, str, str]],
) -> None:
    code, out, err = run("weights", "path", "yolox")
    assert (code, out) == (2, "")
    assert err == "error: no weights are called 'yolox'; did you mean 'yolox-l'?\n"


def test_a_wrong_option_is_exit_2(run: Callable[..., tuple[int, str, str]]) -> None:
    code, _out, err = run("doctor", "--jsn")
    assert code == 2
    assert "--json" in err


def test_a_missing_system_library_is_one_line_and_exit_2(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = "libGL.so.1: cannot open shared object file: No such file or directory"
    monkeypatch.setattr(doctor, "examine", _raise(ImportError(loader)))
    code, _out, err = run("doctor")
    assert code == 2
    assert err.startswith("error: the system library libGL.so.1 ")
    assert err.endswith("apt install libgl1\n")
    assert err.count("\n") == 1


def test_a_folder_without_permission_is_one_line_and_exit_2(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = PermissionError(errno.EACCES, "Permission denied", "locked/x")
    monkeypatch.setattr(doctor, "examine", _raise(refused))
    code, _out, err = run("doctor")
    assert code == 2
    assert err == "error: locked/x: Permission denied; check its permissions\n"


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make space and run the same command again"),
        (errno.EROFS, "choose a folder that can be written"),
        (errno.ENAMETOOLONG, "choose a shorter name"),
    ],
)
def test_a_path_that_the_user_can_mend_is_one_line_and_exit_2(
    run: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    advice: str,
) -> None:
    monkeypatch.setattr(doctor, "examine", _raise(OSError(number, os.strerror(number), "out/x")))
    code, _out, err = run("doctor")
    assert code == 2
    assert err == f"error: out/x: {os.strerror(number)}; {advice}\n"


def test_a_full_disk_is_one_line_though_the_system_names_no_file(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(doctor, "examine", _raise(full))
    code, _out, err = run("doctor")
    assert code == 2
    assert err.startswith("error: a file can't be written: No space left on device; make space")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evla",), "error: no such command 'evla'; did you mean 'eval'?\n"),
        (("eval",), "error: missing option '--model'; see `"),
        (("eval", "--model", "warp", "--limit", "x"), "'--limit': want a whole number; see `"),
        (("eval", "--model", "warp", "--format", "tex"), "'--format': 'tex' is not one of "),
        (("eval", "--model", "warp", "--out", ""), "error: --out is empty; is a variable in "),
        (("eval", "--model", "warp", "--out="), "error: --out is empty; is a variable in "),
        (("split", ""), "error: an argument is empty; is a variable in "),
    ],
)
def test_a_usage_error_is_one_line_and_exit_2(
    run: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), ImportError("x"), OSError("x")])
def test_a_bug_keeps_its_traceback(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(doctor, "examine", _raise(error))
    with pytest.raises(type(error)) as raised:
        run("doctor")
    assert raised.value is error


def test_ctrl_c_is_one_line_and_exit_130(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "examine", _raise(KeyboardInterrupt()))
    assert run("doctor") == (130, "", "interrupted\n")


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("warn", 0), ("fail", 3)])
def test_doctor_exits_with_3_if_something_essential_is_missing(
    run: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    code: int,
) -> None:
    check = Check(area="a", name="b", status=status, detail="[c]", remedy="do d")  # type: ignore[arg-type]  # parametrised
    monkeypatch.setattr(doctor, "examine", lambda: [check])
    assert run("doctor")[0] == code
    assert "b: [c]" in run("doctor")[1]
    assert run("doctor")[1].splitlines()[-1].split() == ["do", "d", "b"]
    assert json.loads(run("doctor", "--json")[1]) == [
        {"area": "a", "name": "b", "status": status, "detail": "[c]", "remedy": "do d"}
    ]


@pytest.mark.parametrize("command", [["weights", "list", "--json"], ["weights", "list"]])
def test_a_reader_that_leaves_is_met_with_silence(command: list[str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "tpbench", *command],
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(write_end)

    assert result.stderr == ""


def test_the_public_api_is_what_it_says() -> None:
    assert tpbench.__all__ == sorted(tpbench.__all__)
    for name in tpbench.__all__:
        assert getattr(tpbench, name) is not None
        assert name in dir(tpbench)


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'extrct'"):
        tpbench.extrct  # noqa: B018 - the access is what is tested
