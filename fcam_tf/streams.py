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

    Items are drawn in the calling thread, as results are taken. What ``function`` or drawing an
    item raises comes after the results before it.
    """
    items = iter(items)
    pending: collections.deque[Future[Result]] = collections.deque()
    failures: list[BaseException] = []

    def submit(count: int) -> None:
        try:
            for item in itertools.islice(items, count):
                pending.append(executor.submit(function, item))
        except BaseException as error:  # noqa: BLE001 - raised below, after what came before it
            failures.append(error)

    submit(ahead)
    while pending:
        result = pending.popleft().result()
        if not failures:
            submit(1)
        yield result
    if failures:
        raise failures[0]


@contextlib.contextmanager
def progress(
    title: str, total: int, done: int, unit: str, console: rich.console.Console | None
) -> Iterator[Callable[[], None]]:
    """Show a bar, on a terminal and if there is something to do; give what advances it by one."""
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
