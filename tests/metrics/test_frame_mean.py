from __future__ import annotations

import math

import numpy as np
import pytest

from tpbench.metrics.frame_mean import FrameMean
from tpbench.metrics.l1 import disco_l1, mean_absolute_error

BLACK = np.zeros((2, 2, 3), np.uint8)


def grey(level: int) -> np.ndarray:
    return np.full((2, 2, 3), level, np.uint8)


def test_update_returns_the_frame_and_compute_the_mean() -> None:
    accumulator = FrameMean(mean_absolute_error)

    assert [accumulator.update(BLACK, grey(level)) for level in (3, 4, 8)] == [3.0, 4.0, 8.0]
    assert accumulator.compute() == 5.0


def test_merging_equals_one_accumulator_over_all_frames() -> None:
    first, second = FrameMean(mean_absolute_error), FrameMean(mean_absolute_error)
    for level in (3, 4):
        first.update(BLACK, grey(level))
    second.update(BLACK, grey(8))

    first.merge(second)

    assert first.compute() == 5.0
    assert second.compute() == 8.0


def test_no_frames_have_no_mean() -> None:
    assert math.isnan(FrameMean(mean_absolute_error).compute())


def test_two_metrics_are_not_pooled() -> None:
    with pytest.raises(ValueError, match="can't be pooled"):
        FrameMean(mean_absolute_error).merge(FrameMean(disco_l1))
