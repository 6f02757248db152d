from __future__ import annotations

from collections.abc import Iterator

import pytest

from tpbench.extraction import measures
from tpbench.extraction.measures import StageClock


class HandClock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    clock = HandClock()
    monkeypatch.setattr(measures, "perf_counter", clock)
    return clock


def test_an_inner_stage_takes_its_time_from_the_outer_one(hand: HandClock) -> None:
    clock = StageClock()
    hand.wait(50)
    with clock.stage("outer"):
        hand.wait(1)
        with clock.stage("inner"):
            hand.wait(10)
        hand.wait(2)
    hand.wait(50)
    assert clock.seconds == {"outer": 3, "inner": 10}


def test_a_stage_that_comes_again_adds_up(hand: HandClock) -> None:
    clock = StageClock()
    for seconds in (1, 2, 4):
        with clock.stage("decode"):
            hand.wait(seconds)
    assert clock.seconds == {"decode": 7}


def test_a_stage_inside_itself_counts_once(hand: HandClock) -> None:
    clock = StageClock()
    with clock.stage("a"):
        hand.wait(1)
        with clock.stage("a"):
            hand.wait(2)
    assert clock.seconds == {"a": 3}


def test_a_stage_that_fails_is_counted_and_over(hand: HandClock) -> None:
    clock = StageClock()

    def fail() -> None:
        with clock.stage("outer"), clock.stage("inner"):
            hand.wait(3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    hand.wait(9)
    with clock.stage("next"):
        hand.wait(1)

    assert clock.seconds == {"outer": 0, "inner": 3, "next": 1}


def test_making_items_and_using_them_are_two_stages(hand: HandClock) -> None:
    def slow() -> Iterator[int]:
        for item in (1, 2, 3):
            hand.wait(10)
            yield item
        hand.wait(5)  # the end has to be found as well

    clock = StageClock()
    with clock.stage("use"):
        for _ in clock.each("make", slow()):
            hand.wait(1)

    assert clock.seconds == {"use": 3, "make": 35}


def test_items_come_through_unchanged_and_end(hand: HandClock) -> None:
    assert list(StageClock().each("make", iter("abc"))) == ["a", "b", "c"]
    assert hand.now == 100


def test_an_error_while_making_an_item_comes_through(hand: HandClock) -> None:
    def broken() -> Iterator[int]:
        hand.wait(2)
        yield 1
        raise ZeroDivisionError

    clock = StageClock()
    with pytest.raises(ZeroDivisionError):
        list(clock.each("make", broken()))

    assert clock.seconds == {"make": 2}
