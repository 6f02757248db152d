"""The data goes one way: the parts know neither each other nor what is built on them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tpbench

ROOT = Path(tpbench.__file__).parent
PARTS = ("extraction", "metrics", "baselines")
ABOVE = ("benchmark", "cli")


def imported(path: Path) -> set[str]:
    """Names of all `tpbench` modules that a file imports, at its top or where they are used."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in names if name.startswith("tpbench.")}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_knows_neither_its_peers_nor_what_is_above(part: str) -> None:
    forbidden = {f"tpbench.{other}" for other in (*PARTS, *ABOVE) if other != part}
    for path in (ROOT / part).rglob("*.py"):
        parents = {".".join(name.split(".")[:2]) for name in imported(path)}
        assert not parents & forbidden, path


@pytest.mark.parametrize(
    "shared", ["video", "weights", "dataset", "detectors", "work", "fetching", "storage"]
)
def test_what_is_shared_knows_no_part(shared: str) -> None:
    forbidden = {f"tpbench.{part}" for part in (*PARTS, *ABOVE)}
    for path in (ROOT / shared).rglob("*.py"):
        parents = {".".join(name.split(".")[:2]) for name in imported(path)}
        assert not parents & forbidden, path


def test_fetching_and_datasets_are_apart_but_for_what_was_removed() -> None:
    for path in (ROOT / "fetching").rglob("*.py"):
        of_datasets = {name for name in imported(path) if name.startswith("tpbench.dataset")}
        assert all(name.startswith("tpbench.dataset.removal") for name in of_datasets), path
    for path in (ROOT / "dataset").rglob("*.py"):
        assert not any(name.startswith("tpbench.fetching") for name in imported(path)), path
