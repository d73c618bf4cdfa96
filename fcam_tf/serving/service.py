"""A model that is loaded in the background, and the way of a request to it and back."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fcam_tf.serving.batching import Batcher
from fcam_tf.serving.errors import RefusedError

if TYPE_CHECKING:
    from fcam_tf.serving.served import Served

T = TypeVar("T")
_ROWS = (1, 2, 4, 8, 16, 32, 64)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a server takes.

    Attributes:
        waiting: requests at once, those that are answered among them; more get 503.
        batch: rows that are answered in one batch.
        delay: seconds that a row waits for others.
        body: bytes of a request; more get 413.
        pixels: of a request's photos, by their headers; more get 400, and are not decoded.
        timeout: seconds from the first byte of a request to its answer; later it gets 504.
    """

    waiting: int = 64
    batch: int = 8
    delay: float = 0.005
    body: int = 16 * 2**20
    pixels: int = 50_000_000
    timeout: float = 30.0


class Metrics:
    """What Prometheus asks for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "fcam_requests", "Requests answered.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "fcam_request_seconds", "Time to the answer.", ["path"], registry=self.registry
        )
        self.rows = Histogram(
            "fcam_batch_rows", "Images of a batch.", buckets=_ROWS, registry=self.registry
        )
        self.waiting = Gauge(
            "fcam_requests_waiting", "Requests not yet answered.", registry=self.registry
        )


class Service:
    """Load a model in a thread of its own, then answer rows.

    Args:
        load: loads the model and warms it up.
        limits: see `Limits`.
        failed: is told what ``load`` raised.
        began: is called when the model answers.

    Attributes:
        served: the model, or None while it is loaded, and after `close`.
    """

    def __init__(
        self,
        load: Callable[[], Served],
        limits: Limits,
        failed: Callable[[BaseException], Any],
        began: Callable[[], Any],
    ) -> None:
        self._load, self.limits, self._failed, self._began = load, limits, failed, began
        self.metrics = Metrics()
        self.served: Served | None = None
        self._batcher: Batcher | None = None
        self._waiting = 0
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="photos")
        self._loader = threading.Thread(target=self._start, name="load", daemon=True)

    def start(self) -> None:
        """Begin to load."""
        self._loader.start()

    def _start(self) -> None:
        try:
            served = self._load()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the server must end
            self._failed(error)
            return

        def run(name: Any, rows: np.ndarray) -> dict[str, np.ndarray]:
            return served.signatures[name](rows)

        watch = self.metrics.rows.observe
        self._batcher = Batcher(run, self.limits.batch, self.limits.delay, watch)
        self.served = served
        self._began()

    def close(self) -> None:
        """Answer what waits, and end."""
        self.served = None
        if self._batcher:
            self._batcher.close()
        self._threads.shutdown()

    def ready(self) -> Served:
        """Return the model; raise a RefusedError while there is none."""
        if self.served is None:
            raise RefusedError(503, "the model is being loaded")
        return self.served

    @contextlib.asynccontextmanager
    async def admitted(self) -> AsyncIterator[Served]:
        """Let a request in and bound its time, or raise a RefusedError."""
        served = self.ready()
        if self._waiting >= self.limits.waiting:
            raise RefusedError(503, f"{self._waiting} requests wait already; try again later")
        self._count(1)
        try:
            async with asyncio.timeout(self.limits.timeout):
                yield served
        except TimeoutError:
            words = f"there was no answer within {self.limits.timeout:g} seconds"
            raise RefusedError(504, words) from None
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self._waiting += change
        self.metrics.waiting.set(self._waiting)

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Run what takes a while beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    async def answer(self, signature: str, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Answer rows (n, ...) in a batch with others."""
        assert self._batcher is not None  # noqa: S101 - there is one where a request is admitted
        return await asyncio.wrap_future(self._batcher.submit(signature, rows))
