"""Marks of frames: the same pictures are recognised however they are encoded, others are not."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.films import encode_again, film, write_film
from tpbench.dataset.likeness import (
    SAME_LIMIT,
    Comparison,
    Marks,
    distance_of,
    grid_of,
    grids_of,
    sampled_frames,
)

GRIDS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5)


def noise(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(0, 255, (16, 16)).astype(np.float32)


def marks_of(seed: int, *, first: int = 0) -> Marks:
    return Marks.of(grid_of(image) for image in film(seed)[first : first + 49 : 12])


def distance(marks: Marks, seed: int, *, first: int = 0) -> float:
    comparison = Comparison(marks)
    for image in film(seed)[first : first + 49 : 12]:
        comparison.add(grid_of(image))
    return comparison.distance


@given(GRIDS)
def test_marks_survive_their_bytes(seeds: list[int]) -> None:
    marks = Marks.of(map(noise, seeds))
    again = Marks.from_bytes(marks.to_bytes())
    assert len(again) == len(seeds)
    np.testing.assert_array_equal(again.shape, marks.shape)
    np.testing.assert_array_equal(again.motion, marks.motion)
    assert len(marks.to_bytes()) == 184 * len(seeds)


@given(GRIDS)
def test_the_same_pictures_have_no_distance(seeds: list[int]) -> None:
    marks, comparison = Marks.of(map(noise, seeds)), Comparison(Marks.of(map(noise, seeds)))
    for seed in seeds:
        comparison.add(noise(seed))
    assert comparison.distance == (0 if marks.shape.any() else 1)


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 183, b"x" * 185])
def test_bytes_of_another_length_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no marks"):
        Marks.from_bytes(data)


@given(st.integers(1, 100_000), st.fractions(1, 120))
def test_a_clip_of_any_length_has_few_samples(n_frames: int, fps: Fraction) -> None:
    samples = sampled_frames(n_frames, fps)
    assert 1 <= len(samples) <= 64
    assert samples[0] == 0
    assert samples[-1] < n_frames


def test_missing_frames_and_empty_pictures_are_not_the_same() -> None:
    marks = marks_of(0)
    assert Comparison(marks).distance == 1
    blank = Marks.of([np.full((16, 16), 50, np.float32)])
    comparison = Comparison(blank)
    comparison.add(np.full((16, 16), 50, np.float32))
    assert comparison.distance == 1


@pytest.mark.parametrize(("gain", "offset"), [(1, 20), (0.86, 16), (1.16, -18)])
def test_another_brightness_or_range_is_still_the_same(gain: float, offset: float) -> None:
    marks = marks_of(0)
    comparison = Comparison(marks)
    for image in film(0)[:49:12]:
        changed = np.clip(image * gain + offset, 0, 255).astype(np.uint8)
        comparison.add(grid_of(changed))
    assert comparison.distance < SAME_LIMIT


def test_other_pictures_are_far() -> None:
    assert all(distance(marks_of(a), b) > 0.4 for a, b in combinations(range(8), 2))


@pytest.mark.parametrize("later", [6, 12, 24])
def test_another_moment_of_the_same_film_is_far(later: int) -> None:
    assert distance(marks_of(0), 0, first=later) > 1.5 * SAME_LIMIT


@pytest.mark.parametrize("crf", [23, 40])
def test_a_video_encoded_again_is_near(tmp_path: Path, crf: int) -> None:
    source = write_film(tmp_path / "a.mp4", 3)
    marks = Marks.of(grids_of(source))
    copy = encode_again(source, tmp_path / "copy.mp4", crf=crf, size_px=(160, 120))
    assert distance_of(source, marks) == 0
    assert distance_of(copy, marks) < SAME_LIMIT / 2
