"""`reported.csv`: what others published, with its source; beside the table, never in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from tpbench.baselines.reported import ReportedValue
from tpbench.benchmark.leaderboard.csv import csv_text


def reported_csv(values: Sequence[ReportedValue]) -> str:
    """Return published numbers as CSV, one a row, in their order; blank: the source is silent."""
    names = [field.name for field in fields(ReportedValue)]
    return csv_text(names, ([getattr(value, name) for name in names] for value in values))
