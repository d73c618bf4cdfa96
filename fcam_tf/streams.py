"""Going through many images: ahead of what takes them, at constant memory, with a progress bar."""

from __future__ import annotations

import collections
import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import rich.console
import rich.progress

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


@contextlib.contextmanager
def progress(
    title: str, total: int, done: int, unit: str, console: rich.console.Console | None
) -> Iterator[Callable[[], None]]:
    """Give what advances the bar by one; on a terminal only, and where something is to do."""
    if console is None or not console.is_terminal or done == total:
        yield lambda: None
        return
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn(f"[progress.remaining]{unit}, left:"),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total, completed=done)
        yield lambda: bar.advance(task)
