from __future__ import annotations

import numpy as np
import pytest

from tests.metrics.test_frechet import reference_scipy_frechet
from tpbench.metrics.frechet import DISCO_FVD, FID, FVD, feature_statistics


def test_fid_is_the_frechet_distance_with_covariances_over_n_minus_1() -> None:
    # Only 6 features vary, so that the reference needs no root of a 2048 x 2048 matrix.
    draw = np.random.default_rng(0)
    real, generated = np.zeros((40, 2048)), np.zeros((30, 2048))
    real[:, ::400] = draw.standard_normal((40, 6))
    generated[:, ::400] = 2 * draw.standard_normal((30, 6)) + 1

    found = FID.score(feature_statistics(real), feature_statistics(generated))

    expected = reference_scipy_frechet(real[:, ::400], generated[:, ::400], ddof=1)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert (found.n_real, found.n_generated) == (40, 30)
    assert found.warning is not None
    assert found.warning.startswith("30 generated and 40 real frames, fewer than 10000: ")


def test_clips_in_any_order_and_batches_give_one_value() -> None:
    clips = [np.random.default_rng(seed).random((7, 2048), np.float32) for seed in range(6)]

    whole = FID.pooled([(np.concatenate(clips[:3]), np.concatenate(clips[3:]))])
    parts = FID.pooled(
        (clips[real][part], clips[generated][part])
        for real, generated in ((2, 4), (0, 5), (1, 3))
        for part in (slice(0, 3), slice(3, 6), slice(6, 7))
    )

    assert parts.value == pytest.approx(whole.value, rel=1e-9)
    assert (parts.n_real, parts.n_generated) == (21, 21)


def test_fid_refuses_features_of_another_network() -> None:
    other = feature_statistics(np.zeros((3, 400)))
    with pytest.raises(ValueError, match="length 2048, got 400 and 400"):
        FID.score(other, other)


def test_no_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="no features"):
        FID.pooled([])


def test_fvd_is_the_frechet_distance_with_covariances_over_n() -> None:
    draw = np.random.default_rng(0)
    real, generated = np.zeros((16, 400)), np.zeros((16, 400))
    real[:, ::80] = draw.standard_normal((16, 5))
    generated[:, ::80] = 2 * draw.standard_normal((16, 5)) + 1

    found = FVD.score(feature_statistics(real), feature_statistics(generated))

    expected = reference_scipy_frechet(real[:, ::80], generated[:, ::80], ddof=0)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found.warning is not None
    assert found.warning.startswith("16 generated and 16 real windows, fewer than 2048: ")


def test_enough_windows_are_said_nothing_about() -> None:
    draw = np.random.default_rng(0)
    statistics = feature_statistics(draw.standard_normal((FVD.enough, 400)))

    found = FVD.score(statistics, statistics)

    assert found.warning is None
    assert found.value == pytest.approx(0, abs=1e-9)


def test_windows_of_clips_in_any_order_give_one_value() -> None:
    # More windows than features in all, fewer in each clip: both forms of the statistics.
    draw = np.random.default_rng(1)
    clips = [draw.standard_normal((number, 400)) + 10 for number in (150, 170, 190)]
    generated = draw.standard_normal((9, 400))

    values = [
        FVD.pooled((clips[at], generated[3 * at : 3 * at + 3]) for at in order).value
        for order in ([0, 1, 2], [2, 0, 1])
    ]

    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_fvd_refuses_features_of_another_network() -> None:
    other = feature_statistics(np.zeros((3, 2048)))
    with pytest.raises(ValueError, match="length 400, got 2048 and 2048"):
        FVD.score(other, other)


def test_disco_divides_by_one_less_than_fvd() -> None:
    draw = np.random.default_rng(2)
    real, generated = np.zeros((16, 400)), np.zeros((16, 400))
    real[:, ::80] = draw.standard_normal((16, 5))
    generated[:, ::80] = draw.standard_normal((16, 5))

    found = DISCO_FVD.score(feature_statistics(real), feature_statistics(generated))

    expected = reference_scipy_frechet(real[:, ::80], generated[:, ::80], ddof=1)
    assert found.value == pytest.approx(expected, rel=1e-9)
