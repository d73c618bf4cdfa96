"""Check a server of an exported model: right answers, bad requests refused, and how fast.

    python tools/serve_check.py http://localhost:8501/v1/models/fcam --saved_model serving/fcam/1
    python tools/serve_check.py grpc://localhost:8500/fcam --clients 4 --seconds 20

The server is TensorFlow Serving or whatever speaks its REST predict format or its gRPC
PredictionService. Exit status: 0 all is well, 1 a check failed.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import requests
from absl import app, flags
from PIL import Image
from rich.console import Console
from rich.table import Table
from skimage import data

_SAVED = flags.DEFINE_string("saved_model", None, "what is served, to compare answers with")
_CLIENTS = flags.DEFINE_multi_integer("clients", [], "clients at once to measure the speed with")
_SECONDS = flags.DEFINE_float("seconds", 10, "for each number of clients")

Outputs = Mapping[str, np.ndarray]
_TOLERANCE = 1e-3
_TIMEOUT = 120
# What gRPC has for 4xx; TensorFlow Serving says the second of an unknown signature.
_REFUSALS = {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND"}


class RefusedError(Exception):
    """The server says that a request is at fault, as it should of a bad one."""


class Rest:
    """A client of the REST predict API.

    Args:
        url: of the model, ``http://host:8501/v1/models/fcam``.
    """

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}:predict"
        self._session = requests.Session()

    def predict(self, signature: str, values: Any) -> Outputs:
        """Return the outputs for a batch of images or files.

        Raises:
            RefusedError: the server refuses it.
            OSError: the server fails, or there is none.
        """
        rows = [_b64(v) if isinstance(v, bytes) else np.asarray(v).tolist() for v in values]
        rows = self.post({"signature_name": signature, "instances": rows})["predictions"]
        return {name: _column([row[name] for row in rows]) for name in rows[0]}

    def post(self, body: Any) -> Any:
        """Send any body; text is sent as it is.

        Raises:
            RefusedError: the server refuses it.
            OSError: the server fails, or there is none.
        """
        # Not by `json=`, which knows no NaN; TensorFlow Serving does.
        text = body if isinstance(body, str) else json.dumps(body)
        headers = {"Content-Type": "application/json"}
        response = self._session.post(self._url, text, headers=headers, timeout=_TIMEOUT)
        if response.status_code >= requests.codes.server_error:
            raise OSError(f"{response.status_code} {response.text[:200]}")
        if response.status_code >= requests.codes.bad_request:
            raise RefusedError(f"{response.status_code} {response.text[:200]}")
        return response.json()


class Grpc:
    """A client of the gRPC PredictionService; needs tensorflow-serving-api.

    Args:
        url: ``grpc://host:8500/fcam``.
    """

    def __init__(self, url: str) -> None:
        import grpc  # noqa: PLC0415
        from tensorflow_serving.apis import prediction_service_pb2_grpc  # noqa: PLC0415

        address, _, self._name = url.removeprefix("grpc://").partition("/")
        limits = [(f"grpc.max_{way}_message_length", 2**28) for way in ("send", "receive")]
        channel = grpc.insecure_channel(address, options=limits)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._error = grpc.RpcError

    def predict(self, signature: str, values: Any) -> Outputs:
        """See `Rest.predict`."""
        import tensorflow as tf  # noqa: PLC0415
        from tensorflow_serving.apis import predict_pb2  # noqa: PLC0415

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._name
        request.model_spec.signature_name = signature
        key = "image_bytes" if signature == "serve_bytes" else "images"
        request.inputs[key].CopyFrom(tf.make_tensor_proto(values))
        try:
            response = self._stub.Predict(request, timeout=_TIMEOUT)
        except self._error as error:
            words = f"{error.code().name} {error.details()[:200]}"
            if error.code().name in _REFUSALS:
                raise RefusedError(words) from None
            raise OSError(words) from None
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}


def photos() -> list[bytes]:
    """Return files of different sizes and formats."""
    cat, cup = data.chelsea(), data.coffee()
    return [_file(cat, "PNG"), _file(cup, "JPEG"), _file(cat[::2, ::3], "JPEG")]


def check_files(client: Any, signatures: Mapping[str, Any] | None = None) -> None:
    """Ask for photos of different sizes at once, and hold the answers to what they must be."""
    files = photos()
    found = client.predict("serve_bytes", files)
    for n, file in enumerate(files):
        with Image.open(io.BytesIO(file)) as photo:
            width, height = photo.size
        with Image.open(io.BytesIO(found["mask_bytes"][n])) as mask:
            _expect(mask.size == (width, height), f"mask of {mask.size}, photo of {photo.size}")
        x0, y0, x1, y1 = (int(side) for side in found["boxes"][n])
        none = (x0, y0, x1, y1) == (0, 0, -1, -1)
        _expect(none or 0 <= x0 <= x1 < width, f"box {x0}..{x1} in a photo {width} wide")
        _expect(none or 0 <= y0 <= y1 < height, f"box {y0}..{y1} in a photo {height} high")
        heatmap = np.asarray(found["heatmap"][n])
        _expect(bool(np.all((heatmap >= 0) & (heatmap <= 1))), "a heat map outside [0, 1]")
        logits = np.asarray(found["logits"][n], float)
        weights = np.exp(logits - logits.max())
        _expect(int(found["label"][n]) == int(logits.argmax()), "a label that is not the largest")
        _expect(
            abs(weights.max() / weights.sum() - found["score"][n]) < _TOLERANCE,
            "score is no softmax",
        )
    for n, file in enumerate(files):
        alone = client.predict("serve_bytes", [file])
        _same({name: values[:1] for name, values in alone.items()}, found, n)
    _hold_to(signatures, "serve_bytes", files, found)


def check_pixels(client: Any, signatures: Mapping[str, Any] | None = None) -> None:
    """Ask for arrays at a size that is no multiple of anything."""
    images = np.stack([data.chelsea()[:67, :93], data.coffee()[100:167, 200:293]])
    found = client.predict("serving_default", images.astype(np.float32))
    _expect(np.asarray(found["heatmap"]).shape == (2, 67, 93), "heat maps of another size")
    _hold_to(signatures, "serving_default", images.astype(np.float32), found)


def bad_requests(client: Any) -> dict[str, Callable[[], Any]]:
    """Return requests that must be refused, by what is wrong with them."""
    good = photos()[0]
    nan = np.full((1, 64, 64, 3), np.nan, np.float32)
    huge = io.BytesIO()
    Image.new("L", (12_000, 12_000)).save(huge, "PNG")

    def files(*contents: bytes) -> Callable[[], Any]:
        return lambda: client.predict("serve_bytes", list(contents))

    requests_ = {
        "empty file": files(b""),
        "garbage": files(b"this is no photo"),
        "truncated": files(good[: len(good) // 2]),
        "huge photo": files(huge.getvalue()),
        "one bad among good": files(good, b"garbage"),
        "NaN pixels": lambda: client.predict("serving_default", nan),
        "two channels": lambda: client.predict("serving_default", np.zeros((1, 64, 64, 2), "f4")),
        "no batch": lambda: client.predict("serving_default", np.zeros((64, 64, 3), "f4")),
        "five axes": lambda: client.predict("serving_default", np.zeros((1, 1, 64, 64, 3), "f4")),
        "empty batch": lambda: client.predict("serving_default", np.zeros(0, "f4")),
        "no files": lambda: client.predict("serve_bytes", np.zeros(0, "S1")),
        "text for pixels": lambda: client.predict("serving_default", [b"text"]),
        "unknown signature": lambda: client.predict("serve_nothing", [good]),
    }
    if isinstance(client, Rest):
        requests_ |= {
            "no JSON": lambda: client.post("{"),
            "no object": lambda: client.post([]),
            "no instances": lambda: client.post({}),
            "no base64": lambda: client.post(
                {"signature_name": "serve_bytes", "instances": [{"b64": "%%%"}]}
            ),
            "ragged pixels": lambda: client.post({"instances": [[[[1, 2, 3]], [[1, 2]]]]}),
        }
    return requests_


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

    Returns:
        Requests a second, median and 99th percentile of the answer time in seconds, failures.
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


def connect(url: str) -> Rest | Grpc:
    """Return the client for an address."""
    return Grpc(url) if url.startswith("grpc://") else Rest(url)


def main(argv: list[str]) -> None:
    """Run all checks and print what came of each."""
    if len(argv) != 2:
        raise app.UsageError("name the address of a model")
    url = argv[1]
    client = connect(url)
    signatures = None
    if _SAVED.value:
        import tensorflow as tf  # noqa: PLC0415

        signatures = tf.saved_model.load(_SAVED.value).signatures
    checks: dict[str, Callable[[], Any]] = {
        "photos of different sizes": lambda: check_files(client, signatures),
        "pixels of any size": lambda: check_pixels(client, signatures),
    }
    for name, request in bad_requests(client).items():
        checks[name] = lambda request=request: check_refused(client, request)
    for clients in _CLIENTS.value:
        checks[f"{clients} clients"] = lambda clients=clients: (
            "{:.1f} requests/s, median {:.3f} s, p99 {:.3f} s, {} failed".format(
                *load(url, clients, _SECONDS.value)
            )
        )
    table = Table("check", "", "what came")
    failed = 0
    for name, check in checks.items():
        try:
            table.add_row(name, "ok", check() or "")
        except (AssertionError, RefusedError, KeyError, OSError, ValueError) as error:
            failed += 1
            table.add_row(name, "FAILED", f"{type(error).__name__}: {error}")
    Console().print(table)
    sys.exit(int(failed > 0))


def _file(pixels: np.ndarray, form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def _b64(content: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(content).decode()}


def _column(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return [base64.b64decode(value["b64"]) for value in values]
    return np.asarray(values)


def _hold_to(signatures: Mapping[str, Any] | None, name: str, values: Any, found: Outputs) -> None:
    """Compare answers with those of the SavedModel itself, where it is known."""
    if signatures is None:
        return
    import tensorflow as tf  # noqa: PLC0415

    (key,) = signatures[name].structured_input_signature[1]
    expected = signatures[name](**{key: tf.constant(values)})
    for n in range(len(values)):
        _same({name: value[n : n + 1].numpy() for name, value in expected.items()}, found, n)


def _same(expected: Outputs, found: Outputs, n: int) -> None:
    for name in ("heatmap", "logits", "score"):
        difference = np.abs(np.asarray(expected[name][0]) - np.asarray(found[name][n])).max()
        _expect(difference < _TOLERANCE, f"{name} differs by {difference:.2g}")
    _expect(int(expected["label"][0]) == int(found["label"][n]), "another label")


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


if __name__ == "__main__":
    app.run(main)
