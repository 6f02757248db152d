from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.metrics.scoring.stand_ins import POSE_PX, PaintedPeople, paint_person
from tpbench.detectors.base import DetectorSuite
from tpbench.metrics.i3d import WindowStream
from tpbench.metrics.scoring.tools import (
    RealSkeletons,
    SkeletonFinder,
    feature_file,
    n_windows,
    read_features,
)
from tpbench.video import Frame

N, DIM = 6, 5


def vectors(n: int = N) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(n, DIM)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "features.npy"


def write(path: Path, *, pieces: int = 3) -> Path:
    with feature_file(path, n=N, dim=DIM) as append:
        for piece in np.array_split(vectors(), pieces):
            append(piece)
    return path


def test_what_was_written_is_read(path: Path) -> None:
    found = read_features(write(path), n=N, dim=DIM)
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vectors())
    np.testing.assert_array_equal(np.load(path), vectors())
    assert list(path.parent.iterdir()) == [path]


def test_pieces_make_no_difference(path: Path) -> None:
    whole = write(path, pieces=1).read_bytes()
    assert write(path, pieces=6).read_bytes() == whole


def test_no_vectors_make_a_file_too(path: Path) -> None:
    with feature_file(path, n=0, dim=DIM) as append:
        append(np.empty((0, DIM), np.float32))
    found = read_features(path, n=0, dim=DIM)
    assert found is not None
    assert found.shape == (0, DIM)


def test_a_file_of_another_size_is_none(path: Path) -> None:
    write(path)
    assert read_features(path, n=N + 1, dim=DIM) is None
    assert read_features(path, n=N, dim=DIM - 1) is None
    assert read_features(path.with_name("absent.npy"), n=N, dim=DIM) is None


def test_a_damaged_file_is_none_whichever_byte_it_is(path: Path) -> None:
    good = write(path).read_bytes()
    for at in range(len(good)):
        damaged = bytearray(good)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        assert read_features(path, n=N, dim=DIM) is None, at
    for length in range(0, len(good), 5):
        path.write_bytes(good[:length])
        assert read_features(path, n=N, dim=DIM) is None, length
    path.write_bytes(good + b"\0")
    assert read_features(path, n=N, dim=DIM) is None


def test_features_without_a_checksum_are_none(path: Path) -> None:
    path.parent.mkdir()
    np.save(path, vectors())
    assert read_features(path, n=N, dim=DIM) is None


@pytest.mark.parametrize(
    ("n", "dim", "complaint"),
    [
        (N - 1, DIM, f"{N - 1} vectors came, not {N}"),
        (N + 1, DIM, f"{N + 1} vectors came, not {N}"),
        (N, DIM + 1, r"want \(k, 6\), got \(6, 5\)"),
    ],
)
def test_what_is_not_as_announced_leaves_the_old_file_and_nothing_else(
    n: int, dim: int, complaint: str, path: Path
) -> None:
    before = write(path).read_bytes()
    with pytest.raises(ValueError, match=complaint), feature_file(path, n=N, dim=dim) as append:
        append(vectors(n))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("stride", [1, 5, 16])
@pytest.mark.parametrize("n_frames", [0, 15, 16, 17, 31, 32, 33, 64])
def test_windows_are_counted_as_the_stream_makes_them(n_frames: int, stride: int) -> None:
    stream = WindowStream(stride=stride)
    made = [stream.push(np.zeros((2, 2, 3), np.uint8)) for _ in range(n_frames)]
    assert n_windows(n_frames, stride=stride) == sum(window is not None for window in made)


# --- skeletons --------------------------------------------------------------------------------


@pytest.fixture
def images() -> list[NDArray[np.uint8]]:
    """Five frames; nobody is in frame 2."""
    blank = np.zeros((80, 96, 3), np.uint8)
    frames = [blank.copy() for _ in range(5)]
    for at, frame in enumerate(frames):
        if at != 2:
            paint_person(frame, 40 + at, 30)
    return frames


def suite(looks: Counter[str] | None = None) -> DetectorSuite:
    return cast("DetectorSuite", PaintedPeople(looks))


def test_whoever_is_found_first_is_taken_and_nobody_is_nan(
    images: list[NDArray[np.uint8]],
) -> None:
    found = SkeletonFinder(suite(), Fraction(25)).find(images)
    assert found.keypoints.shape == (5, 133, 2)
    for at in (0, 1, 3, 4):
        np.testing.assert_array_equal(
            found.keypoints[at], POSE_PX + np.array([40 + at, 30], np.float32)
        )
        assert found.scores[at].max() > 0
    assert np.isnan(found.keypoints[2]).all()
    assert (found.scores[2] == 0).all()


def test_frames_are_numbered_through_in_time(images: list[NDArray[np.uint8]]) -> None:
    seen: list[tuple[int, float]] = []

    class Watching(PaintedPeople):
        def detect(self, frames: Sequence[Frame]) -> list:  # type: ignore[type-arg]  # as above it
            seen.extend((frame.index, frame.time_s) for frame in frames)
            return super().detect(frames)

    finder = SkeletonFinder(cast("DetectorSuite", Watching()), Fraction(50))
    finder.find(images[:2])
    finder.find(images[2:])

    assert seen == [(at, at / 50) for at in range(5)]


def test_a_finder_forgets_the_clip_before() -> None:
    looks: Counter[str] = Counter()
    SkeletonFinder(suite(looks), Fraction(25))
    assert looks == {"real resets": 1}


def follow(
    path: Path, images: list[NDArray[np.uint8]], looks: Counter[str], *, n_frames: int = 5
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    people = suite(looks)
    real = RealSkeletons(
        path, SkeletonFinder(people, Fraction(25)), n_frames=n_frames, size_px=(96, 80)
    )
    chunks = [real.next(images[:3]), real.next(images[3:])]
    real.keep(people)
    return (
        np.concatenate([chunk.keypoints for chunk in chunks]),
        np.concatenate([chunk.scores for chunk in chunks]),
    )


def test_what_was_found_once_is_read_again_digit_by_digit(
    images: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    path, looks = tmp_path / "deep" / "kept.npz", Counter[str]()
    first = follow(path, images, looks)
    stamp = path.stat()
    second = follow(path, images, looks)
    assert looks["real frames"] == 5, "looked at once"
    for ours, theirs in zip(second, first, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == np.float32
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (stamp.st_mtime_ns, stamp.st_ino)


@pytest.mark.parametrize("damage", ["flipped", "cut", "other length"])
def test_what_is_not_whole_is_found_again(
    damage: str, images: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    path, looks = tmp_path / "kept.npz", Counter[str]()
    first = follow(path, images, looks)
    good = path.read_bytes()
    if damage == "flipped":
        path.write_bytes(good[:200] + bytes([good[200] ^ 0x55]) + good[201:])
    elif damage == "cut":
        path.write_bytes(good[: len(good) // 2])
    else:
        follow(path, images[:4], looks, n_frames=4)

    second = follow(path, images, looks)

    assert looks["real frames"] == (14 if damage == "other length" else 10)
    np.testing.assert_array_equal(second[0], first[0])
    assert path.read_bytes() == good


def test_a_clip_that_ended_early_leaves_nothing(
    images: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    people = suite()
    real = RealSkeletons(
        tmp_path / "kept.npz",
        SkeletonFinder(people, Fraction(25)),
        n_frames=5,
        size_px=(96, 80),
    )
    real.next(images)
    assert list(tmp_path.iterdir()) == []
