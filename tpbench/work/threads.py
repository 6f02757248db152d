"""Items processed by threads of this process: for work that libraries do without Python's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def in_threads(
    function: Callable[[Item], Made], items: Iterable[Item], *, workers: int
) -> Iterator[tuple[Item, Made]]:
    """Yield items with what a function makes of them, in order.

    At most twice as many items as threads are in work or waiting. An error is raised in the place
    of its item.
    """
    left = iter(items)
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="items") as threads:
        try:
            begun = deque(
                (item, threads.submit(function, item)) for item in islice(left, workers * 2)
            )
            while begun:
                item, made = begun.popleft()
                yield item, made.result()
                begun.extend((one, threads.submit(function, one)) for one in islice(left, 1))
        finally:
            threads.shutdown(cancel_futures=True)
