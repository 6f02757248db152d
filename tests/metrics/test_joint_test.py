from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tpbench.metrics.joint_test import LEVEL, differ, worse_than_some

Floats = NDArray[np.float64]


def reference_plain_worse(sums: Floats) -> list[bool]:
    """All pairs, all signs, one after the other."""
    people, models = sums.shape

    def statistic(one: int, other: int, signs: tuple[int, ...]) -> float:
        differences = sums[:, one] - sums[:, other]
        root = float(np.sqrt((differences**2).sum()))
        return float(np.array(signs) @ differences) / root if root else 0.0

    def greatest(one: int, signs: tuple[int, ...]) -> float:
        return max(statistic(one, other, signs) for other in range(models) if other != one)

    left, plain = set(range(models)), (1,) * people
    while left:
        drawn = [
            max(greatest(one, signs) for one in left) for signs in product((1, -1), repeat=people)
        ]
        seen = {one: greatest(one, plain) for one in left}
        new = {
            one
            for one in left
            if seen[one] > 0 and np.mean([value >= seen[one] - 1e-9 for value in drawn]) <= LEVEL
        }
        if not new:
            break
        left -= new
    return [model not in left for model in range(models)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("people", [6, 8])
def test_worse_equals_trying_all_signs_pair_by_pair(people: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sums = rng.normal(size=(people, 4)) + np.array([0, 0.5, 2.0, 5.0])
    assert worse_than_some(sums).tolist() == reference_plain_worse(sums)


def test_six_people_who_all_say_the_same_are_enough_and_five_are_not() -> None:
    rng = np.random.default_rng(1)
    better = rng.normal(size=6)
    sums = np.stack([better, better + 1], axis=1)
    assert worse_than_some(sums).tolist() == [False, True]
    assert worse_than_some(sums[:5]).tolist() == [False, False]
    assert differ(sums[:, [1]] - sums[:, [0]]).tolist() == [True]
    assert differ(sums[:5, [1]] - sums[:5, [0]]).tolist() == [False]


@pytest.mark.parametrize("people", [8, 30])
def test_two_clear_losers_are_found_together_and_equal_winners_are_not(people: int) -> None:
    rng = np.random.default_rng(2)
    hard = 9 * rng.normal(size=(people, 1))
    sums = hard + 0.2 * rng.normal(size=(people, 5)) + np.array([0, 0, 0, 4.0, 5.0])
    assert worse_than_some(sums).tolist() == [False, False, False, True, True]


def test_models_that_differ_by_rounding_alone_are_equal() -> None:
    sums = np.random.default_rng(3).normal(size=(20, 1)) + np.array([0.0, 1e-13, 0.0])
    assert not worse_than_some(sums).any()


@given(st.permutations(range(16)), st.permutations(range(5)), st.integers(0, 20))
def test_the_order_of_people_and_models_changes_nobody(
    people: list[int], models: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sums = rng.normal(size=(16, 5)) + np.array([0, 0.3, 0.6, 0.9, 1.2])
    found = worse_than_some(sums)
    assert worse_than_some(sums[people][:, models]).tolist() == found[models].tolist()


@given(st.permutations(range(4)), st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4))
def test_the_order_and_the_sign_of_comparisons_change_none(
    order: list[int], signs: list[float]
) -> None:
    differences = np.random.default_rng(4).normal(size=(9, 4)) + np.array([0, 1.0, 2.0, 3.0])
    found = differ(differences)
    assert found.any()
    assert differ((differences * signs)[:, order]).tolist() == found[order].tolist()


def test_more_comparisons_ask_for_more() -> None:
    rng = np.random.default_rng(5)
    edge = rng.normal(0.95, 1, size=(9, 1))
    assert differ(edge).tolist() == [True]
    assert not differ(np.concatenate([edge, rng.normal(size=(9, 40))], axis=1)).any()


def test_people_without_a_part_in_a_comparison_say_nothing_about_it() -> None:
    differences = np.ones((10, 2))
    differences[3:, 1] = 0
    assert differ(differences).tolist() == [True, False]


def test_nobody_to_compare_with_is_nobody_worse() -> None:
    assert not worse_than_some(np.ones((9, 1))).any()
    assert not worse_than_some(np.ones((9, 3))).any()
    assert not differ(np.zeros((9, 3))).any()
