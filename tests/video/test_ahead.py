"""Items made ahead on a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tpbench.video.ahead import ahead


class Counting:
    """Counts to a number, on whichever thread it is asked."""

    def __init__(self, count: int, *, fails_at: int | None = None) -> None:
        self.count, self.fails_at = count, fails_at
        self.made = 0
        self.closed = False
        self.threads: set[str] = set()
        self.enough = threading.Event()
        self.wanted = 0

    def items(self) -> Iterator[int]:
        try:
            for number in range(self.count):
                if number == self.fails_at:
                    raise ValueError(f"no {number}")
                self.made += 1
                self.threads.add(threading.current_thread().name)
                if self.made == self.wanted:
                    self.enough.set()
                yield number
        finally:
            self.closed = True


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("count", [0, 1, 10])
def test_all_items_come_in_order(count: int, limit: int) -> None:
    assert list(ahead(Counting(count).items(), limit=limit)) == list(range(count))


def test_they_are_made_on_another_thread() -> None:
    counting = Counting(5)
    list(ahead(counting.items(), limit=2))
    assert threading.current_thread().name not in counting.threads


def test_as_many_as_allowed_are_made_while_the_first_is_used() -> None:
    counting = Counting(100)
    counting.wanted = 5
    items = ahead(counting.items(), limit=4)
    assert next(items) == 0
    assert counting.enough.wait(timeout=60)  # the first, and four ahead
    items.close()  # type: ignore[attr-defined] # a generator
    assert counting.made == 5


def test_an_error_comes_after_the_items_before_it() -> None:
    items = ahead(Counting(9, fails_at=3).items(), limit=5)
    assert [next(items), next(items), next(items)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no 3"):
        next(items)


def test_when_the_user_stops_the_source_is_closed_and_the_thread_ends() -> None:
    counting = Counting(1000)
    before = threading.active_count()
    for item in ahead(counting.items(), limit=3):
        if item == 2:
            break
    else:
        pytest.fail("it ended by itself")
    del item
    # The generator is closed when it is no longer referred to.
    assert counting.closed
    assert threading.active_count() == before
    assert counting.made <= 7


def test_lists_are_as_good_as_generators() -> None:
    assert list(ahead([3, 1, 2], limit=2)) == [3, 1, 2]
