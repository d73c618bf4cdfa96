import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import serve_clients

from tools import serve, serve_check


@pytest.fixture
def rest():
    """Serve what a function answers, and give the address."""
    servers = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    status, found = 200, answer(json.loads(body))
                except serve.BAD_REQUEST as error:
                    status, found = 400, {"error": str(error)}
                except RuntimeError as error:
                    status, found = 500, {"error": str(error)}
                content = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/v1/models/tiny"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def grpc():
    """Serve signatures, and give the address."""
    pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    servers = []

    def start(signatures):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        servers.append(serve.grpc_server(signatures, port))
        return f"grpc://127.0.0.1:{port}/tiny"

    yield start
    for server in servers:
        server.stop(None).wait()


def everything(client, signatures):
    serve_check.check_files(client, signatures)
    serve_check.check_pixels(client, signatures)
    for name, request in serve_check.bad_requests(client).items():
        assert serve_check.check_refused(client, request), name


@pytest.mark.slow
def test_rest(rest, signatures):
    everything(serve_clients.connect(rest(lambda r: serve.answer(signatures, r))), signatures)


def test_grpc(grpc, signatures):
    everything(serve_clients.connect(grpc(signatures)), signatures)


def test_columns_are_those_of_the_rows(signatures):
    body = {"signature_name": "serve_bytes"}
    files = [serve_clients.b64(file) for file in serve_check.photos()]
    rows = serve.answer(signatures, {**body, "instances": files})["predictions"]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert serve.answer(signatures, {**body, "inputs": files}) == {"outputs": columns}
    text = json.dumps({**body, "inputs": files}).encode()
    assert serve.answer(signatures, text) == {"outputs": columns}
    named = {"image_bytes": files}
    assert serve.answer(signatures, {**body, "inputs": named}) == {"outputs": columns}


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        ([], "JSON object"),
        ("text", "JSON object"),
        (b"text", "."),
        ({}, "one of `instances` and `inputs`"),
        ({"instances": [], "inputs": []}, "one of `instances` and `inputs`"),
        ({"signature_name": "serve_uint8", "instances": [[[[0, 256, 7]]]]}, "from 0 to 256"),
        ({"signature_name": "serve_uint8", "inputs": [[[[-1, 0, 0]]]]}, "from -1 to 0"),
        ({"signature_name": "serve_uint8", "instances": []}, "expected shape"),
        ({"signature_name": "serve_uint8", "instances": [[[[0.5, 1, 2]]]]}, "."),
        ({"signature_name": "serve_uint8", "instances": ["text"]}, "."),
        ({"signature_name": ["serve_uint8"], "instances": []}, "."),
        ({"signature_name": "serve_bytes", "inputs": {"b64": ""}}, "."),
        ({"instances": 5}, "."),
    ],
)
def test_bad_requests_are_named_so(signatures, request_, match):
    with pytest.raises(serve.BAD_REQUEST, match=match):
        serve.answer(signatures, request_)


def broken(*_, **__):
    raise RuntimeError("out of order")


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_a_server_that_fails_has_not_refused(way, request):
    start = request.getfixturevalue(way)
    client = serve_clients.connect(start(broken if way == "rest" else {"serve_bytes": broken}))
    with pytest.raises(OSError, match="out of order"):
        serve_check.check_refused(client, serve_check.bad_requests(client)["garbage"])


def test_load(rest, signatures):
    url = rest(lambda r: serve.answer(signatures, r))
    rate, median, slow, failures = serve_check.load(url, 2, 0.3)
    assert rate > 0
    assert 0 < median <= slow
    assert failures == 0


def shifted(row):
    return {**row, "boxes": [side + 500 for side in row["boxes"]]}


def loud(row):
    return {**row, "score": 1.5}


def other(row):
    return {**row, "logits": row["logits"][::-1]}


@pytest.mark.parametrize("change", [shifted, loud, other])
def test_wrong_answers_are_found(rest, signatures, change):
    def answer(request):
        return {
            "predictions": [change(r) for r in serve.answer(signatures, request)["predictions"]]
        }

    with pytest.raises(AssertionError):
        serve_check.check_files(serve_clients.connect(rest(answer)), signatures)


def test_a_server_that_answers_anything_is_found(rest, signatures):
    good = serve.answer(
        signatures,
        {
            "signature_name": "serve_bytes",
            "instances": [serve_clients.b64(serve_check.photos()[0])],
        },
    )
    client = serve_clients.connect(rest(lambda _: good))
    bad = serve_check.bad_requests(client)
    del bad["no JSON"]  # which this test's server refuses before it is asked
    for request in bad.values():
        with pytest.raises(AssertionError, match="not refused"):
            serve_check.check_refused(client, request)
