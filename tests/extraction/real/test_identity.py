"""Cuts, dissolves and second people: no clip may show two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import tpbench
from tests.extraction.real.conftest import FPS
from tpbench.dataset import Clip, Dataset
from tpbench.extraction.config import load_preset
from tpbench.video import read_frames

pytestmark = pytest.mark.shared

TALK = 70
"""Frames of a talk on either side of a change."""
MIN_S = 1.5
"""Clips may be shorter than the preset's, so that so little of a talk is kept."""

BIKES_CUTS = (30, 76, 137, 187, 242, 250)
FADES = (6, 46, 184)


@pytest.fixture(scope="module")
def mixed(
    frames_of: Callable[[str, int, int], list[NDArray[np.uint8]]],
    bikes: Path,
    write_video: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Dataset:
    """Videos in which one talk turns into the other in every way, extracted in one run."""
    folder = tmp_path_factory.mktemp("mixed")
    longest = TALK + max(FADES)
    first, second = frames_of("vid1", 300, 300 + longest), frames_of("vid3", 0, longest)

    def spliced() -> Iterator[NDArray[np.uint8]]:
        yield from first[:TALK]
        for frame in read_frames(bikes):
            yield np.asarray(cv2.resize(frame.image, (512, 512)), dtype=np.uint8)
        yield from second[:TALK]

    def faded(length: int) -> Iterator[NDArray[np.uint8]]:
        yield from first[:TALK]
        for step in range(length):
            share = (step + 1) / (length + 1)
            a, b = first[TALK + step], second[step]
            yield np.asarray(cv2.addWeighted(a, 1 - share, b, share, 0), dtype=np.uint8)
        yield from second[length : length + TALK]

    write_video(folder / "spliced.mkv", spliced())
    beside = (np.hstack(pair) for pair in zip(first[:TALK], second[:TALK], strict=True))
    write_video(folder / "beside.mkv", beside)
    for length in FADES:
        write_video(folder / f"faded{length}.mkv", faded(length))
    preset = load_preset("talkingpose")
    clip = preset.clip.model_copy(update={"min_s": MIN_S})
    filters = preset.filters | {"clip.too_short": MIN_S * FPS}
    settings = preset.model_copy(update={"clip": clip, "filters": filters})
    return tpbench.extract([folder], folder / "out", preset=settings, skeleton="mediapipe")


def kept(rows: list[Clip]) -> list[tuple[int, int]]:
    return [(clip.start_frame or 0, clip.end_frame or 0) for clip in rows if clip.status == "kept"]


def test_a_spliced_video_is_cut_at_the_true_cuts(
    mixed: Dataset, rows_by_source: Callable[[Dataset], dict[str, list[Clip]]]
) -> None:
    rows = rows_by_source(mixed)["spliced"]
    edges = [0, *(TALK + cut for cut in (0, *BIKES_CUTS)), 2 * TALK + 250]
    found = [(clip.start_frame or 0, clip.end_frame or 0) for clip in rows]
    assert len(found) == len(edges) - 1
    for (start, end), first, last in zip(found, edges[:-1], edges[1:], strict=True):
        assert first <= start <= first + 1
        assert last - 1 <= end <= last
    assert kept(rows) == [found[0], found[-1]]


@pytest.mark.parametrize("length", FADES)
def test_no_clip_spans_a_cross_fade(
    mixed: Dataset, rows_by_source: Callable[[Dataset], dict[str, list[Clip]]], length: int
) -> None:
    for start, end in kept(rows_by_source(mixed)[f"faded{length}"]):
        assert end <= TALK or start >= TALK + length


@pytest.mark.parametrize("length", FADES[:2])
def test_the_talks_before_and_after_a_fade_are_kept(
    mixed: Dataset, rows_by_source: Callable[[Dataset], dict[str, list[Clip]]], length: int
) -> None:
    clips = kept(rows_by_source(mixed)[f"faded{length}"])
    assert any(end <= TALK for _, end in clips)
    assert any(start >= TALK + length for start, _ in clips)


def test_two_people_side_by_side_make_no_clip(
    mixed: Dataset, rows_by_source: Callable[[Dataset], dict[str, list[Clip]]]
) -> None:
    rows = rows_by_source(mixed)["beside"]
    assert kept(rows) == []
    assert all("person.multiple" in clip.reject_codes for clip in rows)
