"""Who is best, and who may be as good."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.benchmark.leaderboard.conftest import Runs, board_of
from tpbench.benchmark.leaderboard.board import Marks
from tpbench.metrics.registry import METRICS
from tpbench.metrics.scoring.report import ScoreReport

BASE = (20.0, 22.0, 24.0, 26.0, 28.0, 30.0)
NOISY = (20.5, 21.2, 24.4, 25.7, 28.1, 29.9)
"""0.03 dB below the base on average, half of the clips better."""


def shifted(by: float) -> tuple[float, ...]:
    return tuple(value + by for value in BASE)


def test_a_clear_winner_stands_alone_though_the_models_own_intervals_overlap(runs: Runs) -> None:
    runs("good", psnr=BASE)
    runs("bad", psnr=shifted(-0.5))
    board = board_of(runs.out)
    bad, good = board.rows
    assert bad.scores["psnr"].high is not None
    assert good.scores["psnr"].low is not None
    assert bad.scores["psnr"].high > good.scores["psnr"].low
    assert board.marks["psnr"] == Marks(best=("good",))
    assert board.mark("good", "psnr") == "best"
    assert board.mark("bad", "psnr") is None


def test_a_model_that_may_be_as_good_is_marked_too(runs: Runs) -> None:
    runs("good", psnr=BASE)
    runs("noisy", psnr=NOISY)
    runs("bad", psnr=shifted(-2))
    board = board_of(runs.out)
    assert board.marks["psnr"] == Marks(best=("good",), tied=("noisy",))
    assert board.mark("noisy", "psnr") == "tied"


def test_where_less_is_better_the_least_is_best(runs: Runs) -> None:
    runs("calm", tje_d2=BASE)
    runs("shaky", tje_d2=shifted(1))
    runs("noisy", tje_d2=[-value + 50.1 for value in shifted(0)])
    assert board_of(runs.out).marks["tje_d2"] == Marks(best=("calm",), tied=("noisy",))


@pytest.mark.parametrize(
    ("ratio", "marks"),
    [
        (0.9, Marks(best=("mine",))),
        (1.1, Marks(best=("mine",))),
        (0.7, Marks(best=("other",))),
        (1.3, Marks(best=("other",))),
        (1.2, Marks(best=("other",), tied=("mine",))),
    ],
)
def test_with_a_target_the_nearest_is_best(runs: Runs, ratio: float, marks: Marks) -> None:
    wobble = (0.01, -0.01, 0.02, -0.02, 0.005, -0.005)
    runs("mine", motion_ratio=[ratio + 0.001 + w for w in wobble])
    runs("other", motion_ratio=[0.8 - w / 2 for w in wobble])
    assert board_of(runs.out).marks["motion_ratio"] == marks


def test_the_distance_to_a_target_is_that_of_each_clip_and_not_of_the_mean(runs: Runs) -> None:
    """Errors of both signs don't cancel: 0.2 and 1.8 are on average 1, and far from it."""
    runs("steady", motion_ratio=[0.93, 0.94, 0.95, 0.96, 0.94, 0.95])
    runs("wild", motion_ratio=[0.2, 1.8, 0.2, 1.8, 0.2, 1.8])

    board = board_of(runs.out)

    assert board.marks["motion_ratio"] == Marks(best=("steady",))
    steady, wild = (row.distances["motion_ratio"] for row in board.rows)
    assert board.rows[1].scores["motion_ratio"].value == pytest.approx(1)
    assert wild.mean == pytest.approx(0.8)
    assert steady.mean == pytest.approx(0.055)
    assert steady.interval.low is not None
    assert steady.interval.high is not None
    assert 0.03 < steady.interval.low < 0.055 < steady.interval.high < 0.08
    # All six people are off by the same.
    assert wild.interval.low is None
    ranks = [board.rank(row, METRICS["motion_ratio"]) for row in board.rows]
    assert ranks == [steady.mean, wild.mean]


def test_seeds_on_both_sides_of_a_target_do_not_cancel(runs: Runs) -> None:
    runs("steady", motion_ratio=[0.9, 0.91, 0.89, 0.9, 0.9, 0.9])
    runs("wild", seed=1, motion_ratio=[0.5, 0.51, 0.49, 0.5, 0.5, 0.52])
    runs("wild", seed=2, motion_ratio=[1.5, 1.49, 1.51, 1.5, 1.5, 1.48])
    board = board_of(runs.out)
    assert board.marks["motion_ratio"] == Marks(best=("steady",))
    assert board.rows[1].distances["motion_ratio"].mean == pytest.approx(2.98 / 6)


def test_equal_values_are_all_best(runs: Runs) -> None:
    runs("a", psnr=BASE)
    runs("b", psnr=BASE)
    assert board_of(runs.out).marks["psnr"] == Marks(best=("a", "b"))


def test_of_a_value_over_all_clips_only_the_best_is_marked_and_that_is_said(runs: Runs) -> None:
    runs("a", sets={"fid": 10.0})
    runs("b", sets={"fid": 10.1})
    marks = board_of(runs.out).marks["fid"]
    assert (marks.best, marks.tied) == (("a",), ())
    assert marks.reason is not None
    assert "ties can't be judged" in marks.reason


def test_a_value_of_fewer_clips_than_others_have_is_not_best(runs: Runs) -> None:
    def fewer(report: ScoreReport) -> ScoreReport:
        fid = replace(report.metrics["fid"], n_clips=4)
        return replace(report, metrics={**report.metrics, "fid": fid})

    runs("a", sets={"fid": 10.0})
    runs("b", sets={"fid": 10.1})
    runs("few", sets={"fid": 5.0}, report=fewer)

    marks = board_of(runs.out).marks["fid"]

    assert marks.best == ("a",)
    assert marks.notes == ("few is not judged: made from 4 clips, and others from 6",)


def test_below_six_identities_nobody_is_called_worse_and_that_is_said(runs: Runs) -> None:
    people = ("a", "a", "b", "c", "d", "e")
    runs("good", psnr=BASE, people=people)
    runs("noisy", psnr=NOISY, people=people)
    assert board_of(runs.out).marks["psnr"] == Marks(
        best=("good",),
        tied=("noisy",),
        reason="5 identities, and 6 are needed to rule out luck: nobody can be called worse than "
        "another",
    )


def test_without_identities_nobody_is_called_worse_and_that_is_said(runs: Runs) -> None:
    people = (None,) * 6
    runs("good", psnr=BASE, people=people)
    runs("noisy", psnr=NOISY, people=people)
    assert board_of(runs.out).marks["psnr"] == Marks(
        best=("good",),
        tied=("noisy",),
        reason="the identities of the clips are not known: nobody can be called worse than another",
    )


def test_anchors_are_never_best(runs: Runs) -> None:
    runs("good", psnr=BASE)
    runs("bad", psnr=shifted(-1))
    runs("oracle", kind="anchor", psnr=math.inf)
    assert board_of(runs.out).marks["psnr"] == Marks(best=("good",))


def test_a_model_that_lacks_clips_is_never_best(runs: Runs) -> None:
    runs("good", psnr=BASE)
    runs("bad", psnr=shifted(-1))
    runs("picky", psnr=shifted(9), failed={"clip0": "too hard"})
    assert board_of(runs.out).marks["psnr"] == Marks(best=("good",))


def test_a_lone_model_is_no_winner(runs: Runs) -> None:
    runs("only")
    runs.anchors()
    marks = board_of(runs.out).marks
    assert all(found.best == () for found in marks.values())
    assert marks["psnr"].reason is not None
    assert "nobody to be better than" in marks["psnr"].reason


def test_a_blank_is_no_value_to_be_best_with(runs: Runs) -> None:
    runs("a", psnr=BASE)
    runs("b", psnr=shifted(-1))
    runs("blank", blank={"psnr": "no weights"})
    assert board_of(runs.out).marks["psnr"].best == ("a",)


def test_what_judges_nothing_has_no_best(runs: Runs) -> None:
    runs("a", identical_share=0.5)
    runs("b", identical_share=0.1)
    assert board_of(runs.out).marks["identical_share"] == Marks(
        reason="it judges nothing: there is no better or worse"
    )


def test_an_infinite_value_counts_as_100_db_and_is_better_than_what_is_no_copy(runs: Runs) -> None:
    runs("copy", psnr=math.inf)
    runs("model", psnr=BASE)
    runs("almost", psnr=[math.inf, math.inf, math.inf, math.inf, math.inf, 12.0])
    board = board_of(runs.out)
    assert board.marks["psnr"].best == ("copy",)
    assert board.marks["psnr"].tied == ("almost",)
    ranks = {row.id: board.rank(row, METRICS["psnr"]) for row in board.rows}
    assert ranks == {"copy": -100, "almost": -(500 + 12) / 6, "model": -25}


def test_who_lacks_a_metric_on_half_of_the_clips_is_not_best_by_the_easy_ones(runs: Runs) -> None:
    easy = [1.0, 1.0, 1.0, math.nan, math.nan, math.nan]
    runs("losesit", tje_d2=easy)
    runs("steady", tje_d2=[1.5, 1.5, 1.5, 9, 9, 9])
    runs("worse", tje_d2=[2.5, 2.6, 2.4, 10, 10, 10])
    board = board_of(runs.out)
    said = "losesit is not judged: a value in only 3 of 6 clips, and those it lacks may be the hard"
    assert board.marks["tje_d2"] == Marks(best=("steady",), notes=(f"{said} ones",))
    assert board.rank(board.rows[0], METRICS["tje_d2"]) is None
    assert board.rows[0].scores["tje_d2"].n_clips == 3
    assert board.n_of_more(board.rows[0], METRICS["tje_d2"]) == 6


def test_models_are_judged_on_the_clips_that_all_of_them_have(runs: Runs) -> None:
    """The one hard clip that `lucky` lacks counts for nobody."""
    people = [f"p{n}" for n in range(12)]
    ours = [5.0 + n / 10 for n in range(12)]
    runs("lucky", people=people, tje_d2=[math.nan, *[value + 1 for value in ours[1:]]])
    runs("better", people=people, tje_d2=[90.0, *ours[1:]])
    board = board_of(runs.out)
    better, lucky = board.rows
    assert lucky.scores["tje_d2"].value < better.scores["tje_d2"].value
    assert board.marks["tje_d2"] == Marks(
        best=("better",), notes=("judged on the 11 of 12 clips that all judged have",)
    )


def test_where_hardly_a_clip_has_a_value_of_all_models_nobody_is_best(runs: Runs) -> None:
    people = [f"p{n}" for n in range(12)]
    for at in range(8):
        values = [1.0 + n for n in range(12)]
        values[at] = math.nan
        runs(f"m{at}", people=people, tje_d2=values)
    marks = board_of(runs.out).marks["tje_d2"]
    assert marks.best == ()
    assert marks.reason == "too few clips have a value of all models"


@pytest.mark.parametrize("order", [1, -1])
def test_the_spelling_of_models_and_identities_changes_no_mark(order: int, runs: Runs) -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(20, 1, size=(5, 14)) + np.array([[0.0], [0.2], [0.4], [0.8], [1.2]])
    people = [f"p{n:02}" for n in range(14)][::order]
    names = ["a", "b", "c", "d", "e"][::order]
    for name, psnr in zip(names, values, strict=True):
        runs(name, people=people, psnr=psnr.tolist())
    marks = board_of(runs.out).marks["psnr"]
    places = {name: at for at, name in enumerate(names)}
    assert {places[name] for name in marks.best} == {4}
    assert {places[name] for name in marks.tied} == {2, 3}
