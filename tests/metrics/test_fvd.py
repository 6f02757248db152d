from __future__ import annotations

import numpy as np
import pytest

from tests.metrics.test_frechet import reference_scipy_frechet
from tpbench.metrics.feature_statistics import feature_statistics
from tpbench.metrics.fvd import FVD_ENOUGH, fvd, fvd_accumulator


def test_is_the_frechet_distance_with_covariances_over_n() -> None:
    draw = np.random.default_rng(0)
    real, generated = np.zeros((16, 400)), np.zeros((16, 400))
    real[:, ::80] = draw.standard_normal((16, 5))
    generated[:, ::80] = 2 * draw.standard_normal((16, 5)) + 1

    found = fvd(feature_statistics(real), feature_statistics(generated))

    expected = reference_scipy_frechet(real[:, ::80], generated[:, ::80], ddof=0)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found.warning is not None
    assert found.warning.startswith("16 generated and 16 real windows, fewer than 2048: ")


def test_enough_windows_are_said_nothing_about() -> None:
    draw = np.random.default_rng(0)
    statistics = feature_statistics(draw.standard_normal((FVD_ENOUGH, 400)))

    found = fvd(statistics, statistics)

    assert found.warning is None
    assert found.value == pytest.approx(0, abs=1e-9)


def test_clips_in_any_order_give_one_value() -> None:
    # More windows than features in all, fewer in each clip: both forms of the statistics.
    draw = np.random.default_rng(1)
    clips = [draw.standard_normal((number, 400)) + 10 for number in (150, 170, 190)]
    generated = draw.standard_normal((9, 400))
    values = []
    for order in ([0, 1, 2], [2, 0, 1]):
        total = fvd_accumulator()
        for number in order:
            one = fvd_accumulator()
            one.update(clips[number], generated[3 * number : 3 * number + 3])
            total.merge(one)
        values.append(total.compute().value)

    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_features_of_another_network_are_refused() -> None:
    other = feature_statistics(np.zeros((3, 2048)))
    with pytest.raises(ValueError, match="length 400, got 2048 and 2048"):
        fvd(other, other)
