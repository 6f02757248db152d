"""The page: a leaderboard as one HTML file, with its videos beside it."""

from __future__ import annotations

from tpbench.benchmark.page.build import build_page

__all__ = ["build_page"]
