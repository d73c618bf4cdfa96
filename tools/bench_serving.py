"""Load a server on loopback: requests a second, times, that nothing is lost, and what is too much.

    fcam serve efficientnetlite_b0_cam --waiting 16 &
    python tools/bench_serving.py http://127.0.0.1:8501 --clients 1 --clients 4 --clients 16

A last row has four times as many clients as may wait: the server must answer all of them, those
that are too many with 503. Exit status: 0 all is well, 1 an answer was lost or wrong.
"""

from __future__ import annotations

import dataclasses
import io
import json
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from absl import app, flags
from common import print_table
from PIL import Image
from skimage import data

_CLIENTS = flags.DEFINE_multi_integer("clients", [1, 4, 16], "clients at once")
_SECONDS = flags.DEFINE_float("seconds", 8, "for each number of clients")
_WAITING = flags.DEFINE_integer("waiting", 64, "of the server's --waiting")
_TIMEOUT = 120
_LOST = 0  # in the place of a status


@dataclasses.dataclass
class Load:
    """What came of some seconds.

    Attributes:
        statuses: how often each status came; 0 where no answer did.
        times: seconds of each answer of status 200.
        spent: seconds of it all.
        wrong: answers of status 200 that differ from the first one.
    """

    statuses: Counter[int]
    times: list[float]
    spent: float
    wrong: int

    def row(self, clients: int) -> list[str]:
        """Return what is printed."""
        half, most = np.percentile(self.times, [50, 95]) if self.times else (np.nan, np.nan)
        return [
            str(clients),
            f"{len(self.times) / self.spent:.1f}",
            f"{half:.3f}",
            f"{most:.3f}",
            ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items())),
            str(self.statuses[_LOST]),
            str(self.wrong),
        ]


def photo() -> bytes:
    """Return a photo of 600x400, as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(data.coffee()).save(file, "JPEG")
    return file.getvalue()


def send(url: str, content: bytes) -> tuple[int, dict]:
    """Return the status and the JSON that come; 0 where none does."""
    try:
        with urllib.request.urlopen(url, content, timeout=_TIMEOUT) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return _LOST, {}


def load(ask: Callable[[], tuple[int, dict]], clients: int, seconds: float) -> Load:
    """Ask from several clients at once, each for one answer after another."""
    found: list[tuple[int, float, int | None]] = []
    begin = time.perf_counter()

    def work(_: int) -> None:
        while (start := time.perf_counter()) < begin + seconds:
            status, answer = ask()
            found.append((status, time.perf_counter() - start, answer.get("label")))

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(work, range(clients)))
    spent = time.perf_counter() - begin
    labels = [label for status, _, label in found if status == 200]
    return Load(
        Counter(status for status, _, _ in found),
        [taken for status, taken, _ in found if status == 200],
        spent,
        sum(label != labels[0] for label in labels),
    )


def main(argv: list[str]) -> None:
    """Measure, print, and hold the server to losing nothing."""
    if len(argv) != 2:
        raise app.UsageError("name the address of a server")
    url, content = f"{argv[1].rstrip('/')}/localize", photo()
    counts = [*_CLIENTS.value, 4 * _WAITING.value]
    found = [load(lambda: send(url, content), count, _SECONDS.value) for count in counts]
    columns = ["clients", "answers/s", "p50, s", "p95, s", "statuses", "lost", "wrong"]
    rows = [each.row(count) for each, count in zip(found, counts, strict=True)]
    print_table(url, columns, rows)
    well = all(set(each.statuses) <= {200, 503} and not each.wrong for each in found)
    sys.exit(not (well and found[-1].statuses[503]))


if __name__ == "__main__":
    app.run(main)
