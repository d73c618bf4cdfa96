"""The progress bar of what goes through many images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import rich.console
import rich.progress


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
