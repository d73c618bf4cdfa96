"""A map in threads that stays a few items ahead, so memory does not grow with the input."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

Item = TypeVar("Item")
Result = TypeVar("Result")


def lookahead(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Yield ``function(item)`` for every item in order, computing at most ``ahead`` in advance.

    Args:
        executor: where the function runs.
        function: called once for each item.
        items: drawn in the calling thread, and only as results are taken.
        ahead: how many calls may be under way or waiting to be taken, at least 1.
    """
    items = iter(items)
    pending: collections.deque[Future[Result]] = collections.deque()
    for item in itertools.islice(items, ahead):
        pending.append(executor.submit(function, item))
    while pending:
        result = pending.popleft().result()
        for item in itertools.islice(items, 1):
            pending.append(executor.submit(function, item))
        yield result
