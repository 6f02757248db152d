from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.benchmark.page.conftest import CLIPS, MODELS, write_frames
from tpbench.benchmark.leaderboard.board import Leaderboard
from tpbench.benchmark.page.curves import make_curves


def test_every_model_has_a_mean_curve_of_every_metric_that_was_measured(board: Leaderboard) -> None:
    curves = make_curves(board)
    models = {made.id for made in MODELS}
    assert list(curves.means) == ["psnr", "ssim", "lpips", "tje_d2"]
    assert all(set(curves.means[name]) == models for name in ("psnr", "ssim", "tje_d2"))
    assert curves.means["lpips"] == {}


def test_a_mean_curve_follows_the_frames(board: Leaderboard) -> None:
    curves = make_curves(board)
    # 160 frames in at most 100 points: windows of 2; frame 0 was not scored.
    assert curves.window == 2
    falling = curves.means["psnr"]["falling"]
    assert falling[0] == pytest.approx(40 - 0.1)
    assert falling[10] == pytest.approx(40 - 2.05)
    assert curves.means["psnr"]["oracle"] == ["inf"] * 80


def test_clips_per_window_fall_where_clips_end(board: Leaderboard) -> None:
    counts = make_curves(board).clips_per_window
    assert len(counts) == 80
    assert counts[0] == counts[52] == 5  # up to frame 104, the last of the shortest
    assert counts[53] == 4
    assert counts[-1] == 1


def test_a_clip_in_which_nothing_was_scored_yet_is_not_counted_at_frame_0(
    board: Leaderboard,
) -> None:
    short = replace(board.clips[0], n_frames=49)
    counts = make_curves(replace(board, clips=(short,))).clips_per_window
    # Windows of one frame; frame 0 was made and not scored.
    assert counts == (0, *[1] * 49)


def test_seeds_are_averaged_clip_by_clip(board: Leaderboard, tmp_path: Path) -> None:
    steady = board.rows[1]
    other = replace(MODELS[1], curve=lambda t: 20 + 0 * t)
    write_frames(tmp_path / "frames.parquet", other)
    two = replace(steady, runs=(*steady.runs, replace(steady.runs[0], seed=43, folder=tmp_path)))
    curves = make_curves(replace(board, rows=(two,)))
    assert set(curves.means["psnr"][steady.id]) == {25.0}


def test_every_clip_weighs_the_same_in_a_mean(board: Leaderboard, tmp_path: Path) -> None:
    write_frames(tmp_path / "frames.parquet", MODELS[1], {"anna": CLIPS["anna"]})
    one_clip = replace(board.rows[1], runs=(replace(board.rows[1].runs[0], folder=tmp_path),))
    curves = make_curves(replace(board, rows=(one_clip,)))
    assert curves.means["psnr"]["my.own:Steady"] == [30.0] * 80
    assert curves.clips["bert"]["curves"]["psnr"]["models"] == {}


def test_a_run_without_per_frame_values_has_no_curve(board: Leaderboard, tmp_path: Path) -> None:
    bare = replace(board.rows[0], runs=(replace(board.rows[0].runs[0], folder=tmp_path),))
    curves = make_curves(replace(board, rows=(bare, board.rows[1])))
    assert list(curves.means["psnr"]) == ["my.own:Steady"]


@pytest.mark.parametrize("how", ["bytes", "texts", "no frames", "link out"])
def test_a_spoilt_table_is_named_and_the_others_have_curves(
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
    else:
        columns = {"clip_id": ["anna"], "psnr": ["high"]}
        pd.DataFrame(columns | ({"frame": [1]} if how == "texts" else {})).to_parquet(path)
    spoilt = replace(board.rows[0], runs=(replace(board.rows[0].runs[0], folder=run),))

    curves = make_curves(replace(board, rows=(spoilt, board.rows[1])))

    assert list(curves.means["psnr"]) == ["my.own:Steady"]
    assert "frames.parquet: no table of per-frame values, so no curves of it" in caplog.text


def test_curves_of_a_clip_share_one_scale(board: Leaderboard) -> None:
    found = make_curves(board).clips["anna"]
    assert found["window"] == 2
    assert found["curves"]["psnr"]["low"] == 17.0
    assert found["curves"]["psnr"]["high"] == pytest.approx(40 - 0.1)
    assert found["curves"]["psnr"]["models"]["oracle"] == "_-" * 80
    assert np.isfinite(found["curves"]["tje_d2"]["high"])
