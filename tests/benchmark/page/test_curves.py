"""Quality against the frame index: means over windows, clips and seeds, in few characters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmark.page.conftest import CLIPS, MODELS, write_frames
from tpbench.benchmark.leaderboard.board import Leaderboard, Row
from tpbench.benchmark.page.curves import (
    finite_means,
    make_curves,
    mean_of_curves,
    packed,
    window_frames,
    window_values,
)
from tpbench.metrics.registry import Reduction

NAN, INF = math.nan, math.inf
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def with_runs_in(row: Row, *folders: Path) -> Row:
    """The row with a run in each folder, a seed each."""
    first = row.runs[0]
    runs = (replace(first, seed=at, folder=folder) for at, folder in enumerate(folders))
    return replace(row, runs=tuple(runs))


@pytest.mark.parametrize(
    ("columns", "first_frame", "window", "reduction", "expected"),
    [
        # Frames 1, 2 | 3, 4, 5 with windows 0-2 and 3-5: frame 0 was not scored.
        ([[1, 3, 4, 5, 9]], 1, 3, "mean", [2, 6]),
        ([[1, 3, 5]], 0, 2, "mean", [2, 5]),  # the last window is shorter
        ([[NAN, 4, NAN, NAN]], 0, 2, "mean", [4, NAN]),
        ([[INF, 40, INF, INF]], 0, 2, "mean", [40, INF]),
        ([[1, 2], [3, NAN]], 0, 1, "mean", [2, 2]),  # columns together
        ([[1, 9], [1, 3]], 0, 2, "ratio", [2.5]),  # of sums, no mean of ratios
        ([[1, 9], [2, NAN]], 0, 2, "ratio", [0.5]),  # where both are measured
        ([[1], [0]], 0, 1, "ratio", [NAN]),
    ],
)
def test_values_of_windows(
    columns: list[list[float]],
    first_frame: int,
    window: int,
    reduction: Reduction,
    expected: list[float],
) -> None:
    found = window_values(
        [np.array(column, np.float64) for column in columns],
        first_frame=first_frame,
        window=window,
        reduction=reduction,
    )
    np.testing.assert_array_equal(found, expected)


def test_a_mean_of_curves_is_over_those_that_go_so_far() -> None:
    assert mean_of_curves([np.array([1.0, 2.0]), np.array([3.0])]).tolist() == [2.0, 2.0]
    assert math.isnan(finite_means(np.array([[NAN, NAN]]))[0])


@pytest.mark.parametrize("n_frames", [1, 99, 100, 101, 730, 12_345])
def test_no_curve_has_more_points_than_asked_for(n_frames: int) -> None:
    window = window_frames(n_frames, points=100)
    assert math.ceil(n_frames / window) <= 100
    assert window == 1 or math.ceil(n_frames / (window - 1)) > 100


@given(st.lists(st.floats(-1e6, 1e6) | st.sampled_from([NAN, INF]), min_size=1, max_size=40))
def test_a_packed_curve_reads_back_to_a_four_thousandth_of_its_scale(curve: list[float]) -> None:
    finite = [value for value in curve if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    text = packed(np.array(curve), low, high)
    assert len(text) == 2 * len(curve)
    for i, value in enumerate(curve):
        code = ALPHABET.index(text[2 * i]) * 64 + ALPHABET.index(text[2 * i + 1])
        if math.isfinite(value):
            read, step = low + code / 4093 * (high - low), (high - low) / 4093
            assert read == pytest.approx(value, abs=step + 1e-9)
        else:
            assert code == (4095 if math.isnan(value) else 4094)


def test_a_mean_curve_follows_the_frames_of_every_model_that_was_measured(
    board: Leaderboard,
) -> None:
    curves = make_curves(board)
    models = {made.id for made in MODELS}
    assert list(curves.means) == ["psnr", "ssim", "lpips", "tje_d2"]
    assert all(set(curves.means[name]) == models for name in ("psnr", "ssim", "tje_d2"))
    assert curves.means["lpips"] == {}
    # 160 frames in at most 100 points: windows of 2; frame 0 was not scored.
    assert curves.window == 2
    falling: Sequence[object] = curves.means["psnr"]["falling"]
    assert (falling[0], falling[10]) == pytest.approx((40 - 0.1, 40 - 2.05))
    assert curves.means["psnr"]["oracle"] == ["inf"] * 80


def test_clips_per_window_fall_where_clips_end(board: Leaderboard) -> None:
    counts = make_curves(board).clips_per_window
    assert len(counts) == 80
    # Up to frame 104, the last of the shortest, all are there.
    assert (counts[0], counts[52], counts[53], counts[-1]) == (5, 5, 4, 1)
    short = replace(board.clips[0], n_frames=49)
    # Windows of one frame; frame 0 was made and not scored.
    assert make_curves(replace(board, clips=(short,))).clips_per_window == (0, *[1] * 49)


def test_seeds_are_averaged_clip_by_clip(board: Leaderboard, tmp_path: Path) -> None:
    steady = board.rows[1]
    write_frames(tmp_path / "frames.parquet", replace(MODELS[1], curve=lambda t: 20 + 0 * t))
    two = with_runs_in(steady, steady.runs[0].folder, tmp_path)
    curves = make_curves(replace(board, rows=(two,)))
    assert set(curves.means["psnr"][steady.id]) == {25.0}


def test_every_clip_weighs_the_same_in_a_mean(board: Leaderboard, tmp_path: Path) -> None:
    write_frames(tmp_path / "frames.parquet", MODELS[1], {"anna": CLIPS["anna"]})
    curves = make_curves(replace(board, rows=(with_runs_in(board.rows[1], tmp_path),)))
    assert curves.means["psnr"]["my.own:Steady"] == [30.0] * 80
    assert curves.clips["bert"]["curves"]["psnr"]["models"] == {}


@pytest.mark.parametrize("how", ["absent", "bytes", "texts", "no frames", "link out"])
def test_a_run_without_a_table_or_with_a_spoilt_one_has_no_curve_and_the_others_have(
    board: Leaderboard, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    path = run / "frames.parquet"
    if how == "bytes":
        path.write_bytes(b"no table")
    elif how == "link out":
        write_frames(tmp_path / "private.parquet", MODELS[0])
        path.symlink_to(tmp_path / "private.parquet")
    elif how != "absent":
        columns = {"clip_id": ["anna"], "psnr": ["high"]}
        pd.DataFrame(columns | ({"frame": [1]} if how == "texts" else {})).to_parquet(path)
    curves = make_curves(replace(board, rows=(with_runs_in(board.rows[0], run), board.rows[1])))
    assert list(curves.means["psnr"]) == ["my.own:Steady"]
    said = "frames.parquet: not a table of per-frame values, no curves are shown" in caplog.text
    assert said == (how != "absent")


def test_curves_of_a_clip_share_one_scale(board: Leaderboard) -> None:
    found = make_curves(board).clips["anna"]
    psnr = found["curves"]["psnr"]
    assert found["window"] == 2
    assert (psnr["low"], psnr["high"]) == (17.0, pytest.approx(40 - 0.1))
    assert psnr["models"]["oracle"] == "_-" * 80
    assert np.isfinite(found["curves"]["tje_d2"]["high"])
