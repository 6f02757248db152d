from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import tpbench
from tpbench.benchmark import run_info
from tpbench.benchmark.run_info import CodeStamp, code_stamp, environment_stamp, hardware_stamp
from tpbench.work import usable_cores

GIT = shutil.which("git") or "git"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A git checkout that passes for ours."""
    package = tmp_path / "tpbench"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", "one"],
    ):
        subprocess.run([GIT, "-C", str(tmp_path), *command], check=True)
    monkeypatch.setattr(tpbench, "__file__", str(package / "__init__.py"))
    code_stamp.cache_clear()
    yield tmp_path
    code_stamp.cache_clear()


def test_a_clean_checkout_says_its_commit(checkout: Path) -> None:
    head = [GIT, "-C", str(checkout), "rev-parse", "HEAD"]
    commit = subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()
    found = code_stamp()
    assert found == CodeStamp(version=tpbench.__version__, git_commit=commit, dirty=False)
    assert found.short == f"{tpbench.__version__}+g{commit[:8]}"


def test_an_edited_checkout_is_dirty(checkout: Path) -> None:
    (checkout / "tpbench" / "__init__.py").write_text("x = 1\n")
    (checkout / "notes.txt").write_text("files that git does not know make nothing dirty")
    assert code_stamp().dirty is True
    assert code_stamp().short.endswith(".dirty")


def test_without_git_the_version_has_to_do(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert code_stamp() == CodeStamp(version=tpbench.__version__)


def test_the_machine_is_described() -> None:
    hardware, environment = hardware_stamp(), environment_stamp()
    assert hardware.cores == usable_cores()
    assert hardware.memory_bytes > 10**8
    assert hardware.processor
    assert {"numpy", "av"} <= environment.packages.keys()


def test_gpus_are_those_that_the_driver_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_info, "_answer", lambda *_: "A100, 40960 MiB\nA100, 40960 MiB")
    assert hardware_stamp().gpus == ("A100, 40960 MiB", "A100, 40960 MiB")
