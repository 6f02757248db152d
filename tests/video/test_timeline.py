"""The constant-rate timeline: slots, rates, and what counts as variable."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.video.source import Timeline
from tpbench.video.timeline import DEFAULT_FPS, rate_of_runs

RATES = [
    Fraction(10),
    Fraction(25, 2),
    Fraction(24000, 1001),
    Fraction(24),
    Fraction(25),
    Fraction(30000, 1001),
    Fraction(30),
    Fraction(50),
    Fraction(60000, 1001),
    Fraction(60),
    Fraction(120),
]
MILLISECOND = Fraction(1, 1000)


def stamps_at(rate: Fraction, n: int, time_base: Fraction, first: int = 0) -> np.ndarray:
    """Stamps of a constant rate as a container with this time base rounds them."""
    return np.array([first + round(k / rate / time_base) for k in range(n)], np.int64)


@given(
    rate=st.sampled_from(RATES),
    n=st.integers(2, 400),
    first=st.integers(-5000, 5000),
    time_base=st.sampled_from([MILLISECOND, Fraction(1, 600), Fraction(1, 90000)]),
)
def test_picture_i_of_a_constant_rate_has_slot_i_in_any_time_base(
    rate: Fraction, n: int, first: int, time_base: Fraction
) -> None:
    stamps = stamps_at(rate, n, time_base, first)
    fps, variable = rate_of_runs([stamps], time_base, [rate])
    timeline = Timeline(fps=fps, time_base=time_base, start_pts=int(stamps[0]))
    assert (fps, variable) == (rate, False)
    assert [timeline.slot(int(pts)) for pts in stamps] == list(range(n))


@given(
    fps=st.sampled_from(RATES),
    time_base=st.sampled_from([MILLISECOND, Fraction(1, 90000), Fraction(1, 25)]),
    start=st.integers(-1000, 1000),
    index=st.integers(0, 10**6),
)
def test_first_pts_is_the_smallest_stamp_of_its_slot(
    fps: Fraction, time_base: Fraction, start: int, index: int
) -> None:
    timeline = Timeline(fps=fps, time_base=time_base, start_pts=start)
    pts = timeline.first_pts(index)
    assert timeline.slot(pts) >= index
    assert timeline.slot(pts - 1) < index


def test_a_stamp_half_way_between_two_slots_belongs_to_the_later() -> None:
    timeline = Timeline(fps=Fraction(25), time_base=MILLISECOND, start_pts=100)
    assert [timeline.slot(100 + ms) for ms in (-21, -20, 0, 19, 20, 59, 60)] == [
        -1,
        0,
        0,
        0,
        1,
        1,
        2,
    ]


@pytest.mark.parametrize("rate", RATES)
def test_a_rate_is_found_without_a_declaration(rate: Fraction) -> None:
    assert rate_of_runs([stamps_at(rate, 2000, MILLISECOND)], MILLISECOND, []) == (rate, False)


def test_a_declared_rate_in_use_wins_where_stamps_fit_two() -> None:
    stamps = stamps_at(Fraction(30000, 1001), 20, MILLISECOND)
    assert rate_of_runs([stamps], MILLISECOND, [Fraction(30000, 1001)])[0] == Fraction(30000, 1001)


def test_a_wrong_declaration_is_overruled_by_the_stamps() -> None:
    stamps = stamps_at(Fraction(25), 100, MILLISECOND)
    assert rate_of_runs([stamps], MILLISECOND, [Fraction(30), Fraction(1000)]) == (
        Fraction(25),
        False,
    )


def test_an_odd_rate_is_kept_exactly() -> None:
    odd = Fraction(2351, 100)
    assert rate_of_runs([stamps_at(odd, 1000, MILLISECOND)], MILLISECOND, [odd]) == (odd, False)


def test_jitter_below_a_quarter_of_a_frame_is_no_variable_rate() -> None:
    jitter_ms = np.random.default_rng(0).integers(-9, 10, 299)
    stamps = stamps_at(Fraction(25), 300, MILLISECOND)
    stamps[1:] += jitter_ms
    assert rate_of_runs([stamps], MILLISECOND, []) == (Fraction(25), False)


def test_a_few_missing_pictures_leave_the_usual_rate() -> None:
    stamps = np.delete(stamps_at(Fraction(30), 300, MILLISECOND), [50, 51, 120, 200])
    assert rate_of_runs([stamps], MILLISECOND, [Fraction(29600, 1000)]) == (Fraction(30), True)


def test_many_missing_pictures_give_the_average_rate() -> None:
    keep = [k for k in range(600) if k % 4 != 3 and k % 4 != 2]
    stamps = stamps_at(Fraction(60), 600, MILLISECOND)[keep]
    assert rate_of_runs([stamps], MILLISECOND, []) == (Fraction(30), True)


@pytest.mark.parametrize(
    ("declared", "fps"), [([Fraction(30)], Fraction(30)), ([Fraction(90000)], DEFAULT_FPS)]
)
def test_one_picture_has_the_declared_rate_if_that_is_believable(
    declared: list[Fraction], fps: Fraction
) -> None:
    assert rate_of_runs([np.array([7])], MILLISECOND, declared) == (fps, False)
