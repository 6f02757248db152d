"""Several seeds of one model are one row."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.benchmark.leaderboard.conftest import PEOPLE, Runs, board_of
from tpbench.metrics.bootstrap import mean_over_identities
from tpbench.metrics.scoring.report import ScoreReport

FIRST = (20.0, 21.0, 22.0, 23.0, 24.0, 31.0)
SECOND = (22.0, 21.0, 24.0, 23.0, 26.0, 31.0)


def test_the_value_is_the_mean_over_seeds_per_clip_then_over_clips(runs: Runs) -> None:
    runs(seed=7, psnr=FIRST)
    runs(seed=3, psnr=SECOND)
    (row,) = board_of(runs.out).rows
    assert row.seeds == (3, 7)
    assert list(row.badness["psnr"].values()) == [-21.0, -21.0, -23.0, -23.0, -25.0, -31.0]
    assert row.scores["psnr"].value == 24.0  # (21 + 21 + 23 + 23 + 25 + 31) / 6
    assert row.n_clips == 6
    assert row.complete


def test_the_interval_is_that_of_the_means_over_seeds(runs: Runs) -> None:
    runs(seed=1, psnr=FIRST)
    runs(seed=2, psnr=SECOND)
    cell = board_of(runs.out).rows[0].scores["psnr"]
    expected = mean_over_identities([21.0, 21.0, 23.0, 23.0, 25.0, 31.0], PEOPLE).interval
    assert (cell.low, cell.high, cell.level) == (expected.low, expected.high, 0.95)
    assert cell.n_identities == 6


def test_the_spread_is_that_of_the_values_over_seeds(runs: Runs) -> None:
    runs(seed=1, psnr=20)
    runs(seed=2, psnr=21)
    runs(seed=3, psnr=25)
    (row,) = board_of(runs.out).rows
    assert row.scores["psnr"].value == pytest.approx(22)
    # Deviations of -2, -1 and 3 from the mean, over n - 1 = 2.
    assert row.spread("psnr") == pytest.approx(math.sqrt(7))


def test_one_seed_is_what_its_scores_say_and_has_no_spread(runs: Runs) -> None:
    path = runs(psnr=FIRST)
    (row,) = board_of(path).rows
    expected = mean_over_identities(FIRST, PEOPLE)
    cell = row.scores["psnr"]
    assert (cell.value, cell.low, cell.high) == (
        expected.mean,
        expected.interval.low,
        expected.interval.high,
    )
    assert row.spread("psnr") is None


def test_metrics_over_all_clips_are_averaged_without_an_interval(runs: Runs) -> None:
    runs(seed=1, sets={"fid": 10.0})
    runs(seed=2, sets={"fid": 14.0})
    (row,) = board_of(runs.out).rows
    cell = row.scores["fid"]
    assert (cell.value, cell.low, cell.high) == (12.0, None, None)
    assert row.spread("fid") == pytest.approx(math.sqrt(8))
    assert cell.interval_reason == "all clips together give one value"
    assert "fid" not in row.badness


def test_a_clip_that_failed_with_one_seed_is_that_of_the_other(runs: Runs) -> None:
    runs(seed=1, psnr=FIRST)
    runs(seed=2, psnr=SECOND, failed={"clip0": "the card fell out"})

    board = board_of(runs.out)

    (row,) = board.rows
    assert row.badness["psnr"]["clip0"] == -20.0
    assert row.coverage == 11 / 12
    assert not row.complete
    assert [dict(run.failed) for run in row.runs] == [{}, {"clip0": "the card fell out"}]
    (note,) = board.notes
    assert note == (
        "mine: coverage 0.917: values are those of the 6 clips with scores, and it takes no part "
        "in who is best"
    )


def test_a_metric_blank_with_one_seed_is_that_of_the_others_and_says_so(runs: Runs) -> None:
    runs(seed=1, psnr=FIRST)
    runs(seed=2, blank={"psnr": "no weights"})
    (row,) = board_of(runs.out).rows
    assert row.scores["psnr"].value == 23.5
    assert row.scores["psnr"].warning == "not measured with seed 2"
    assert row.spread("psnr") is None


def test_a_metric_blank_with_all_seeds_keeps_its_reason(runs: Runs) -> None:
    runs(seed=1, blank={"psnr": "no weights", "fid": "no net"})
    runs(seed=2, blank={"psnr": "no weights", "fid": "no net"})
    cells = board_of(runs.out).rows[0].scores
    assert math.isnan(cells["psnr"].value)
    assert cells["psnr"].reason == "no weights"
    assert cells["fid"].reason == "no net"


def test_infinite_values_are_no_part_of_a_mean(runs: Runs) -> None:
    runs(seed=1, psnr=[math.inf, math.inf, 20, 20, 20, 20])
    runs(seed=2, psnr=[math.inf, 30, 20, 20, 20, 20])
    (row,) = board_of(runs.out).rows
    assert row.badness["psnr"]["clip0"] == -100.0
    assert row.badness["psnr"]["clip1"] == -65.0  # (100 + 30) / 2
    assert row.scores["psnr"].value == 22.0  # (30 + 4 * 20) / 5
    assert row.scores["psnr"].n_infinite == 1


def test_speed_is_that_of_all_frames_of_all_seeds(runs: Runs) -> None:
    for seed, gen_s in ((1, 60.0), (2, 30.0)):
        runs(
            seed=seed,
            info=lambda info, gen_s=gen_s: info.model_copy(  # type: ignore[misc]  # bound on purpose
                update={
                    "timings": info.timings.model_copy(
                        update={"gen_s": gen_s, "peak_gpu_bytes": int(gen_s * 1e8)}
                    )
                }
            ),
        )

    (row,) = board_of(runs.out).rows

    assert row.gen_fps == 2 * 720 / 90
    assert row.peak_gpu_gb == 6.0


def test_the_digest_of_a_row_is_that_of_its_run_or_made_of_them(runs: Runs) -> None:
    runs(seed=1)
    single = board_of(runs.out).rows[0]
    runs(seed=2)
    double = board_of(runs.out).rows[0]
    assert single.run_digest == single.runs[0].digest
    assert double.runs[0].digest == single.run_digest
    assert double.run_digest not in {run.digest for run in double.runs}
    assert len(double.run_digest) == 64


def test_intervals_of_an_older_method_are_made_anew(runs: Runs) -> None:
    def older(report: ScoreReport) -> ScoreReport:
        metrics = {
            name: replace(score, low=1.0, high=2.0, level=0.95)
            for name, score in report.metrics.items()
        }
        return replace(report, metrics=metrics, statistics=1)

    old, new = runs("old", psnr=FIRST, report=older), runs("new", psnr=FIRST)

    of_old, of_new = (board_of(path).rows[0].scores for path in (old, new))

    assert of_old["psnr"] == of_new["psnr"]
    assert of_old["psnr"].low != 1.0
