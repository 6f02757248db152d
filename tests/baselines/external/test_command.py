from __future__ import annotations

from pathlib import Path

import pytest

from tpbench.baselines.external.command import environment_for, last_line
from tpbench.errors import ConfigError


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (b"", ""),
        (b"one\ntwo\n\n  \n", "two"),
        (b"10%\r 50%\r 100%| done\r", "100%| done"),
        (b"\x1b[31mred\x1b[0m\ttab \xff\n", "red tab \ufffd"),
        (b"x" * 20_000, "x" * 200),
    ],
)
def test_the_last_line_is_what_a_terminal_shows(said: bytes, line: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(said)
    assert last_line(tmp_path / "log") == line


@pytest.mark.parametrize(
    ("ours", "device", "theirs"),
    [
        (None, "auto", None),
        ("3", "auto", "3"),
        ("3", "cuda", "3"),
        (None, "cuda:2", "2"),
        ("5,6", "cuda:1", "6"),
        ("5,6", "cpu", ""),
    ],
)
def test_a_device_is_one_of_the_gpus_that_we_see(
    ours: str | None, device: str, theirs: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if ours is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ours)
    environment = environment_for(device, python=Path("/env/bin/python"), temporary=Path("/t"))
    assert environment.get("CUDA_VISIBLE_DEVICES") == theirs
    assert environment["PATH"].startswith("/env/bin:")
    assert environment["TMPDIR"] == "/t"


def test_a_gpu_that_we_do_not_see_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES=5 shows no such GPU"):
        environment_for("cuda:1", python=Path("python"), temporary=Path("/t"))
