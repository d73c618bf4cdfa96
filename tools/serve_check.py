"""Check a server of an exported model: right answers, bad requests refused, and how fast.

    python tools/serve_check.py http://localhost:8501/v1/models/fcam --saved_model serving/fcam/1
    python tools/serve_check.py grpc://localhost:8500/fcam --clients 4 --seconds 20

The server is TensorFlow Serving or whatever speaks its REST predict format or its gRPC
PredictionService. Exit status: 0 all is well, 1 a check failed.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from absl import app, flags
from common import print_table
from PIL import Image
from scipy.special import softmax
from serve_clients import Outputs, RefusedError, Rest, connect
from skimage import data

from fcam_tf.masks import NO_BOX

_SAVED = flags.DEFINE_string("saved_model", None, "what is served, to compare answers with")
_CLIENTS = flags.DEFINE_multi_integer("clients", [], "clients at once to measure the speed with")
_SECONDS = flags.DEFINE_float("seconds", 10, "for each number of clients")

_TOLERANCE = 1e-3


def photos() -> list[bytes]:
    """Return files of different sizes and formats."""
    cat, cup = data.chelsea(), data.coffee()
    return [_file(cat, "PNG"), _file(cup, "JPEG"), _file(cat[::2, ::3], "JPEG")]


def check_files(client: Any, signatures: Mapping[str, Any] | None = None) -> None:
    """Ask for photos of different sizes at once, and hold the answers to what they must be."""
    files = photos()
    found = client.predict("serve_bytes", files)
    for n, file in enumerate(files):
        width, height = Image.open(io.BytesIO(file)).size
        mask = Image.open(io.BytesIO(found["mask_bytes"][n]))
        _expect(mask.size == (width, height), f"mask of {mask.size}, photo of {width, height}")
        x0, y0, x1, y1 = box = tuple(int(side) for side in found["boxes"][n])
        inside = 0 <= x0 <= x1 < width and 0 <= y0 <= y1 < height
        _expect(inside or box == NO_BOX, f"box {box} in a photo of {width, height}")
        heatmap, scores = np.asarray(found["heatmap"][n]), softmax(found["logits"][n])
        _expect(bool(np.all((heatmap >= 0) & (heatmap <= 1))), "a heat map outside [0, 1]")
        _expect(int(found["label"][n]) == scores.argmax(), "a label that is not the largest")
        _expect(abs(scores.max() - found["score"][n]) < _TOLERANCE, "score is no softmax")
        _same(client.predict("serve_bytes", [file]), 0, found, n)
    _hold_to(signatures, "serve_bytes", files, found)


def check_pixels(client: Any, signatures: Mapping[str, Any] | None = None) -> None:
    """Ask for arrays at a size that is no multiple of anything."""
    images = np.stack([data.chelsea()[:67, :93], data.coffee()[100:167, 200:293]]).astype("f4")
    found = client.predict("serving_default", images)
    _expect(np.asarray(found["heatmap"]).shape == (2, 67, 93), "heat maps of another size")
    _hold_to(signatures, "serving_default", images, found)


def bad_requests(client: Any) -> dict[str, Callable[[], Any]]:
    """Return requests that must be refused, by what is wrong with them."""
    good = photos()[0]
    huge = _file(np.zeros((12_000, 12_000), np.uint8), "PNG")
    files = {
        "empty file": [b""],
        "garbage": [b"this is no photo"],
        "truncated": [good[: len(good) // 2]],
        "huge photo": [huge],
        "one bad among good": [good, b"garbage"],
        "no files": np.zeros(0, "S1"),
    }
    pixels = {
        "NaN pixels": np.full((1, 64, 64, 3), np.nan, "f4"),
        "two channels": np.zeros((1, 64, 64, 2), "f4"),
        "no batch": np.zeros((64, 64, 3), "f4"),
        "five axes": np.zeros((1, 1, 64, 64, 3), "f4"),
        "empty batch": np.zeros(0, "f4"),
        "text for pixels": [b"text"],
    }
    found: dict[str, Callable[[], Any]] = {
        "unknown signature": partial(client.predict, "serve_nothing", [good]),
        **{name: partial(client.predict, "serve_bytes", values) for name, values in files.items()},
        **{name: partial(client.predict, "serving_default", x) for name, x in pixels.items()},
    }
    if isinstance(client, Rest):
        bodies = {
            "no JSON": "{",
            "no object": [],
            "no instances": {},
            "no base64": {"signature_name": "serve_bytes", "instances": [{"b64": "%%%"}]},
            "ragged pixels": {"instances": [[[[1, 2, 3]], [[1, 2]]]]},
        }
        found |= {name: partial(client.post, body) for name, body in bodies.items()}
    return found


def check_refused(client: Any, request: Callable[[], Any]) -> str:
    """Hold a server to refusing a request and answering the next one; return its words."""
    try:
        request()
    except RefusedError as error:
        words = " ".join(str(error).split())
    else:
        raise AssertionError("was answered, not refused")
    client.predict("serve_bytes", photos()[-1:])
    return words


def load(url: str, clients: int, seconds: float) -> tuple[float, float, float, int]:
    """Send one photo at a time from several clients.

    Returns requests a second, median and 99th percentile of the answer time in seconds, failures.
    """
    file = photos()[1]
    times, failures = [], []
    end = time.perf_counter() + seconds

    def work(_: int) -> None:
        client = connect(url)
        while (start := time.perf_counter()) < end:
            try:
                client.predict("serve_bytes", [file])
                times.append(time.perf_counter() - start)
            except (RefusedError, OSError) as error:
                failures.append(error)

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(work, range(clients)))
    spent = time.perf_counter() - start
    if not times:
        raise AssertionError(f"no answer: {failures[0]}")
    median, slow = np.percentile(times, [50, 99])
    return len(times) / spent, float(median), float(slow), len(failures)


def main(argv: list[str]) -> None:
    """Run all checks and print what came of each."""
    if len(argv) != 2:
        raise app.UsageError("name the address of a model")
    client, signatures = connect(argv[1]), None
    if _SAVED.value:
        import tensorflow as tf  # noqa: PLC0415

        signatures = tf.saved_model.load(_SAVED.value).signatures
    checks: dict[str, Callable[[], Any]] = {
        "photos of different sizes": partial(check_files, client, signatures),
        "pixels of any size": partial(check_pixels, client, signatures),
    }
    for name, request in bad_requests(client).items():
        checks[name] = partial(check_refused, client, request)
    for clients in _CLIENTS.value:
        checks[f"{clients} clients"] = lambda clients=clients: (
            "{:.1f} requests/s, median {:.3f} s, p99 {:.3f} s, {} failed".format(
                *load(argv[1], clients, _SECONDS.value)
            )
        )
    rows = []
    for name, check in checks.items():
        try:
            rows.append([name, "ok", check() or ""])
        except (AssertionError, RefusedError, KeyError, OSError, ValueError) as error:
            rows.append([name, "FAILED", f"{type(error).__name__}: {error}"])
    print_table(argv[1], ["check", "", "what came"], rows)
    sys.exit(any(row[1] == "FAILED" for row in rows))


def _file(pixels: np.ndarray, form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def _hold_to(signatures: Mapping[str, Any] | None, name: str, values: Any, found: Outputs) -> None:
    """Compare answers with those of the SavedModel itself, where it is known."""
    if signatures is None:
        return
    import tensorflow as tf  # noqa: PLC0415

    (key,) = signatures[name].structured_input_signature[1]
    expected = signatures[name](**{key: tf.constant(values)})
    for n in range(len(values)):
        _same(expected, n, found, n)


def _same(expected: Outputs, place: int, found: Outputs, n: int) -> None:
    for name in ("heatmap", "logits", "score"):
        difference = np.abs(np.asarray(expected[name])[place] - np.asarray(found[name])[n]).max()
        _expect(difference < _TOLERANCE, f"{name} differs by {difference:.2g}")
    _expect(int(expected["label"][place]) == int(found["label"][n]), "another label")


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


if __name__ == "__main__":
    app.run(main)
