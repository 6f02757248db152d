from __future__ import annotations

import threading

import pytest

from tpbench.work.threads import in_threads


def test_items_stay_in_order_and_few_wait() -> None:
    begun: list[int] = []

    def double(item: int) -> int:
        begun.append(item)
        return 2 * item

    for item, made in in_threads(double, range(50), workers=3):
        assert made == 2 * item
        assert len(begun) <= item + 1 + 6
    assert sorted(begun) == list(range(50))


def test_as_many_items_as_workers_are_in_work_at_once() -> None:
    both = threading.Barrier(2, timeout=60)

    def meet(_: int) -> int:
        return both.wait()

    found = {made for _, made in in_threads(meet, range(2), workers=2)}
    assert found == {0, 1}


def test_an_error_is_raised_in_the_place_of_its_item() -> None:
    def inverse(item: int) -> float:
        return 1 / item

    made = in_threads(inverse, [2, 1, 0, 1], workers=2)
    assert [next(made), next(made)] == [(2, 0.5), (1, 1.0)]
    with pytest.raises(ZeroDivisionError):
        next(made)


def test_nothing_is_made_of_nothing() -> None:
    assert list(in_threads(abs, [], workers=2)) == []
