"""The process of the server: its socket, its signals, and its end."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import uvicorn

from fcam_tf.serving.app import make_app
from fcam_tf.serving.service import Limits, Service

if TYPE_CHECKING:
    from fcam_tf.serving.served import Served

_BACKLOG = 128


class _Server(uvicorn.Server):
    """A server that ends by a signal as by anything else, and not by raising it once more."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self.handle_exit) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, before the model is loaded.

    Raises:
        OSError: the address is none of this machine, or taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise OSError(f"cannot listen at {host}, port {port}: {error}") from None


def serve(
    load: Callable[[], Served],
    name: str,
    limits: Limits,
    listening: socket.socket,
    tell: Callable[[str], Any],
) -> None:
    """Serve a model until SIGTERM or SIGINT; what has begun by then is answered.

    Args:
        load: loads it, in a thread while the server already says that it is not ready.
        name: of the model, in the paths.
        limits: see `Limits`.
        listening: of `listen`; it is closed at the end.
        tell: is given the address when the model answers.

    Raises:
        Whatever ``load`` raises.
    """
    failures: list[BaseException] = []

    def fail(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    def warmed_up() -> Served:
        served = load()
        served.warm_up(limits.batch)
        return served

    def began() -> None:
        host, port = listening.getsockname()[:2]
        tell(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    service = Service(warmed_up, limits, fail, began)
    server = _Server(
        uvicorn.Config(
            make_app(service, name),
            log_config=None,  # its errors go where ours go
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=int(limits.timeout) + 1,
            server_header=False,
        )
    )
    with listening:
        server.run(sockets=[listening])
    if failures:
        raise failures[0]
