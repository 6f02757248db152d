from __future__ import annotations

import numpy as np
import pytest

from tests.metrics.test_frechet import reference_scipy_frechet
from tpbench.metrics.feature_statistics import feature_statistics
from tpbench.metrics.fid import fid, fid_accumulator


def test_is_the_frechet_distance_with_covariances_over_n_minus_1() -> None:
    # Only 6 features vary, so that the reference needs no root of a 2048 x 2048 matrix.
    draw = np.random.default_rng(0)
    real, generated = np.zeros((40, 2048)), np.zeros((30, 2048))
    real[:, ::400] = draw.standard_normal((40, 6))
    generated[:, ::400] = 2 * draw.standard_normal((30, 6)) + 1

    found = fid(feature_statistics(real), feature_statistics(generated))

    expected = reference_scipy_frechet(real[:, ::400], generated[:, ::400], ddof=1)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert (found.n_real, found.n_generated) == (40, 30)
    assert found.warning is not None
    assert found.warning.startswith("30 generated and 40 real frames, fewer than 10000: ")


def test_clips_in_any_order_and_batches_give_one_value() -> None:
    clips = [np.random.default_rng(seed).random((7, 2048), np.float32) for seed in range(6)]
    whole, parts = fid_accumulator(), fid_accumulator()
    whole.update(np.concatenate(clips[:3]), np.concatenate(clips[3:]))
    for real, generated in ((2, 4), (0, 5), (1, 3)):
        one = fid_accumulator()
        for start in range(0, 7, 3):
            part = slice(start, start + 3)
            one.update(clips[real][part], clips[generated][part])
        parts.merge(one)

    assert parts.compute().value == pytest.approx(whole.compute().value, rel=1e-9)


def test_features_of_another_network_are_refused() -> None:
    other = feature_statistics(np.zeros((3, 400)))
    with pytest.raises(ValueError, match="length 2048, got 400 and 400"):
        fid(other, other)


def test_no_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="no features"):
        fid_accumulator().compute()
