"""A classical baseline: the reference is cut into layers, and each layer is warped to the pose."""

from __future__ import annotations

from tpbench.baselines.warp.generator import WarpGenerator

__all__ = ["WarpGenerator"]
