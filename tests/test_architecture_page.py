"""ARCHITECTURE.md names every module."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tpbench

ROOT = Path(tpbench.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.stem not in ("__init__", "__main__"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_page_names_a_module(path: Path) -> None:
    tree = (ROOT.parent / "ARCHITECTURE.md").read_text("utf-8").split("## Values that cross")[0]
    assert re.search(rf"\b{path.stem}\b", tree)
