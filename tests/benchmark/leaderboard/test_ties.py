"""Who is best, and who may be as good."""

from __future__ import annotations

import math

import pytest

from tests.benchmark.leaderboard.conftest import Runs, board_of
from tpbench.benchmark.leaderboard.model import Marks

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
    assert bad.cells["psnr"].high is not None
    assert good.cells["psnr"].low is not None
    assert bad.cells["psnr"].high > good.cells["psnr"].low
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


def test_the_distance_to_a_target_is_that_of_the_mean_and_not_of_each_clip(runs: Runs) -> None:
    runs("steady", motion_ratio=1.02)
    runs("wild", motion_ratio=[0.53, 1.53, 0.43, 1.63, 0.63, 1.43])

    assert board_of(runs.out).marks["motion_ratio"] == Marks(best=("steady",), tied=("wild",))


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


def test_below_five_identities_only_the_best_is_marked_and_that_is_said(runs: Runs) -> None:
    people = ("a", "a", "b", "b", "c", "d")
    runs("good", psnr=BASE, people=people)
    runs("noisy", psnr=NOISY, people=people)

    assert board_of(runs.out).marks["psnr"] == Marks(
        best=("good",),
        reason="ties can't be judged: 4 identities: an interval needs at least 5",
    )


def test_without_identities_only_the_best_is_marked_and_that_is_said(runs: Runs) -> None:
    people = (None,) * 6
    runs("good", psnr=BASE, people=people)
    runs("noisy", psnr=NOISY, people=people)

    assert board_of(runs.out).marks["psnr"] == Marks(
        best=("good",),
        reason="ties can't be judged: the identities of the clips are not known",
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


def test_an_infinite_value_is_best_and_ties_with_it_are_not_judged(runs: Runs) -> None:
    runs("copy", psnr=math.inf)
    runs("model", psnr=BASE)

    assert board_of(runs.out).marks["psnr"] == Marks(
        best=("copy",), reason="ties can't be judged: no clip has a finite value"
    )
