"""Who is best, and who may be as good."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pytest

from tests.benchmark.leaderboard.conftest import Runs, board_of, of_score
from tpbench.benchmark.leaderboard.board import Marks
from tpbench.metrics.registry import METRICS

BASE = (20.0, 22.0, 24.0, 26.0, 28.0, 30.0)
NOISY = (20.5, 21.2, 24.4, 25.7, 28.1, 29.9)
"""0.03 dB below the base on average, half of the clips better."""
WOBBLE = (0.01, -0.01, 0.02, -0.02, 0.005, -0.005)
TWELVE = tuple(f"p{n}" for n in range(12))
HARD = tuple(5.0 + n / 10 for n in range(12))
NOBODY_WORSE = "no model can be called worse than another"
NO_TIES = "all clips together give one value: ties can't be judged"

Models = list[tuple[str, dict[str, Any]]]


def shifted(by: float) -> tuple[float, ...]:
    return tuple(value + by for value in BASE)


def near(ratio: float) -> Models:
    """A model with about this much motion, and one with 0.8 of the real."""
    mine = [ratio + 0.001 + w for w in WOBBLE]
    other = [0.8 - w / 2 for w in WOBBLE]
    return [("mine", {"motion_ratio": mine}), ("other", {"motion_ratio": other})]


def blank_at(place: int) -> list[float]:
    return [math.nan if n == place else 1.0 + n for n in range(12)]


def good_and(name: str, *, bad: float = -1, **run: Any) -> Models:  # noqa: ANN401 - of a run
    return [("good", {"psnr": BASE}), ("bad", {"psnr": shifted(bad)}), (name, run)]


MARKS: Final[dict[str, tuple[str, Models, Marks]]] = {
    "who may be as good as the best is tied": (
        "psnr",
        good_and("noisy", bad=-2, psnr=NOISY),
        Marks(best=("good",), tied=("noisy",)),
    ),
    "where less is better the least is best": (
        "tje_d2",
        [
            ("calm", {"tje_d2": BASE}),
            ("shaky", {"tje_d2": shifted(1)}),
            ("noisy", {"tje_d2": [50.1 - value for value in BASE]}),
        ],
        Marks(best=("calm",), tied=("noisy",)),
    ),
    "nearest to a target, just below": ("motion_ratio", near(0.9), Marks(best=("mine",))),
    "nearest to a target, just above": ("motion_ratio", near(1.1), Marks(best=("mine",))),
    "far below a target": ("motion_ratio", near(0.7), Marks(best=("other",))),
    "far above a target": ("motion_ratio", near(1.3), Marks(best=("other",))),
    "as far above a target as the other below": (
        "motion_ratio",
        near(1.2),
        Marks(best=("other",), tied=("mine",)),
    ),
    "equal values are all best": (
        "psnr",
        [("a", {"psnr": BASE}), ("b", {"psnr": BASE})],
        Marks(best=("a", "b")),
    ),
    "an anchor is never best": (
        "psnr",
        good_and("oracle", kind="anchor", psnr=math.inf),
        Marks(best=("good",)),
    ),
    "a model that lacks clips is never best": (
        "psnr",
        good_and("picky", psnr=shifted(9), failed={"clip0": "too hard"}),
        Marks(best=("good",)),
    ),
    "a blank is no value to be best with": (
        "psnr",
        good_and("blank", blank={"psnr": "no weights"}),
        Marks(best=("good",)),
    ),
    "what judges nothing has no best": (
        "identical_share",
        [("a", {"identical_share": 0.5}), ("b", {"identical_share": 0.1})],
        Marks(reason="the metric has no direction: no value is better or worse"),
    ),
    "of a value over all clips only the best is marked": (
        "fid",
        [("a", {"sets": {"fid": 10.0}}), ("b", {"sets": {"fid": 10.1}})],
        Marks(best=("a",), reason=NO_TIES),
    ),
    "a value of fewer clips than others have is not best": (
        "fid",
        [
            ("a", {"sets": {"fid": 10.0}}),
            ("b", {"sets": {"fid": 10.1}}),
            ("few", {"sets": {"fid": 5.0}, "report": of_score("fid", n_clips=4)}),
        ],
        Marks(
            best=("a",),
            reason=NO_TIES,
            notes=("few is not judged: its value is from 4 clips, others are from 6",),
        ),
    ),
    "below six identities nothing is marked": (
        "psnr",
        [("good", {"psnr": BASE, "people": "aabcde"}), ("x", {"psnr": NOISY, "people": "aabcde"})],
        Marks(
            reason=f"5 identities, and 6 are needed to rule out luck: {NOBODY_WORSE}",
        ),
    ),
    "without identities nothing is marked": (
        "psnr",
        [
            ("good", {"psnr": BASE, "people": (None,) * 6}),
            ("x", {"psnr": NOISY, "people": (None,) * 6}),
        ],
        Marks(
            reason=f"the identities of the clips are not known: {NOBODY_WORSE}",
        ),
    ),
    "a lone model is no winner": (
        "psnr",
        [("only", {}), ("oracle", {"kind": "anchor"})],
        Marks(reason="fewer than two complete models have a value: nothing to compare"),
    ),
    "where hardly a clip has a value of all models nobody is best": (
        "tje_d2",
        [(f"m{at}", {"people": TWELVE, "tje_d2": blank_at(at)}) for at in range(8)],
        Marks(
            reason="too few clips have a value from all models",
            notes=("judged on the 4 of 12 clips that all judged models have",),
        ),
    ),
}


@pytest.mark.parametrize(("metric", "models", "marks"), MARKS.values(), ids=MARKS)
def test_marks(runs: Runs, metric: str, models: Models, marks: Marks) -> None:
    for name, run in models:
        runs(name, **run)
    assert board_of(runs.out).marks[metric] == marks


def test_a_clear_winner_stands_alone_though_the_models_own_intervals_overlap(runs: Runs) -> None:
    runs("good", psnr=BASE)
    runs("bad", psnr=shifted(-0.5))
    board = board_of(runs.out)
    bad, good = (row.scores["psnr"] for row in board.rows)
    assert (bad.high or 0) > (good.low or math.inf)
    assert board.marks["psnr"] == Marks(best=("good",))
    assert [board.mark(name, "psnr") for name in ("good", "bad")] == ["best", None]


def test_the_distance_to_a_target_is_that_of_each_clip_and_not_of_the_mean(runs: Runs) -> None:
    """Errors of both signs don't cancel: 0.2 and 1.8 are on average 1, and far from it."""
    runs("steady", motion_ratio=[0.93, 0.94, 0.95, 0.96, 0.94, 0.95])
    runs("wild", motion_ratio=[0.2, 1.8, 0.2, 1.8, 0.2, 1.8])
    board = board_of(runs.out)
    assert board.marks["motion_ratio"] == Marks(best=("steady",))
    steady, wild = (row.distances["motion_ratio"] for row in board.rows)
    assert board.rows[1].scores["motion_ratio"].value == pytest.approx(1)
    assert (steady.mean, wild.mean) == pytest.approx((0.055, 0.8))
    assert steady.interval.low is not None
    assert steady.interval.high is not None
    assert 0.03 < steady.interval.low < 0.055 < steady.interval.high < 0.08
    assert wild.interval.low is None  # all six people are off by the same
    ranks = [board.rank(row, METRICS["motion_ratio"]) for row in board.rows]
    assert ranks == [steady.mean, wild.mean]


def test_seeds_on_both_sides_of_a_target_do_not_cancel(runs: Runs) -> None:
    runs("steady", motion_ratio=[0.9, 0.91, 0.89, 0.9, 0.9, 0.9])
    runs("wild", seed=1, motion_ratio=[0.5, 0.51, 0.49, 0.5, 0.5, 0.52])
    runs("wild", seed=2, motion_ratio=[1.5, 1.49, 1.51, 1.5, 1.5, 1.48])
    board = board_of(runs.out)
    assert board.marks["motion_ratio"] == Marks(best=("steady",))
    assert board.rows[1].distances["motion_ratio"].mean == pytest.approx(2.98 / 6)


def test_an_infinite_value_counts_as_100_db_and_is_better_than_what_is_no_copy(runs: Runs) -> None:
    runs("copy", psnr=math.inf)
    runs("model", psnr=BASE)
    runs("almost", psnr=[math.inf, math.inf, math.inf, math.inf, math.inf, 12.0])
    board = board_of(runs.out)
    assert board.marks["psnr"] == Marks(best=("copy",), tied=("almost",))
    ranks = {row.id: board.rank(row, METRICS["psnr"]) for row in board.rows}
    assert ranks == {"copy": -100, "almost": -(500 + 12) / 6, "model": -25}
    assert board.mark("almost", "psnr") == "tied"


def test_who_lacks_a_metric_on_half_of_the_clips_is_not_best_by_the_easy_ones(runs: Runs) -> None:
    runs("losesit", tje_d2=[1.0, 1.0, 1.0, math.nan, math.nan, math.nan])
    runs("steady", tje_d2=[1.5, 1.5, 1.5, 9, 9, 9])
    runs("worse", tje_d2=[2.5, 2.6, 2.4, 10, 10, 10])
    board = board_of(runs.out)
    said = (
        "losesit is not judged: a value for only 3 of 6 clips, and the missing ones may be the hard"
    )
    assert board.marks["tje_d2"] == Marks(best=("steady",), notes=(f"{said} ones",))
    assert board.rank(board.rows[0], METRICS["tje_d2"]) is None
    assert board.rows[0].scores["tje_d2"].n_clips == 3
    assert board.n_of_more(board.rows[0], METRICS["tje_d2"]) == 6


def test_models_are_judged_on_the_clips_that_all_of_them_have(runs: Runs) -> None:
    """The one hard clip that `lucky` lacks counts for nobody."""
    runs("lucky", people=TWELVE, tje_d2=[math.nan, *(value + 1 for value in HARD[1:])])
    runs("better", people=TWELVE, tje_d2=[90.0, *HARD[1:]])
    board = board_of(runs.out)
    better, lucky = (row.scores["tje_d2"].value for row in board.rows)
    assert lucky < better
    assert board.marks["tje_d2"] == Marks(
        best=("better",), notes=("judged on the 11 of 12 clips that all judged models have",)
    )


@pytest.mark.parametrize("order", [1, -1])
def test_the_spelling_of_models_and_identities_changes_no_mark(order: int, runs: Runs) -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(20, 1, size=(5, 14)) + np.array([[0.0], [0.2], [0.4], [0.8], [1.2]])
    people = [f"p{n:02}" for n in range(14)][::order]
    names = "abcde"[::order]
    for name, psnr in zip(names, values, strict=True):
        runs(name, people=people, psnr=psnr.tolist())
    marks = board_of(runs.out).marks["psnr"]
    assert {names.index(name) for name in marks.best} == {4}
    assert {names.index(name) for name in marks.tied} == {2, 3}
