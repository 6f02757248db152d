from __future__ import annotations

import math

import numpy as np
import pytest

from tpbench.extraction.measures import finite_median, finite_percentile, lasting, share

NAN = float("nan")


@pytest.mark.parametrize("values", [[], [NAN], [NAN, np.inf, -np.inf]])
def test_nothing_finite_has_no_percentile(values: list[float]) -> None:
    assert math.isnan(finite_percentile(np.array(values), 90))
    assert math.isnan(finite_median(np.array(values)))


def test_what_is_not_finite_does_not_count() -> None:
    values = np.array([NAN, 1.0, 2.0, 4.0, np.inf])
    assert finite_median(values) == 2
    assert finite_percentile(values, 100) == 4
    assert finite_percentile(values, 75) == 3


def test_arrays_of_any_shape_are_one_set_of_values() -> None:
    assert finite_median(np.array([[1.0, NAN], [5.0, 3.0]])) == 3


def test_a_share_of_nothing_is_unknown() -> None:
    assert math.isnan(share(np.array([], dtype=np.bool_)))
    assert share(np.array([True, False, False, False])) == 0.25


@pytest.mark.parametrize(
    ("hits", "expected"),
    [
        ([], []),
        ([True], [True]),
        ([False, True, False], [False, False, False]),
        ([True, True, False, True], [True, True, False, False]),
        ([True, False, True, True, True], [False, False, True, True, True]),
    ],
)
def test_a_lone_hit_does_not_last(hits: list[bool], expected: list[bool]) -> None:
    assert lasting(np.array(hits, dtype=np.bool_)).tolist() == expected
