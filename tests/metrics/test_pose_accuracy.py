from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.metrics.pose import PartSums, pose_statistics, seen_points, shoulder_width_px
from tpbench.wholebody import (
    FACE,
    FEET,
    LEFT_HAND,
    LEFT_SHOULDER,
    NOSE,
    NUM_KEYPOINTS,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)

SIZE_PX = 1024
NOTHING = PartSums()


def person() -> tuple[np.ndarray, np.ndarray]:
    """Somebody of whom everything is seen.

    Shoulders are 200 px apart; the box of the body is 200 x 400, of a hand 50 x 40, of the face
    100 x 80: a point may be off by 40, 10 and 5 px.
    """
    keypoints = np.full((NUM_KEYPOINTS, 2), 500.0, np.float32)
    keypoints[:13] = np.linspace((400, 200), (600, 600), 13)
    keypoints[LEFT_SHOULDER], keypoints[RIGHT_SHOULDER] = (600, 300), (400, 300)
    keypoints[FACE] = np.linspace((450, 150), (550, 230), 68)
    keypoints[LEFT_HAND] = np.linspace((620, 500), (670, 540), 21)
    keypoints[RIGHT_HAND] = np.linspace((320, 500), (370, 540), 21)
    return keypoints, np.full(NUM_KEYPOINTS, 0.9, np.float32)


def nobody() -> tuple[np.ndarray, np.ndarray]:
    return np.full((NUM_KEYPOINTS, 2), np.nan, np.float32), np.zeros(NUM_KEYPOINTS, np.float32)


def compare(
    real: tuple[np.ndarray, np.ndarray],
    generated: tuple[np.ndarray, np.ndarray],
    *,
    size_px: int = SIZE_PX,
) -> dict[str, PartSums]:
    return pose_statistics(*real, *generated, width_px=size_px, height_px=size_px)


class PartAccuracy(NamedTuple):
    """What a clip's value is made of the sums, ratio by ratio."""

    akd_px: float
    akd_sw: float
    pck: float
    missing_rate: float


def compute_part(part: PartSums) -> PartAccuracy:
    sums: list[tuple[float, float]] = [
        (part.error_px, part.found),
        (part.error_sw, part.found_sw),
        (part.correct, part.expected),
        (part.missing, part.expected),
    ]
    return PartAccuracy(*(total / count if count else math.nan for total, count in sums))


def test_identical_poses_are_perfect() -> None:
    statistics = compare(person(), person())
    assert [part.expected for part in statistics.values()] == [13, 42, 68]
    for part in statistics.values():
        assert compute_part(part) == PartAccuracy(akd_px=0, akd_sw=0, pck=1, missing_rate=0)


def test_hand_worked_errors() -> None:
    keypoints, scores = person()
    keypoints[NOSE] += (30, 40)  # 50 px: more than 0.1 * 400
    keypoints[RIGHT_WRIST] += (24, -32)  # 40 px: just enough
    keypoints[FACE.start] += (3, 4)  # 5 px: just enough
    keypoints[FACE.start + 1] += (0, 6)
    keypoints[RIGHT_HAND] += (-6, 8)  # 10 px: just enough
    keypoints[LEFT_HAND] += (0, 20)

    statistics = compare(person(), (keypoints, scores))

    assert statistics["body"] == PartSums(
        error_px=90, found=13, error_sw=0.45, found_sw=13, correct=12, expected=13, missing=0
    )
    assert statistics["hands"] == PartSums(
        error_px=630, found=42, error_sw=2.1 + 1.05, found_sw=42, correct=21, expected=42, missing=0
    )
    assert statistics["face"] == PartSums(
        error_px=11, found=68, error_sw=0.055, found_sw=68, correct=67, expected=68, missing=0
    )
    hands = compute_part(statistics["hands"])
    assert (hands.akd_px, hands.pck, hands.missing_rate) == (15, 0.5, 0)
    assert hands.akd_sw == pytest.approx(0.075, rel=1e-12)


def test_nobody_found_is_all_missing() -> None:
    for part in compare(person(), nobody()).values():
        accuracy = compute_part(part)
        assert part.missing == part.expected > 0
        assert math.isnan(accuracy.akd_px)
        assert math.isnan(accuracy.akd_sw)
        assert (accuracy.pck, accuracy.missing_rate) == (0, 1)


def test_where_the_real_frame_shows_nobody_nothing_is_expected() -> None:
    for part in compare(nobody(), person()).values():
        accuracy = compute_part(part)
        assert part == NOTHING
        assert all(math.isnan(value) for value in accuracy)


@pytest.mark.parametrize("score", [0.3, 0.0, np.nan])
def test_a_doubtful_point_is_not_found(score: float) -> None:
    keypoints, scores = person()
    scores[NOSE] = score
    assert compare(person(), (keypoints, scores))["body"].missing == 1
    assert compare((keypoints, scores), person())["body"].expected == 12


@pytest.mark.parametrize("place", [(np.nan, 300), (300, np.inf), (-0.6, 300), (300, 1023.6)])
def test_a_point_without_a_place_in_the_picture_is_not_found(place: tuple[float, float]) -> None:
    keypoints, scores = person()
    keypoints[NOSE] = place
    statistics = compare(person(), (keypoints, scores))
    assert (statistics["body"].missing, statistics["body"].found, statistics["body"].correct) == (
        1,
        12,
        12,
    )
    assert statistics["body"].error_px == 0
    assert compare((keypoints, scores), person())["body"].expected == 12


def test_a_point_on_the_outermost_pixels_is_seen() -> None:
    keypoints, scores = person()
    keypoints[:2] = (-0.5, -0.5), (1023.5, 1023.5)
    keypoints[2:4] = (99.5, 49.5), (49.5, 99.5)
    assert seen_points(keypoints, scores, SIZE_PX, SIZE_PX)[:2].all()
    assert seen_points(keypoints, scores, 100, 50)[2:4].tolist() == [True, False]


def test_points_that_only_the_generated_frame_shows_count_for_nothing() -> None:
    keypoints, scores = person()
    for extra in (NOSE, FACE.start, LEFT_HAND.start):
        scores[extra] = 0
    assert compare((keypoints, scores), person()) == compare(
        (keypoints, scores), (keypoints, scores)
    )


def test_legs_and_feet_are_not_looked_at() -> None:
    keypoints, scores = person()
    keypoints[13:17], keypoints[FEET] = 0, np.nan
    assert compare(person(), (keypoints, scores)) == compare(person(), person())


@pytest.mark.parametrize(("part", "needed"), [("body", 5), ("hands", 11), ("face", 34)])
def test_what_the_real_frame_hardly_shows_is_not_expected(part: str, needed: int) -> None:
    points = {"body": slice(0, 13), "hands": LEFT_HAND, "face": FACE}[part]
    keypoints, scores = nobody()
    shown = slice(points.start, points.start + needed)
    keypoints[shown], scores[shown] = person()[0][shown], 0.9
    assert compare((keypoints, scores), person())[part].expected == needed
    scores[points.start] = 0
    assert compare((keypoints, scores), person())[part] == NOTHING


@pytest.mark.parametrize("case", ["one hidden", "one outside", "one behind the other"])
def test_without_a_shoulder_width_only_the_errors_in_it_are_left_out(case: str) -> None:
    keypoints, scores = person()
    if case == "one hidden":
        scores[LEFT_SHOULDER] = 0.1
    elif case == "one outside":
        keypoints[LEFT_SHOULDER] = (1100, 300)
    else:
        keypoints[LEFT_SHOULDER] = (408, 300)
    moved = keypoints + np.array([2, 0], np.float32)

    statistics = compare((keypoints, scores), (moved, scores))

    for part in statistics.values():
        accuracy = compute_part(part)
        assert (part.error_sw, part.found_sw) == (0, 0)
        assert part.found > 0
        assert accuracy.akd_px == 2
        assert math.isnan(accuracy.akd_sw)
        assert accuracy.pck == 1


def test_the_real_shoulders_give_the_unit() -> None:
    keypoints, scores = person()
    keypoints[LEFT_SHOULDER] = (700, 300)
    statistics = compare(person(), (keypoints, scores))
    assert statistics["body"].error_px == 100
    assert statistics["body"].error_sw == 0.5
    scores[LEFT_SHOULDER] = 0
    assert compare(person(), (keypoints, scores))["face"].found_sw == 68


def test_shoulder_width() -> None:
    keypoints, scores = person()

    def width() -> float | None:
        return shoulder_width_px(keypoints, seen_points(keypoints, scores, SIZE_PX, SIZE_PX))

    keypoints[LEFT_SHOULDER] = (460, 380)
    assert width() == 100
    keypoints[LEFT_SHOULDER] = (408.5, 300)
    assert width() == 8.5
    keypoints[LEFT_SHOULDER] = (408, 300)
    assert width() is None


def test_another_shape_is_refused_with_what_came() -> None:
    keypoints, scores = person()
    with pytest.raises(ValueError, match=r"\(17, 2\) and \(133,\)"):
        compare((keypoints[:17], scores), person())
    with pytest.raises(ValueError, match=r"\(133, 2\) and \(1, 133\)"):
        compare(person(), (keypoints, scores[None]))


SEEDS = st.integers(0, 2**32 - 1)


def random_pose(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A pose near `person`'s, some points lost; in quarters of a px: float32 moves it exactly."""
    rng = np.random.default_rng(seed)
    keypoints, _ = person()
    noise = rng.normal(scale=rng.choice([1, 5, 30]), size=keypoints.shape).clip(-100, 100)
    scores = rng.choice(np.array([0.9, 0.31, 0.1], np.float32), NUM_KEYPOINTS, p=[0.7, 0.2, 0.1])
    return (np.round((keypoints + noise) * 4) / 4).astype(np.float32), scores


@given(SEEDS, SEEDS, st.integers(-45, 45), st.integers(-45, 45))
def test_moving_both_changes_nothing(real: int, generated: int, dx: int, dy: int) -> None:
    pair = [random_pose(real), random_pose(generated)]
    step = np.array([dx, dy], np.float32)
    moved = [(keypoints + step, scores) for keypoints, scores in pair]
    assert compare(moved[0], moved[1]) == compare(pair[0], pair[1])


@given(SEEDS, SEEDS, st.sampled_from([0.5, 2.0, 4.0]))
def test_scaling_both_scales_pixels_only(real: int, generated: int, scale: float) -> None:
    pair = [random_pose(real), random_pose(generated)]
    scaled = [(keypoints * np.float32(scale), scores) for keypoints, scores in pair]
    statistics = compare(pair[0], pair[1])
    after_scaling = compare(scaled[0], scaled[1], size_px=8192)
    for name, part in statistics.items():
        other = after_scaling[name]
        before, after = compute_part(part), compute_part(other)
        assert after.akd_px == pytest.approx(scale * before.akd_px, rel=1e-12, nan_ok=True)
        assert after.akd_sw == pytest.approx(before.akd_sw, rel=1e-12, nan_ok=True)
        assert (after.pck, after.missing_rate) == (before.pck, before.missing_rate)


@given(SEEDS, SEEDS, SEEDS)
def test_losing_points_never_raises_pck(real: int, generated: int, lost: int) -> None:
    pose, (keypoints, scores) = random_pose(real), random_pose(generated)
    kept = np.random.default_rng(lost).random(NUM_KEYPOINTS) < 0.8
    before = compare(pose, (keypoints, scores))
    after = compare(pose, (keypoints, np.where(kept, scores, 0)))
    for part, less in zip(before.values(), after.values(), strict=True):
        assert less.expected == part.expected > 0
        assert compute_part(less).pck <= compute_part(part).pck
        assert compute_part(less).missing_rate >= compute_part(part).missing_rate


@given(SEEDS, SEEDS)
def test_equals_a_plain_reference(real: int, generated: int) -> None:
    pose, other = random_pose(real), random_pose(generated)
    statistics = compare(pose, other)
    expected = {
        "body": reference_plain_part(pose, other, [(range(13), 0.1)]),
        "hands": reference_plain_part(pose, other, [(range(91, 112), 0.2), (range(112, 133), 0.2)]),
        "face": reference_plain_part(pose, other, [(range(23, 91), 0.05)]),
    }
    for name, values in expected.items():
        accuracy = compute_part(statistics[name])
        assert accuracy.akd_px == pytest.approx(values[0], rel=1e-12)
        assert accuracy.pck == pytest.approx(values[1], rel=1e-12)
        assert accuracy.missing_rate == pytest.approx(values[2], rel=1e-12)


def reference_plain_part(
    real: tuple[np.ndarray, np.ndarray],
    generated: tuple[np.ndarray, np.ndarray],
    runs: list[tuple[range, float]],
) -> tuple[float, float, float]:
    """AKD in px, PCK and missing rate, point by point."""
    errors, correct, expected = [], 0, 0
    for run, alpha in runs:
        shown = [index for index in run if real[1][index] > 0.3]
        sides = [[float(real[0][index][axis]) for index in shown] for axis in (0, 1)]
        side = max(max(values) - min(values) for values in sides)
        expected += len(shown)
        for index in shown:
            if generated[1][index] > 0.3:
                dx, dy = (float(generated[0][index][a]) - float(real[0][index][a]) for a in (0, 1))
                errors.append(math.sqrt(dx * dx + dy * dy))
                correct += errors[-1] <= alpha * side
    return sum(errors) / len(errors), correct / expected, 1 - len(errors) / expected
