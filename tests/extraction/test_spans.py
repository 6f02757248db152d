from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.extraction.shots import Span, cut_evenly, split_by_promise

if TYPE_CHECKING:
    from collections.abc import Sequence


def _shot(start: int, end: int) -> Span:
    return Span(shot_id=3, start_frame=start, end_frame=end)


def _edges(spans: Sequence[Span]) -> list[tuple[int, int]]:
    return [(span.start_frame, span.end_frame) for span in spans]


def _sampled(text: str, *, every: int = 10, start: int = 0) -> list[tuple[int, bool]]:
    """Read "++--+" as samples `every` frames apart, good and bad."""
    return [(start + every * k, sign == "+") for k, sign in enumerate(text)]


@st.composite
def _shots(draw: st.DrawFn) -> tuple[Span, list[tuple[int, bool]]]:
    start = draw(st.integers(0, 1000))
    shot = _shot(start, start + draw(st.integers(1, 200)))
    frames = draw(st.sets(st.integers(shot.start_frame, shot.end_frame - 1), max_size=20))
    return shot, [(frame, draw(st.booleans())) for frame in sorted(frames)]


@given(_shots(), st.integers(0, 60), st.integers(0, 100))
def test_spans_tile_the_shot(
    given_shot: tuple[Span, list[tuple[int, bool]]], max_gap: int, min_frames: int
) -> None:
    shot, samples = given_shot

    spans = split_by_promise(shot, samples, max_gap_frames=max_gap, min_frames=min_frames)

    assert spans[0].start_frame == shot.start_frame
    assert spans[-1].end_frame == shot.end_frame
    assert all(first.end_frame == second.start_frame for first, second in pairwise(spans))
    assert all(span.n_frames > 0 for span in spans)
    assert {span.shot_id for span in spans} == {3}


@given(_shots(), st.integers(0, 60))
def test_all_bad_samples_between_two_spans_with_good_ones_are_in_a_span_of_their_own(
    given_shot: tuple[Span, list[tuple[int, bool]]], max_gap: int
) -> None:
    """Whatever holes a good span has, they are short: no longer one joins two good samples."""
    shot, samples = given_shot

    spans = split_by_promise(shot, samples, max_gap_frames=max_gap, min_frames=0)

    for span in spans:
        good = [f for f, is_good in samples if is_good and span.start_frame <= f < span.end_frame]
        for first, second in pairwise(good):
            bad_between = any(not is_good for f, is_good in samples if first < f < second)
            assert not bad_between or second - first - 1 <= max_gap


def test_no_sample_makes_no_cut() -> None:
    shot = _shot(5, 50)

    assert split_by_promise(shot, [], max_gap_frames=10, min_frames=10) == [shot]


@pytest.mark.parametrize("signs", ["+++++", "-----"])
def test_a_shot_that_is_alike_throughout_stays_whole(signs: str) -> None:
    shot = _shot(0, 50)

    assert split_by_promise(shot, _sampled(signs), max_gap_frames=5, min_frames=20) == [shot]


def test_good_stretches_end_at_their_last_good_sample() -> None:
    spans = split_by_promise(_shot(0, 100), _sampled("--+++---++"), max_gap_frames=5, min_frames=10)

    assert _edges(spans) == [(0, 20), (20, 41), (41, 80), (80, 100)]


@pytest.mark.parametrize(("max_gap", "parts"), [(19, 1), (18, 3)])
def test_a_hole_of_just_the_allowed_length_is_bridged(max_gap: int, parts: int) -> None:
    """Good at 20 and 40: nineteen frames lie between."""
    samples = _sampled("+++-+++")

    spans = split_by_promise(_shot(0, 70), samples, max_gap_frames=max_gap, min_frames=10)

    assert len(spans) == parts


def test_far_samples_without_a_bad_one_between_make_no_hole() -> None:
    samples = [(0, True), (90, True)]

    assert len(split_by_promise(_shot(0, 100), samples, max_gap_frames=5, min_frames=10)) == 1


@pytest.mark.parametrize(("min_frames", "parts"), [(21, 3), (22, 1)])
def test_a_good_stretch_under_the_shortest_goes_to_its_neighbours(
    min_frames: int, parts: int
) -> None:
    """Good from 30 to 50: twenty-one frames."""
    samples = _sampled("---+++---")

    spans = split_by_promise(_shot(0, 90), samples, max_gap_frames=5, min_frames=min_frames)

    assert len(spans) == parts


def test_a_good_first_sample_reaches_back_to_the_cut() -> None:
    samples = _sampled("+++--", start=8)

    spans = split_by_promise(_shot(1, 60), samples, max_gap_frames=5, min_frames=10)

    assert _edges(spans) == [(1, 29), (29, 60)]


def test_a_shot_of_one_frame_stays_whole() -> None:
    shot = _shot(7, 8)

    assert split_by_promise(shot, [(7, True)], max_gap_frames=5, min_frames=100) == [shot]


@given(st.integers(0, 1000), st.integers(1, 5000), st.integers(1, 800))
def test_even_parts_tile_the_span_and_differ_by_one_frame_at_most(
    start: int, n_frames: int, max_frames: int
) -> None:
    parts = cut_evenly(_shot(start, start + n_frames), max_frames=max_frames)

    assert parts[0].start_frame == start
    assert parts[-1].end_frame == start + n_frames
    assert all(first.end_frame == second.start_frame for first, second in pairwise(parts))
    lengths = {part.n_frames for part in parts}
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= max_frames
    assert (len(parts) - 1) * max_frames < n_frames  # one part less could not hold it


@given(st.integers(1, 5000), st.integers(1, 400))
def test_no_part_of_a_long_span_is_under_half_the_longest(n_frames: int, half: int) -> None:
    """So that `max_s >= 2 min_s` is enough for every part to be long enough."""
    parts = cut_evenly(_shot(0, max(half, n_frames)), max_frames=2 * half)

    assert min(part.n_frames for part in parts) >= half
