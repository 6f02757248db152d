"""CONTRIBUTING's recipe for a metric, followed to the letter in a copy of the package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.metrics.scoring.clips import some_clips, write_set
from tests.recipes.recipe import code_of, copied_package, put_in, tpbench_in
from tpbench.metrics.registry import PROTOCOLS


def test_a_metric_is_a_function_and_two_rows_and_leaves_protocols_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "cache"))
    function, meter, definition = code_of("Add a metric")
    metrics = copied_package(tmp_path) / "metrics"
    with (metrics / "pixels.py").open("a") as file:
        file.write(f"\n\n{function}")
    meters = metrics / "scoring" / "meters.py"
    put_in(meters, "    largest_difference,\n", behind="from tpbench.metrics.pixels import (\n")
    put_in(meters, meter, behind="_ROWS: Final = (\n", indent=4)
    with (metrics / "definitions" / "pixels.yaml").open("a") as file:
        file.write(f"\n{definition}")

    real, generated = some_clips([5, 7])
    write_set(tmp_path / "real", real)
    write_set(tmp_path / "made", generated)
    scoring = ["score", "--real", "real", "--generated", "made", "--metrics", "largest,psnr"]
    code, said, errors = tpbench_in(tmp_path, *scoring, "--workers", "1", "--json")

    assert (code, errors) == (0, "")
    report = json.loads(said)
    for name, images in real.items():
        gap = np.abs(images.astype(int) - generated[name])
        expected = gap.reshape(len(gap), -1).max(axis=1).mean()
        assert report["clips"][name]["values"]["largest"] == pytest.approx(expected)
    shown = json.loads(tpbench_in(tmp_path, "metrics", "show", "tpbench-v2", "--json")[1])
    assert shown["digest"] == PROTOCOLS["tpbench-v2"].digest
