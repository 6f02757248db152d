"""CONTRIBUTING's recipes: their code, and a copy of the package to follow them in."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import tpbench

PACKAGE = Path(tpbench.__file__).parent


def code_of(heading: str) -> list[str]:
    """Return the blocks of code of a recipe, as they are to be typed."""
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text("utf-8")
    recipe = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^( *)```\w+\n(.*?)^\1```", recipe, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(code) for _, code in found]


def copied_package(folder: Path) -> Path:
    """Copy the package into a folder, where `import tpbench` finds it first.

    Its byte code comes along: Python compiles again what a recipe changes.
    """
    return Path(shutil.copytree(PACKAGE, folder / "tpbench"))


def put_in(path: Path, code: str, *, behind: str, indent: int = 0) -> None:
    """Put code behind the only place where a file says something."""
    head, rest = path.read_text("utf-8").split(behind)
    path.write_text(head + behind + textwrap.indent(code, " " * indent) + rest, "utf-8")


def tpbench_in(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run tpbench as it lies in a folder; return exit code, output and errors."""
    ended = subprocess.run(
        [sys.executable, "-m", "tpbench", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr
