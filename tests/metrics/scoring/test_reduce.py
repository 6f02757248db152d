from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy import stats

from tests.metrics.scoring.clips import custom
from tpbench.metrics.distances import FVD, kid
from tpbench.metrics.registry import METRICS, protocol
from tpbench.metrics.scoring.reduce import (
    ClipFeatures,
    ClipValue,
    clip_value,
    pooled_drift,
    pooled_frechet,
    pooled_kid,
)
from tpbench.metrics.scoring.report import MetricScore

Pool = Callable[[Sequence[ClipFeatures]], MetricScore]
NAN = math.nan
V2 = protocol("tpbench-v2")


def value_of(metric: str, *curves: ArrayLike) -> ClipValue:
    row = METRICS[metric]
    columns = {
        name: np.array(curve, dtype=np.float64)
        for name, curve in zip(row.columns, curves, strict=True)
    }
    return clip_value(row, {**columns, "something_else": np.zeros(3)}, V2)


@pytest.mark.parametrize(
    ("metric", "curves", "expected"),
    [
        # mean: of the measured values of all columns
        ("psnr", [[30, 34, 100, NAN]], 164 / 3),
        ("psnr", [[NAN, NAN]], NAN),
        ("psnr", [[100] * 3], 100),
        ("psnr", [[]], NAN),
        ("tje_d2", [[NAN, NAN, 8, 4]], 6),
        ("tje_d2", [[NAN, NAN]], NAN),
        ("hand_psnr", [[20, NAN, 22], [NAN, NAN, 30]], 24),
        ("identical_share", [[1, 0, 0, NAN, 0]], 0.25),
        # ratio: of the sums over frames with both
        ("motion_ratio", [[NAN, 2, 4, 6], [NAN, 1, 2, 3]], 2),
        ("motion_ratio", [[1, 5, NAN], [1, NAN, 8]], 1),
        ("motion_ratio", [[3, 3], [0, 0]], NAN),
        ("motion_ratio", [[NAN, 0, 0], [NAN, 3, 3]], 0),
        ("sharpness_ratio", [[8, 4], [0, 6]], 2),  # a flat real frame counts with the others
        ("akd_hands", [[0, 30, 10], [0, 10, 10]], 2),
        # difference: of the means, each over its own frames
        ("drift_lag_2", [[NAN, NAN, 0.8, 0.9], [NAN, NAN, 0.9, 0.9]], -0.05),
        ("drift_lag_100", [[NAN] * 4, [NAN] * 4], NAN),
    ],
)
def test_values_are_those_worked_by_hand(
    metric: str, curves: list[list[float]], expected: float
) -> None:
    found = value_of(metric, *curves)
    assert found.value == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert not found.too_short


def test_a_slope_is_per_100_frames() -> None:
    frames = np.arange(200)
    noise = np.random.default_rng(0).normal(0, 0.1, 200)
    found = value_of("drift_psnr_slope", 40 - 0.03 * frames + noise)
    assert found.value == pytest.approx(-3, abs=0.05)


def test_the_end_is_held_against_the_start_with_its_sign() -> None:
    curve = np.full(120, 30.0)
    curve[:18], curve[-18:] = 33, 28  # 15 % of 120 frames
    assert value_of("drift_psnr_delta", curve).value == pytest.approx(-5)


def test_a_curve_of_two_columns_is_their_ratio_frame_by_frame() -> None:
    generated, real = np.full(120, 4.0), np.full(120, 2.0)
    generated[-18:] = 1
    real[5] = 0  # no ratio there
    assert value_of("drift_sharpness_delta", generated, real).value == pytest.approx(0.5 - 2)
    assert value_of("drift_sharpness_slope", generated, real).value == pytest.approx(0)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([25] * 90 + [15] * 30, 0.75),
        ([25] * 90 + [15] * 29 + [25], 0.75),  # one good frame at the end is no recovery
        ([25] * 119 + [15], 1),  # nor one bad frame a failure
        ([15] * 30 + [25] * 90, 0),
        ([15] * 120, 0),
        ([20.0] * 120, 1),
        ([100] * 60 + [10] * 60, 0.5),
        ([NAN] * 120, NAN),
    ],
)
def test_lasting_quality_ends_where_a_level_is_missed_for_25_frames(
    curve: list[float], expected: float
) -> None:
    assert V2.levels["lasting_psnr"] == 20
    assert value_of("lasting_psnr", curve).value == pytest.approx(expected, nan_ok=True)


# --- identical frames ---------------------------------------------------------------------------


def test_perfect_for_half_of_a_clip_and_then_black_is_a_clear_decay() -> None:
    draw = np.random.default_rng(0)
    curve = np.concatenate([np.full(60, 100.0), 5 + draw.normal(0, 0.2, 60)])
    slope, delta = (
        value_of(name, curve).value for name in ("drift_psnr_slope", "drift_psnr_delta")
    )
    assert slope == pytest.approx(-85, abs=2)
    assert slope == pytest.approx(100 * stats.theilslopes(curve).slope)
    assert delta == pytest.approx(-95, abs=0.5)
    sigma_5_to_7 = np.linspace(34.2, 31.3, 120)
    assert slope < value_of("drift_psnr_slope", sigma_5_to_7).value < -2


@given(st.floats(0, 100), st.lists(st.floats(0, 100), max_size=5))
def test_a_mean_never_falls_when_a_frame_becomes_perfect_and_knows_no_order(
    worse: float, others: list[float]
) -> None:
    better = [100.0, *others]
    found = value_of("psnr", better).value
    assert found >= value_of("psnr", [worse, *others]).value - 1e-12
    assert value_of("psnr", better[::-1]).value == pytest.approx(found, rel=1e-12)


def test_the_level_of_failure_is_the_protocols() -> None:
    lower = replace(custom("lasting_psnr"), levels={"lasting_psnr": 10.0})
    columns = {"psnr": np.array([25.0] * 90 + [15.0] * 30)}
    assert clip_value(METRICS["lasting_psnr"], columns, lower).value == 1


OF_CLIPS = [name for name in V2.metrics if METRICS[name].reduction != "set"]


@pytest.mark.parametrize(
    "metric", [name for name in OF_CLIPS if name.startswith(("drift_", "lasting_"))]
)
def test_drift_speaks_of_more_than_100_frames(metric: str) -> None:
    row = METRICS[metric]

    def found(n: int) -> ClipValue:
        return value_of(metric, *[np.linspace(10, 20, n)] * len(row.columns))

    if row.reduction == "difference":  # a lag curve takes every clip that the lag fits into
        assert not found(100).too_short
    else:
        assert found(100).too_short
        assert math.isnan(found(100).value)
    assert not found(101).too_short
    assert math.isfinite(found(101).value)


def test_a_clip_that_equals_the_real_one_throughout_does_not_drift() -> None:
    for metric in ("drift_psnr_slope", "drift_psnr_delta"):
        assert value_of(metric, [100] * 120).value == 0
    assert value_of("lasting_psnr", [100] * 120).value == 1


def test_a_metric_over_all_clips_has_no_value_of_one() -> None:
    row = replace(METRICS["fid"], columns=("psnr",))
    with pytest.raises(ValueError, match="'fid' is no value of one clip: set"):
        clip_value(row, {"psnr": np.zeros(3)}, V2)


def test_a_missing_column_is_a_bug() -> None:
    with pytest.raises(KeyError, match="ssim"):
        clip_value(METRICS["ssim"], {"psnr": np.zeros(3)}, V2)


def test_a_clip_is_as_long_as_it_is_whether_or_not_its_first_frame_counts() -> None:
    row, columns = METRICS["drift_psnr_slope"], {"psnr": np.linspace(30, 20, 100)}
    assert clip_value(row, columns, V2).too_short
    assert not clip_value(row, columns, V2, first_frame=1).too_short


# --- why there is no value ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "curves", "why"),
    [
        ("motion_ratio", [[NAN, 1, 2], [NAN, 0, 0]], "the real clip does not change from frame to"),
        ("motion_ratio", [[NAN], [NAN]], "no two of the frames scored are 1 apart"),
        ("sharpness_ratio", [[1, 2], [0, 0]], "the real frames have no edges"),
        ("drift_sharpness_slope", [[1] * 120, [0] * 120], "the real frames have no edges"),
        ("tje_d5", [[NAN] * 5], "no two of the frames scored are 5 apart"),
        ("drift_lag_100", [[NAN] * 100, [NAN] * 100], "no two of the frames scored are 100 apart"),
        ("face_psnr", [[NAN] * 4], "the real clip shows no face that is large enough"),
        ("hand_ssim", [[NAN] * 4, [NAN] * 4], "the real clip shows no hand that is large enough"),
        (
            "drift_face_psnr_delta",
            [[NAN] * 120],
            "the real clip shows no face that is large enough",
        ),
        (
            "drift_face_psnr_delta",
            [[NAN] * 60 + [30.0] + [NAN] * 59],
            "no frame at its start, or none at its end, has a value",
        ),
        (
            "drift_face_psnr_slope",
            [[NAN] * 60 + [30.0] + [NAN] * 59],
            "fewer than two frames have a value",
        ),
        ("akd_hands", [[0, 0], [0, 0]], "no point of the hands is seen in both clips"),
        ("pck_body", [[0, 0], [0, 0]], "the real clip shows too few points of the body in every"),
        ("missing_face", [[0, 0], [0, 0]], "the real clip shows no point of the face"),
        ("drift_psnr_slope", [[30.0] * 100], "the clip has 100 frames or fewer"),
    ],
)
def test_a_clip_without_a_value_says_why(metric: str, curves: list[list[float]], why: str) -> None:
    found = value_of(metric, *curves)
    assert math.isnan(found.value)
    assert found.blank is not None
    assert found.blank.startswith(why)


def test_a_clip_with_a_value_gives_no_reason() -> None:
    assert value_of("motion_ratio", [NAN, 1], [NAN, 2]).blank is None


SMALL = replace(FVD, name="small", dim=6)
SIDES = ("real", "generated")


DRIFTS = (METRICS["drift_fvd_slope"], METRICS["drift_fvd_delta"])


def clip(name: str, n: int, *, away: float = 0.0) -> ClipFeatures:
    draw = np.random.default_rng(sum(name.encode()))
    real = draw.normal(size=(n, SMALL.dim)).astype(np.float32)
    generated = (draw.normal(size=(n, SMALL.dim)) + away).astype(np.float32)
    return ClipFeatures(clip_id=name, real=real, generated=generated)


def distance_of(clips: Sequence[ClipFeatures]) -> MetricScore:
    return pooled_frechet(METRICS["fvd"], SMALL, clips)


def kid_of(clips: Sequence[ClipFeatures]) -> MetricScore:
    return pooled_kid(METRICS["kid"], clips)


def drift_of(clips: Sequence[ClipFeatures], *, per_window: int = 1) -> tuple[MetricScore, ...]:
    """Slope and delta."""
    found = pooled_drift(DRIFTS, SMALL, clips, rows_per_window=per_window, frames=16)
    return tuple(found[row.id] for row in DRIFTS)


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
    found = distance_of(clips)
    assert found.value == pytest.approx(reference_numpy_distance(clips), rel=1e-9)
    assert found.details == {"n_real": 49, "n_generated": 49}
    assert (found.n_clips, found.n_too_short) == (3, 0)
    assert found.warning is not None
    assert "49" in found.warning


def test_clips_without_a_window_are_left_out_and_counted() -> None:
    clips = [clip("a", 12), clip("b", 0), clip("c", 9)]
    found = distance_of(clips)
    assert found.value == pytest.approx(reference_numpy_distance(clips), rel=1e-9)
    assert (found.n_clips, found.n_too_short) == (2, 1)


@pytest.mark.parametrize("clips", [[], [clip("a", 0), clip("b", 0)]])
@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        (distance_of, "no clip has the 16 frames of a window"),
        (kid_of, "the clips have fewer than two frames in all"),
    ],
)
def test_no_vectors_at_all_are_a_blank_with_a_reason(
    pool: Pool, reason: str, clips: list[ClipFeatures]
) -> None:
    found = pool(clips)
    assert math.isnan(found.value)
    assert (found.reason, found.warning) == (reason, None)
    assert found.n_too_short == len(clips)
    assert found.details == {"n_real": 0, "n_generated": 0}


def test_kid_is_that_of_all_vectors_in_one_array() -> None:
    clips = [clip("a", 12), clip("b", 30, away=1), clip("c", 7)]
    found = kid_of(clips)
    whole = (np.concatenate([getattr(clip, side) for clip in clips]) for side in SIDES)
    assert found.value == pytest.approx(kid(*whole).value, rel=1e-9)
    assert (found.details["n_real"], found.details["n_generated"], found.n_clips) == (49, 49, 3)


@pytest.mark.parametrize("pool", [distance_of, kid_of])
def test_the_order_of_clips_makes_no_difference(pool: Pool) -> None:
    clips = [clip("a", 12), clip("b", 30, away=1), clip("c", 7)]
    assert pool(clips).value == pytest.approx(pool(clips[::-1]).value, rel=1e-9)


def test_drift_is_the_slope_of_the_distances_of_windows() -> None:
    """One vector per window of 16 frames, as I3D gives them; later ones are further away."""
    clips = [clip(name, 8) for name in "abcdefgh"]
    for one in clips:
        one.generated[:] += np.arange(8, dtype=np.float32)[:, None]
    slope, delta = drift_of(clips)
    curve = [reference_numpy_distance(clips, slice(k, k + 1)) for k in range(8)]
    assert slope.details["windows"] == pytest.approx(curve, rel=1e-6)
    slopes = [(curve[j] - curve[i]) / (j - i) for i in range(8) for j in range(i + 1, 8)]
    assert slope.value == pytest.approx(100 / 16 * float(np.median(slopes)), rel=1e-9)
    assert delta.value == pytest.approx(curve[7] - curve[0], rel=1e-6)
    assert all(after > before for before, after in pairwise(curve))
    assert (slope.n_clips, slope.details["n_real"]) == (8, 8)


def test_a_window_of_frames_takes_their_vectors_together() -> None:
    clips = [clip(name, 120) for name in "ab"]
    slope, _ = drift_of(clips, per_window=16)
    curve = [reference_numpy_distance(clips, slice(16 * k, 16 * k + 16)) for k in range(7)]
    assert slope.details["windows"] == pytest.approx(curve, rel=1e-6)
    assert slope.details["n_real"] == 32


def test_windows_that_too_few_clips_reach_are_left_out_and_told() -> None:
    """Of three clips, two are less than four in five."""
    clips = [clip("a", 9), clip("b", 7), clip("c", 12)]
    slope, _ = drift_of(clips)
    assert slope.details["windows"] == pytest.approx(
        [reference_numpy_distance(clips, slice(k, k + 1)) for k in range(7)], rel=1e-6
    )
    assert (slope.n_clips, slope.n_too_short) == (3, 0)
    assert slope.warning is not None
    assert slope.warning.startswith(
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
    slope, delta = drift_of([*long, drifting("short", 7)])
    slope_without, delta_without = drift_of(long)

    assert slope.value == slope_without.value > 100
    assert delta.value == delta_without.value
    assert slope.details["n_windows"] == 60
    assert slope.details["clips_per_window"] == [29] * 60
    assert (slope.n_clips, slope.n_too_short) == (29, 1)
    assert slope.warning is not None
    told = "1 of 30 clips of more than 100 frames end before window 60 and are left out"
    assert slope.warning.startswith(told)
    assert slope_without.warning is not None
    assert "left out" not in slope_without.warning


def test_all_windows_are_of_the_same_clips_also_where_lengths_differ_all_over() -> None:
    clips = [drifting(f"clip {n}", n) for n in range(11, 31)]
    slope, _ = drift_of(clips)
    # 16 of 20 clips have 15 windows or more.
    assert slope.details["n_windows"] == 15
    reaching = [one for one in clips if len(one.generated) >= 15]
    assert slope.details["windows"] == pytest.approx(
        [reference_numpy_distance(reaching, slice(k, k + 1)) for k in range(15)], rel=1e-6
    )
    assert (slope.n_clips, slope.n_too_short) == (16, 4)


def test_a_clip_whose_windows_end_within_100_frames_blanks_no_drift() -> None:
    """Six windows are 96 frames: no drift can be read off them, nor may they cut the others."""
    long = [clip("a", 9), clip("b", 8)]
    slope, _ = drift_of([*long, clip("c", 6)])
    assert slope.value == drift_of(long)[0].value
    assert math.isfinite(slope.value)
    assert (slope.n_clips, slope.n_too_short) == (2, 1)


def test_drift_of_short_clips_is_a_blank_with_a_reason() -> None:
    for score in drift_of([clip("a", 6)]):
        assert math.isnan(score.value)
        assert score.reason == (
            "no clip has more than 100 frames in whole windows of 16: it takes 112 frames"
        )
        assert score.n_too_short == 1
