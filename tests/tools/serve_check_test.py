import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import tensorflow as tf

from fcam_tf.export import export
from fcam_tf.models import FCAM
from tests.models.tiny import tiny_classifier
from tools import serve, serve_check


@pytest.fixture(scope="module")
def signatures(tmp_path_factory):
    model = FCAM.from_classifier(tiny_classifier(), decoder_filters=(8, 6, 4))
    model.input_size = 64
    return tf.saved_model.load(str(export(model, tmp_path_factory.mktemp("m") / "1"))).signatures


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
def grpc_url(signatures):
    pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = serve.grpc_server(signatures, port)
    yield f"grpc://127.0.0.1:{port}/tiny"
    server.stop(None).wait()


def everything(client, signatures):
    serve_check.check_files(client, signatures)
    serve_check.check_pixels(client, signatures)
    for name, request in serve_check.bad_requests(client).items():
        assert serve_check.check_refused(client, request), name


def test_rest(rest, signatures):
    everything(serve_check.connect(rest(lambda r: serve.answer(signatures, r))), signatures)


def test_grpc(grpc_url, signatures):
    everything(serve_check.connect(grpc_url), signatures)


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
        serve_check.check_files(serve_check.connect(rest(answer)), signatures)


def test_a_server_that_answers_anything_is_found(rest, signatures):
    good = serve.answer(
        signatures,
        {"signature_name": "serve_bytes", "instances": [serve_check._b64(serve_check.photos()[0])]},
    )
    client = serve_check.connect(rest(lambda _: good))
    bad = serve_check.bad_requests(client)
    del bad["no JSON"]  # which this test's server refuses before it is asked
    for request in bad.values():
        with pytest.raises(AssertionError, match="not refused"):
            serve_check.check_refused(client, request)
