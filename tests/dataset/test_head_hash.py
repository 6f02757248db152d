from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.dataset.heads import picture
from tpbench.dataset import head_hash as module
from tpbench.dataset.head_hash import (
    N_BITS,
    Hashes,
    bits_apart,
    distances,
    head_hash,
    head_squares,
    mirrored,
)
from tpbench.wholebody import FACE, NUM_KEYPOINTS, WholeBodyPose

words = st.lists(
    st.tuples(*[st.integers(min_value=0, max_value=2**64 - 1)] * 2), min_size=1, max_size=5
).map(lambda rows: np.array(rows, dtype=np.uint64))


def pose_of(*faces: NDArray[np.float64], score: float = 1.0) -> WholeBodyPose:
    """One frame for each 68 face points, and nothing else."""
    keypoints = np.full((len(faces), NUM_KEYPOINTS, 2), np.nan, np.float32)
    keypoints[:, FACE] = np.reshape(faces, (-1, 68, 2))
    return WholeBodyPose(
        keypoints=keypoints,
        scores=np.isfinite(keypoints[..., 0]).astype(np.float32) * np.float32(score),
        width_px=160,
        height_px=160,
        source="mediapipe",
        model_digest="0" * 64,
    )


def square_of(points: NDArray[np.float64], *, score: float = 1.0) -> NDArray[np.float64]:
    (square,) = head_squares(pose_of(points, score=score), 25.0)
    return square  # type: ignore[no-any-return]


def spread_of(points: NDArray[np.float64]) -> float:
    return float(np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean()))


def hash_of(image: NDArray[np.uint8], points: NDArray[np.float64]) -> Hashes:
    made = head_hash(image, square_of(points))
    assert made is not None
    return made[None]


def apart(one: Hashes, other: Hashes) -> int:
    return int(distances(one, other)[0, 0])


def test_the_square_follows_the_face_wherever_it_is() -> None:
    _, points = picture(1, 0.0)
    x, y, side = square_of(points)
    assert square_of(2 * points + [5, -3]) == pytest.approx(
        [2 * x + 5, 2 * y - 3, 2 * side], rel=1e-4
    )
    assert side == pytest.approx(5.2 * spread_of(points), rel=1e-4)
    assert [x, y] == pytest.approx(points.mean(axis=0), rel=1e-4)


def test_one_wrong_size_changes_no_square() -> None:
    _, points = picture(1, 0.0)
    wrong = points + (points - points.mean(axis=0))
    sides = head_squares(pose_of(*[points] * 10, wrong, *[points] * 10), 25.0)[:, 2]
    assert np.ptp(sides) == pytest.approx(0, abs=1e-4)


def test_sides_follow_a_lasting_change_of_size() -> None:
    _, points = picture(1, 0.0)
    near = 2 * points
    sides = head_squares(pose_of(*[points] * 30, *[near] * 30), 10.0)[:, 2]
    assert sides[0] == pytest.approx(5.2 * spread_of(points), rel=1e-4)
    assert sides[-1] == pytest.approx(2 * sides[0], rel=1e-4)


def test_unseen_doubtful_and_tiny_faces_have_no_square() -> None:
    _, points = picture(1, 0.0)
    half = points.copy()
    half[:35] = np.nan
    assert np.isnan(square_of(half)).all()
    assert np.isnan(square_of(points, score=0.2)).all()
    assert np.isnan(square_of(points / 40)).all()
    squares = head_squares(pose_of(points, half, points), 25.0)
    assert np.isfinite(squares).all(axis=1).tolist() == [True, False, True]


def test_a_clip_without_frames_has_no_squares() -> None:
    assert head_squares(pose_of(), 25.0).shape == (0, 3)


@pytest.mark.parametrize("square", [(-1, 50, 60), (50, 160, 60), (50, 50, 1000), (np.nan,) * 3])
def test_a_square_outside_the_picture_has_no_hash(square: tuple[float, float, float]) -> None:
    assert head_hash(picture(1, 0.0)[0], np.array(square)) is None


def test_a_square_beyond_the_edge_is_hashed_with_the_edge_continued() -> None:
    image, _ = picture(1, 0.0)
    wide = cv2.copyMakeBorder(image, 30, 30, 30, 30, cv2.BORDER_REPLICATE)
    cut = head_hash(image, np.array([10.0, 150.0, 60.0]))
    whole = head_hash(np.asarray(wide, np.uint8), np.array([40.0, 180.0, 60.0]))
    assert cut is not None
    assert whole is not None
    assert cut.tolist() == whole.tolist()


@pytest.mark.parametrize("talk", range(4))
def test_the_mirrored_hash_is_that_of_the_mirrored_picture(talk: int) -> None:
    image, points = picture(talk, 0.3)
    in_mirror = np.ascontiguousarray(image[:, ::-1])
    found = hash_of(in_mirror, points * [-1, 1] + [image.shape[1] - 1, 0])
    assert apart(mirrored(hash_of(image, points)), found) <= 2
    assert apart(hash_of(image, points), found) > 30


def test_brightness_and_contrast_change_few_bits() -> None:
    image, points = picture(2, 1.0)
    dim = np.asarray(image * 0.5 + 20, np.uint8)
    assert apart(hash_of(image, points), hash_of(dim, points)) <= 4


def test_hashes_of_people_differ_by_about_half_of_the_bits() -> None:
    hashes = np.concatenate([hash_of(*picture(talk, 0.0)) for talk in range(12)])
    others = distances(hashes, hashes)[np.triu_indices(12, 1)]
    assert 0.35 * N_BITS < others.mean() < 0.6 * N_BITS


@given(one=words, other=words)
def test_distances_count_bits_that_differ(one: Hashes, other: Hashes) -> None:
    counted = [[sum((int(a) ^ int(b)).bit_count() for a, b in zip(x, y, strict=True))
                for y in other] for x in one]  # fmt: skip
    assert distances(one, other).tolist() == counted
    assert bits_apart(one[:, None], other[None]).tolist() == counted


@given(hashes=words)
def test_the_table_counts_as_numpy_does(hashes: Hashes) -> None:
    counted = [[int(word).bit_count() for word in row] for row in hashes]
    assert module._bit_counts_by_table(hashes).tolist() == counted
    assert module._bit_counts(hashes).tolist() == counted


@given(hashes=words, other=words)
def test_mirroring_twice_changes_nothing_and_mirroring_both_keeps_distances(
    hashes: Hashes, other: Hashes
) -> None:
    assert (mirrored(mirrored(hashes)) == hashes).all()
    assert (distances(mirrored(hashes), mirrored(other)) == distances(hashes, other)).all()
