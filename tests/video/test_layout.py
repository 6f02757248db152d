"""Laying pictures on the timeline: the grid of all stamps, parts, strays, missing stamps."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tpbench.video.info import Layout, lay_out
from tpbench.video.timeline import NO_STAMP

MILLISECOND = Fraction(1, 1000)
RATES = [
    Fraction(24000, 1001),
    Fraction(24),
    Fraction(25),
    Fraction(30000, 1001),
    Fraction(30),
    Fraction(60000, 1001),
    Fraction(60),
]


def stamps_at(
    rate: Fraction, n: int, time_base: Fraction = MILLISECOND, first_s: Fraction = Fraction(0)
) -> NDArray[np.int64]:
    return np.array([round((first_s + k / rate) / time_base) for k in range(n)], np.int64)


def every_picture_once(layout: Layout) -> bool:
    return np.array_equal(layout.slots, np.arange(len(layout.slots)))


@given(
    rate=st.sampled_from(RATES),
    time_base=st.sampled_from([MILLISECOND, Fraction(1, 90000), Fraction(1, 15360)]),
    first_lasts=st.fractions(Fraction(1, 2), Fraction(9, 4)),
    n=st.integers(200, 400),
)
def test_a_first_picture_off_the_grid_costs_no_picture(
    rate: Fraction, time_base: Fraction, first_lasts: Fraction, n: int
) -> None:
    rest = stamps_at(rate, n - 1, time_base, first_lasts / rate)

    layout = lay_out(np.concatenate([[0], rest]), time_base, [rate])

    assert layout.fps == rate
    assert len(set(layout.slots.tolist())) == n
    # The others stand at their own times, whatever the first does.
    zero = float(layout.parts[0].zero_s)
    times_s = zero + layout.slots[1:] / float(rate)
    assert np.abs(times_s - rest * float(time_base)).max() <= 1 / float(4 * rate) + 0.001


@given(
    rate=st.sampled_from(RATES[:5]),
    seed=st.integers(0, 10_000),
    jitter_ms=st.sampled_from([1.0, 3.0, 5.0]),
)
def test_stamps_that_waver_leave_every_picture_its_frame(
    rate: Fraction, seed: int, jitter_ms: float
) -> None:
    wavering = stamps_at(rate, 300) + np.rint(
        np.random.default_rng(seed).normal(0, jitter_ms, 300)
    ).astype(np.int64)

    layout = lay_out(np.sort(wavering), MILLISECOND, [rate])

    assert layout.fps == rate
    assert every_picture_once(layout)


@pytest.mark.parametrize("seed", range(5))
def test_the_rate_of_wavering_stamps_is_found_without_a_declaration(seed: int) -> None:
    jitter_ms = np.random.default_rng(seed).normal(0, 5, 600)
    stamps = np.sort(stamps_at(Fraction(25), 600) + np.rint(jitter_ms).astype(np.int64))

    assert lay_out(stamps, MILLISECOND, []).fps == 25


@given(
    sizes=st.lists(st.integers(12, 80), min_size=2, max_size=4),
    starts_s=st.lists(st.integers(0, 5), min_size=4, max_size=4),
)
def test_a_clock_that_restarts_begins_a_part_and_costs_no_picture(
    sizes: list[int], starts_s: list[int]
) -> None:
    parts = [
        stamps_at(Fraction(25), n, first_s=Fraction(20 * (len(sizes) - k) + starts_s[k]))
        for k, n in enumerate(sizes)
    ]

    layout = lay_out(np.concatenate(parts), MILLISECOND, [])

    assert layout.fps == 25
    assert every_picture_once(layout)
    assert [part.first_frame for part in layout.parts] == [
        sum(sizes[:k]) for k in range(len(sizes))
    ]
    assert [part.clock for part in layout.parts] == list(range(len(sizes)))
    assert [part.zero_s for part in layout.parts] == [int(part[0]) * MILLISECOND for part in parts]


@pytest.mark.parametrize("overlap_ms", [60, 120, 400, 2000])
def test_a_clock_that_goes_back_a_little_costs_no_picture(overlap_ms: int) -> None:
    first = stamps_at(Fraction(23), 130)

    layout = lay_out(np.concatenate([first, first + first[-1] - overlap_ms]), MILLISECOND, [])

    assert layout.fps == 23
    assert every_picture_once(layout)
    assert [part.first_frame for part in layout.parts] == [0, 130]


@given(at=st.integers(1, 128), stray_ms=st.integers(-10_000, 200_000))
def test_a_stray_stamp_sets_neither_rate_nor_length(at: int, stray_ms: int) -> None:
    stamps = stamps_at(Fraction(25), 130)
    stamps[at] = stray_ms

    layout = lay_out(stamps, MILLISECOND, [])

    assert layout.fps == 25
    assert len(set(layout.slots.tolist())) == 130
    assert layout.n_frames <= 130 + 25


@pytest.mark.parametrize("at", [0, 129])
def test_a_stray_stamp_at_an_end_is_a_part_of_its_own(at: int) -> None:
    stamps = stamps_at(Fraction(25), 130)
    stamps[at] = 100_000

    layout = lay_out(stamps, MILLISECOND, [])

    assert (layout.fps, layout.n_frames, len(layout.parts)) == (Fraction(25), 130, 2)


@given(hole_ms=st.integers(1041, 10**7), at=st.integers(10, 110))
def test_a_hole_of_seconds_is_a_cut_and_not_filled(hole_ms: int, at: int) -> None:
    stamps = stamps_at(Fraction(25), 130)
    stamps[at:] += hole_ms - 40

    layout = lay_out(stamps, MILLISECOND, [])

    assert layout.fps == 25
    assert every_picture_once(layout)
    assert [part.first_frame for part in layout.parts] == [0, at]
    assert layout.parts[1].zero_s * 1000 == int(stamps[at])


@given(missing=st.integers(1, 24), at=st.integers(20, 100))
def test_a_hole_of_less_than_a_second_is_filled(missing: int, at: int) -> None:
    stamps = np.delete(stamps_at(Fraction(25), 130), range(at, at + missing))

    layout = lay_out(stamps, MILLISECOND, [])

    assert (layout.fps, layout.n_frames, len(layout.parts)) == (Fraction(25), 130, 1)
    assert not layout.is_even


def test_one_hole_in_an_hour_leaves_its_rate() -> None:
    stamps = stamps_at(Fraction(25), 90_000)
    stamps[50_000:] += 1_200_000

    assert lay_out(stamps, MILLISECOND, []).fps == 25


@given(data=st.data(), n=st.integers(40, 200))
def test_pictures_without_a_stamp_are_placed_between_their_neighbours(
    data: st.DataObject, n: int
) -> None:
    stamps = stamps_at(Fraction(23), n)
    without = data.draw(st.sets(st.integers(0, n - 1), max_size=n - 12))
    given_stamps = stamps.copy()
    given_stamps[list(without)] = NO_STAMP

    layout = lay_out(given_stamps, MILLISECOND, [Fraction(23)])

    assert layout.fps == 23
    assert every_picture_once(layout)
    assert np.abs(layout.stamps - stamps).max() <= 12


def test_without_any_stamp_there_is_no_timeline() -> None:
    with pytest.raises(ValueError, match="no picture has a stamp"):
        lay_out(np.full(5, NO_STAMP), MILLISECOND, [])


@pytest.mark.parametrize("stamps_ms", [[0, 86_400_000], [0, 40_000_000, 80_000_000]])
def test_pictures_a_day_apart_cost_a_frame_each(stamps_ms: list[int]) -> None:
    layout = lay_out(np.array(stamps_ms), MILLISECOND, [])

    assert layout.n_frames == len(stamps_ms)
    assert len(layout.parts) == len(stamps_ms)


def test_what_was_made_of_odd_stamps_is_said() -> None:
    even = stamps_at(Fraction(25), 60)
    late = even.copy()
    late[30] += 24
    missing = np.delete(even, [30])
    two_parts = np.concatenate([even, even])

    assert lay_out(even, MILLISECOND, []).notes == ()
    assert "up to 0.60 frames" in lay_out(late, MILLISECOND, []).notes[0]
    assert "1 frames repeat" in lay_out(missing, MILLISECOND, []).notes[0]
    assert "clock jumps after 2.4 s" in lay_out(two_parts, MILLISECOND, []).notes[0]


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=60))
def test_no_picture_of_a_variable_rate_moves_by_more_than_its_waver(gaps_ms: list[int]) -> None:
    stamps = np.concatenate([[0], np.cumsum(gaps_ms)]).astype(np.int64)

    layout = lay_out(stamps, MILLISECOND, [])

    for number, part in enumerate(layout.parts):
        later = layout.parts[number + 1 :]
        end = later[0].first_frame if later else layout.n_frames
        inside = (layout.slots >= part.first_frame) & (layout.slots < end)
        times_s = (layout.slots[inside] - part.first_frame) / float(layout.fps)
        apart_s = np.abs(times_s + float(part.zero_s) - layout.stamps[inside] / 1000)
        assert apart_s.max() <= 1.7 / float(layout.fps) + 0.002
