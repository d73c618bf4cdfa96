"""Requests that wait for one another: rows of several are answered in one batch."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Run = Callable[[Any, np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class _Item:
    kind: Hashable
    rows: np.ndarray
    future: Future[dict[str, np.ndarray]] = field(default_factory=Future)

    def fits(self, other: _Item) -> bool:
        return self.kind == other.kind and self.rows.shape[1:] == other.rows.shape[1:]


class Batcher:
    """A thread that answers rows in batches, in the order in which they come.

    Args:
        run: (kind, rows) to the answers, arrays of one entry for each row.
        most: rows of a batch; one request of more is answered alone.
        delay: seconds that the first row of a batch waits for others.
        watch: is told the number of rows of each batch.
    """

    def __init__(self, run: Run, most: int, delay: float, watch: Callable[[int], Any]) -> None:
        self._run, self._most, self._delay, self._watch = run, most, delay, watch
        self._waiting: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def submit(self, kind: Hashable, rows: np.ndarray) -> Future[dict[str, np.ndarray]]:
        """Return the coming answers of rows (n, ...); to cancel it spares the work.

        Who calls it bounds how many wait.
        """
        item = _Item(kind, rows)
        self._waiting.put(item)
        return item.future

    def close(self) -> None:
        """Answer what waits, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        first: _Item | None = self._waiting.get()
        while first is not None:
            items, following = self._gather(first)
            self._answer([item for item in items if item.future.set_running_or_notify_cancel()])
            first = following[0] if following else self._waiting.get()

    def _gather(self, first: _Item) -> tuple[list[_Item], list[_Item | None]]:
        """Return a batch, and what came that is not of it: an item, or None for the end."""
        items, count, end = [first], len(first.rows), time.monotonic() + self._delay
        while count < self._most:
            try:
                item = self._waiting.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                return items, []
            if item is None or not item.fits(first) or count + len(item.rows) > self._most:
                return items, [item]
            items.append(item)
            count += len(item.rows)
        return items, []

    def _answer(self, items: list[_Item]) -> None:
        if not items:
            return
        try:
            found = self._run(items[0].kind, np.concatenate([item.rows for item in items]))
            self._watch(sum(len(item.rows) for item in items))
        except Exception as error:  # noqa: BLE001 - whatever it is, who asked gets it
            if len(items) == 1:
                items[0].future.set_exception(error)
            else:  # one at fault must not cost the others their answers
                for item in items:
                    self._answer([item])
            return
        start = 0
        for item in items:
            part = slice(start, start + len(item.rows))
            item.future.set_result({name: values[part] for name, values in found.items()})
            start += len(item.rows)
