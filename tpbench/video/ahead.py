"""Items made ahead on a thread, while those before them are used."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item], *, limit: int) -> Iterator[Item]:
    """Yield the items, of which a thread makes up to `limit` ahead.

    Worth it only where the user of the items waits for something other than the processor, such
    as a GPU. An error of the items is raised in its place. If the user stops early, the thread
    ends after the item that it is making.

    Args:
        items: used by the thread alone.
        limit: how many wait at most; at least 1.
    """
    iterator = iter(items)

    def make() -> list[Item]:
        """Return the next item, or nothing at the end."""
        return list(islice(iterator, 1))

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as thread:
        try:
            waiting = deque(thread.submit(make) for _ in range(limit))
            while made := waiting.popleft().result():
                waiting.append(thread.submit(make))
                yield from made
        finally:
            thread.shutdown(cancel_futures=True)
            if isinstance(iterator, Generator):
                iterator.close()
