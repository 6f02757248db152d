"""The row of the classical baseline."""

from __future__ import annotations

from typing import Final

from tpbench.baselines.model_row import ModelRow

ROWS: Final[tuple[ModelRow, ...]] = (
    ModelRow(
        id="warp",
        display_name="Landmark warp",
        kind="baseline",
        description="the reference cut into layers, each warped to the driving keypoints",
        factory="tpbench.baselines.warp:WarpGenerator",
        needs=("nothing but the keypoints of reference and driving clip; runs on one CPU core",),
        licence_code="MIT",
    ),
)
"""Needs no weights."""
