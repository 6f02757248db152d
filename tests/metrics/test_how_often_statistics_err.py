"""Intervals hold what they promise, and marks name few that are no losers: by simulation.

The tables of `docs/statistics.md` are those of `benchmarks/bench_statistics.py`; the bounds here
leave room for the chance in fewer samples.
"""

from __future__ import annotations

import pytest

from tests.metrics.simulations import (
    IDENTITIES,
    MODELS,
    POPULATIONS,
    Field,
    comparisons,
    coverage,
    marks,
)

FIELDS = {
    "alike": Field(),
    "unlike": Field(alike=0.0),
    "heavy tails": Field(noise="heavy"),
    "skewed and unequal": Field(noise="skewed", clips="unequal", alike=0.5),
    "mostly perfect": Field(noise="shares"),
}


@pytest.mark.parametrize("identities", [5, 20])
@pytest.mark.parametrize("population", POPULATIONS)
def test_intervals_that_are_given_hold_the_truth(population: str, identities: int) -> None:
    found = coverage(population, identities, 150)
    assert found.share >= 0.87
    assert found.blank == 0


@pytest.mark.parametrize("models", MODELS)
@pytest.mark.parametrize("name", ["alike", "skewed and unequal"])
def test_few_tables_of_equal_models_name_a_loser(name: str, models: int) -> None:
    wrong, _ = marks(FIELDS[name], 8, models, 150)
    assert wrong <= 0.08


def test_one_against_the_best_at_a_time_is_what_these_bounds_would_find() -> None:
    """The method before: the check can fail."""
    wrong, _ = marks(Field(), 8, 10, 12, method="old")
    assert wrong > 0.2
    assert coverage("shares, 76 % of people all 1", 5, 60, method="old").share < 0.8
    assert comparisons(20, 50, 6, method="old") > 0.3


def test_few_comparisons_of_equal_runs_find_a_difference_in_any_metric() -> None:
    assert comparisons(8, 50, 150) <= 0.08


def test_who_is_far_behind_is_found_among_many() -> None:
    _, found = marks(Field(behind=2.0), 20, 10, 60)
    assert found >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("identities", IDENTITIES)
@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize("bounded", [True, False])
def test_nine_in_ten_intervals_hold_the_truth(
    population: str, identities: int, *, bounded: bool
) -> None:
    found = coverage(population, identities, 1000, bounded=bounded)
    assert found.share >= 0.9
    assert found.blank <= (0.0 if bounded else 0.65)


@pytest.mark.slow
@pytest.mark.parametrize("models", MODELS)
@pytest.mark.parametrize("identities", [6, 8, 20, 50])
@pytest.mark.parametrize("name", FIELDS)
def test_at_most_six_in_a_hundred_tables_of_equal_models_name_a_loser(
    name: str, identities: int, models: int
) -> None:
    wrong, _ = marks(FIELDS[name], identities, models, 1000)
    assert wrong <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize("identities", [8, 20, 50])
@pytest.mark.parametrize("metrics", [1, 10, 50])
def test_at_most_six_in_a_hundred_comparisons_of_equal_runs_find_a_difference(
    metrics: int, identities: int
) -> None:
    assert comparisons(identities, metrics, 1000) <= 0.06
