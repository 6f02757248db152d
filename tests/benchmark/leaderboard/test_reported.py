"""`reported.csv`: published numbers with their sources."""

from __future__ import annotations

import io
from dataclasses import asdict

import pandas as pd

from tpbench.baselines.registry import load_reported
from tpbench.benchmark.leaderboard.tables import reported_csv


def test_pandas_reads_every_number_with_its_source() -> None:
    values = load_reported()
    table = pd.read_csv(io.StringIO(reported_csv(values)), keep_default_na=False)
    assert table.to_dict("records") == [asdict(value) for value in values]


def test_dtypes_are_right_without_options() -> None:
    table = pd.read_csv(io.StringIO(reported_csv(load_reported())))
    assert pd.api.types.is_float_dtype(table["value"].dtype)
    assert pd.api.types.is_bool_dtype(table["secondary"].dtype)
    assert pd.api.types.is_bool_dtype(table["overflow_psnr"].dtype)
    assert table["source_url"].str.startswith("https://").all()
