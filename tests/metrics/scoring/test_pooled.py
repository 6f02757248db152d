from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tpbench.metrics.frechet import FVD
from tpbench.metrics.kid import kid
from tpbench.metrics.scoring.reduce import ClipFeatures, pooled_drift, pooled_frechet, pooled_kid

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALL = replace(FVD, name="small", dim=6)
SIDES = ("real", "generated")


def clip(name: str, n: int, *, away: float = 0.0, n_frames: int | None = None) -> ClipFeatures:
    draw = np.random.default_rng(sum(name.encode()))
    real = draw.normal(size=(n, SMALL.dim)).astype(np.float32)
    generated = (draw.normal(size=(n, SMALL.dim)) + away).astype(np.float32)
    return ClipFeatures(clip_id=name, n_frames=n_frames or 16 * n, real=real, generated=generated)


def reference_numpy_distance(clips: Sequence[ClipFeatures], rows: slice = slice(None)) -> float:
    """The distance of all vectors in one array, by its formula."""
    (m1, s1), (m2, s2) = (
        (sets.mean(axis=0), np.cov(sets, rowvar=False, ddof=SMALL.ddof))
        for sets in (
            np.concatenate([getattr(clip, side)[rows] for clip in clips]).astype(np.float64)
            for side in SIDES
        )
    )
    roots = np.sqrt(np.clip(np.linalg.eigvals(s1 @ s2).real, 0, None))
    return float(((m1 - m2) ** 2).sum() + np.trace(s1 + s2) - 2 * roots.sum())


def test_a_distance_is_that_of_all_vectors_in_one_array() -> None:
    clips = [clip("a", 12), clip("b", 30, away=1), clip("c", 7)]

    found = pooled_frechet(SMALL, clips)

    assert found.value == pytest.approx(reference_numpy_distance(clips), rel=1e-9)
    assert (found.n_real, found.n_generated, found.n_clips, found.n_too_short) == (49, 49, 3, 0)
    assert found.warning is not None
    assert "49" in found.warning


def test_clips_without_a_window_are_left_out_and_counted() -> None:
    clips = [clip("a", 12), clip("b", 0), clip("c", 9)]

    found = pooled_frechet(SMALL, clips)

    assert found.value == pytest.approx(reference_numpy_distance(clips), rel=1e-9)
    assert (found.n_clips, found.n_too_short) == (2, 1)


@pytest.mark.parametrize("clips", [[], [clip("a", 0), clip("b", 0)]])
def test_no_vectors_at_all_are_a_blank_with_a_reason(clips: list[ClipFeatures]) -> None:
    reasons = (
        "no clip has the 16 frames of a window",
        "the clips have fewer than two frames in all",
    )
    for found, reason in zip(
        (pooled_frechet(SMALL, clips), pooled_kid(clips)), reasons, strict=True
    ):
        assert math.isnan(found.value)
        assert found.warning == reason
        assert found.n_too_short == len(clips)


def test_kid_is_that_of_all_vectors_in_one_array() -> None:
    clips = [clip("a", 12), clip("b", 30, away=1), clip("c", 7)]

    found = pooled_kid(clips)

    whole = (np.concatenate([getattr(clip, side) for clip in clips]) for side in SIDES)
    assert found.value == pytest.approx(kid(*whole).value, rel=1e-9)
    assert (found.n_real, found.n_generated, found.n_clips) == (49, 49, 3)


@pytest.mark.parametrize("pool", [lambda clips: pooled_frechet(SMALL, clips), pooled_kid])
def test_the_order_of_clips_makes_no_difference(pool: object) -> None:
    clips = [clip("a", 12), clip("b", 30, away=1), clip("c", 7)]
    assert callable(pool)

    assert pool(clips).value == pytest.approx(pool(clips[::-1]).value, rel=1e-9)


def test_drift_is_the_slope_of_the_distances_of_windows() -> None:
    """One vector per window of 16 frames, as I3D gives them; later ones are further away."""
    clips = [clip(name, 8) for name in "abcdefgh"]
    for one in clips:
        one.generated[:] += np.arange(8, dtype=np.float32)[:, None]

    found = pooled_drift(SMALL, clips, rows_per_window=1, frames=16)

    curve = [reference_numpy_distance(clips, slice(k, k + 1)) for k in range(8)]
    assert found.slope.details["windows"] == pytest.approx(curve, rel=1e-6)
    slopes = [(curve[j] - curve[i]) / (j - i) for i in range(8) for j in range(i + 1, 8)]
    assert found.slope.value == pytest.approx(100 / 16 * float(np.median(slopes)), rel=1e-9)
    assert found.delta.value == pytest.approx(curve[7] - curve[0], rel=1e-6)
    assert all(after > before for before, after in pairwise(curve))
    assert (found.slope.n_clips, found.slope.n_real) == (8, 8)


def test_a_window_of_frames_takes_their_vectors_together() -> None:
    clips = [clip(name, 120, n_frames=120) for name in "ab"]

    found = pooled_drift(SMALL, clips, rows_per_window=16, frames=16)

    curve = [reference_numpy_distance(clips, slice(16 * k, 16 * k + 16)) for k in range(7)]
    assert found.slope.details["windows"] == pytest.approx(curve, rel=1e-6)
    assert found.slope.n_real == 32


def test_windows_that_too_few_clips_reach_are_left_out_and_told() -> None:
    """Of three clips, two are less than four in five."""
    clips = [clip("a", 9), clip("b", 7), clip("c", 12)]

    found = pooled_drift(SMALL, clips, rows_per_window=1, frames=16)

    assert found.slope.details["windows"] == pytest.approx(
        [reference_numpy_distance(clips, slice(k, k + 1)) for k in range(7)], rel=1e-6
    )
    assert (found.slope.n_clips, found.slope.n_too_short) == (3, 0)
    assert found.slope.warning is not None
    assert found.slope.warning.startswith(
        "windows 8 to 12 are left out: 2 of 3 clips reach beyond window 7, and want 80%"
    )


def drifting(name: str, n: int) -> ClipFeatures:
    """Stands still for ten windows, then runs away."""
    made = clip(name, n)
    made.generated[:] = made.real + 0.01 * made.generated
    made.generated[10:] += np.arange(n - 10, dtype=np.float32)[:, None] if n > 10 else 0
    return made


def test_one_short_clip_does_not_cut_the_drift_of_all_others() -> None:
    """29 clips of 960 frames, and one of 112: its 7 windows lie before anything happens."""
    long = [drifting(f"clip {at}", 60) for at in range(29)]
    short = drifting("short", 7)

    with_it = pooled_drift(SMALL, [*long, short], rows_per_window=1, frames=16)
    without = pooled_drift(SMALL, long, rows_per_window=1, frames=16)

    assert with_it.slope.value == without.slope.value > 100
    assert with_it.delta.value == without.delta.value
    assert with_it.slope.details["n_windows"] == 60
    assert with_it.slope.details["clips_per_window"] == [29] * 60
    assert (with_it.slope.n_clips, with_it.slope.n_too_short) == (29, 1)
    assert with_it.slope.warning is not None
    told = "1 of 30 clips of more than 100 frames end before window 60 and are left out"
    assert with_it.slope.warning.startswith(told)
    assert without.slope.warning is not None
    assert "left out" not in without.slope.warning


def test_all_windows_are_of_the_same_clips_also_where_lengths_differ_all_over() -> None:
    clips = [drifting(f"clip {n}", n) for n in range(11, 31)]

    found = pooled_drift(SMALL, clips, rows_per_window=1, frames=16)

    # 16 of 20 clips have 15 windows or more.
    assert found.slope.details["n_windows"] == 15
    reaching = [one for one in clips if len(one.generated) >= 15]
    assert found.slope.details["windows"] == pytest.approx(
        [reference_numpy_distance(reaching, slice(k, k + 1)) for k in range(15)], rel=1e-6
    )
    assert found.slope.n_clips + found.slope.n_too_short == 20
    assert found.slope.n_clips == 16


@pytest.mark.parametrize("n_frames", [100, 101, 111])
def test_a_clip_whose_windows_end_within_100_frames_blanks_no_drift(n_frames: int) -> None:
    """Six windows are 96 frames: no drift can be read off them, nor may they cut the others."""
    long = [clip("a", 9), clip("b", 8)]
    short = clip("c", 6, n_frames=n_frames)

    found = pooled_drift(SMALL, [*long, short], rows_per_window=1, frames=16)
    alone = pooled_drift(SMALL, long, rows_per_window=1, frames=16)

    assert found.slope.value == alone.slope.value
    assert math.isfinite(found.slope.value)
    assert (found.slope.n_clips, found.slope.n_too_short) == (2, 1)


def test_drift_of_short_clips_is_a_blank_with_a_reason() -> None:
    found = pooled_drift(SMALL, [clip("a", 6, n_frames=111)], rows_per_window=1, frames=16)

    for score in (found.slope, found.delta):
        assert math.isnan(score.value)
        assert score.warning == (
            "no clip has more than 100 frames in whole windows of 16: it takes 112 frames"
        )
        assert score.n_too_short == 1
