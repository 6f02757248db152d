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
from tpbench.detectors.suite import DetectorSuite
from tpbench.metrics.scoring.features import RealSkeletons
from tpbench.metrics.scoring.tools import SkeletonFinder
from tpbench.video import Frame


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
