from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.metrics.motion import Motion, MotionSummary, frame_motion


def reference_numpy_motion(video: np.ndarray, delta: int) -> float:
    return float(np.abs(video[delta:].astype(np.int64) - video[:-delta]).mean())


def video(n: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 6, 5, 3), dtype=np.uint8)


def ramp(n: int, step: int) -> np.ndarray:
    return np.arange(n, dtype=np.uint8)[:, None, None, None] * np.full((4, 4, 3), step, np.uint8)


def motion_of(real: np.ndarray, generated: np.ndarray, delta: int = 1) -> MotionSummary:
    motion = Motion(delta)
    for pair in zip(real, generated, strict=True):
        motion.update(*pair)
    return motion.compute()


@given(st.integers(2, 8), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_motion_equals_numpy(n: int, delta: int, seed: int) -> None:
    real, generated = video(n + delta, seed=seed), video(n + delta, seed=seed + 1)

    summary = motion_of(real, generated, delta)

    expected = reference_numpy_motion(real, delta), reference_numpy_motion(generated, delta)
    assert summary.real_motion == pytest.approx(expected[0], abs=1e-9)
    assert summary.generated_motion == pytest.approx(expected[1], abs=1e-9)
    assert summary.ratio == pytest.approx(expected[1] / expected[0], abs=1e-9)
    assert summary.n_terms == n
    assert summary.reason is None


def test_the_same_motion_is_1_twice_is_2_and_backwards_still_1() -> None:
    real = ramp(10, 3)

    assert motion_of(real, real).ratio == 1.0
    assert motion_of(real, real[::-1]).ratio == 1.0
    assert motion_of(real, ramp(10, 6)).ratio == 2.0


def test_a_frozen_video_is_0() -> None:
    real = ramp(10, 3)

    summary = motion_of(real, np.broadcast_to(real[:1], real.shape))

    assert summary.ratio == 0.0
    assert summary.reason is None


def test_a_still_real_video_has_no_ratio_and_says_why() -> None:
    summary = motion_of(np.zeros((5, 4, 4, 3), np.uint8), ramp(5, 2))

    assert math.isnan(summary.ratio)
    assert summary.generated_motion == 2.0
    assert summary.reason == "the real video doesn't change at all"


def test_a_video_of_delta_frames_has_no_ratio_and_says_why() -> None:
    summary = motion_of(video(2), video(2), delta=2)

    assert math.isnan(summary.ratio)
    assert summary.n_terms == 0
    assert summary.reason == "no frame has another one delta frames before it"


def test_update_returns_the_frames_own_motion() -> None:
    motion = Motion(2)
    real, generated = ramp(4, 3), ramp(4, 5)

    moved = [motion.update(*pair) for pair in zip(real, generated, strict=True)]

    assert all(math.isnan(value) for pair in moved[:2] for value in pair)
    assert moved[2:] == [(6.0, 10.0), (6.0, 10.0)]


def test_merged_videos_are_pooled_without_a_term_across_their_border() -> None:
    first, second = Motion(), Motion()
    for pair in zip(ramp(3, 1), ramp(3, 2), strict=True):
        first.update(*pair)
    for pair in zip(ramp(4, 7), ramp(4, 1), strict=True):
        second.update(*pair)

    first.merge(second)

    summary = first.compute()
    assert summary.n_terms == 5
    assert summary.ratio == pytest.approx((2 * 2 + 3 * 1) / (2 * 1 + 3 * 7), abs=1e-12)


def test_two_deltas_are_not_pooled() -> None:
    with pytest.raises(ValueError, match="delta 1 can't be pooled with delta 2"):
        Motion(1).merge(Motion(2))


def test_a_delta_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 frame, not -1"):
        Motion(-1)


def test_frame_motion_is_exact_and_refuses_two_sizes() -> None:
    dark = np.zeros((300, 400, 3), np.uint8)

    assert frame_motion(dark, ~dark) == 255.0
    with pytest.raises(ValueError, match="one size"):
        frame_motion(dark, dark[1:])
