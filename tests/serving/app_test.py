import base64
import dataclasses
import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from fcam_tf.localization import scale_box
from fcam_tf.photos import read_photo
from fcam_tf.serving.app import make_app
from fcam_tf.serving.service import Limits, Service
from tests.serving.conftest import photo

testclient = pytest.importorskip("fastapi.testclient")


@pytest.fixture
def client():
    """Serve a model, and return a client of it once it is ready."""
    open_clients = []

    def start(load, **limits):
        ready = threading.Event()
        service = Service(load, Limits(**limits), pytest.fail, ready.set)
        client = testclient.TestClient(
            make_app(service, "tiny"), raise_server_exceptions=False, headers={"Host": "x"}
        )
        client.service, client.is_ready = service, ready
        open_clients.append(client.__enter__())
        return client

    yield start
    for each in open_clients:
        each.__exit__(None, None, None)


@pytest.fixture
def tiny(client, served):
    found = client(lambda: served, body=200_000, pixels=10_000)
    assert found.is_ready.wait(30)
    return found


def test_it_is_ready_when_the_model_is_loaded(client, served):
    may_load = threading.Event()

    def load():
        assert may_load.wait(30)
        return served

    found = client(load)
    for answer in (found.get("/healthz"), found.post("/localize", content=photo())):
        assert answer.status_code == 503
        assert answer.json() == {"error": "the model is being loaded"}
        assert answer.headers["Retry-After"] == "1"
    may_load.set()
    assert found.is_ready.wait(30)
    assert found.get("/healthz").json() == {"status": "ready"}
    for path in ("/healthz", "/"):
        answer = found.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("way", ["body", "form"])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_photo(tiny, fcam, tmp_path, way, form):
    content = photo(form=form)
    (tmp_path / "a").write_bytes(content)
    sent = {"content": content} if way == "body" else {"files": {"photo": ("../x", content)}}
    answer = tiny.post("/localize", **sent)
    assert answer.status_code == 200
    expected = fcam.localize(read_photo(tmp_path / "a", (64, 64)).pixels[None])
    label = int(expected.labels[0])
    assert answer.json() == {
        "label": label,
        "label_name": ["cat", "<b>dog</b>", "bird"][label],
        "score": pytest.approx(float(expected.scores[0]), abs=1e-5),
        "box": list(scale_box(expected.boxes[0], (64, 64), (90, 60))),
        "width": 90,
        "height": 60,
    }


def test_a_form_by_a_content_type_in_capitals(tiny):
    body = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
    headers = {"Content-Type": "Multipart/Form-Data; boundary=x"}
    content = body + photo() + b"\r\n--x--\r\n"
    assert tiny.post("/localize", content=content, headers=headers).status_code == 200


def test_errors_of_arguments_are_as_others(tiny):
    answer = tiny.post("/localize?overlay=banana", content=photo())
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("`overlay`: ")
    assert "Received: 'banana'" in answer.json()["error"]


def test_parameters_that_it_does_not_know_are_refused(tiny):
    answer = tiny.post("/localize?overlay=true&label=cat", content=photo())
    assert answer.status_code == 400
    assert answer.json() == {"error": "`parameter` is unknown: 'label'. Available: overlay."}
    assert "Did you mean 'overlay'?" in tiny.post("/localize?overlays=1", content=photo()).text


def test_compressed_bodies_are_named(tiny):
    headers = {"Content-Encoding": "GZIP"}
    for path in ("/localize", "/v1/models/tiny:predict"):
        answer = tiny.post(path, content=b"\x1f\x8b", headers=headers)
        assert answer.status_code == 415
        assert answer.json() == {"error": "the body is compressed by gzip; send it as it is"}
    headers = {"Content-Encoding": "identity"}
    assert tiny.post("/localize", content=photo(), headers=headers).status_code == 200


def test_errors_show_what_no_encoding_has(tiny):
    answer = tiny.post("/v1/models/tiny:predict", content=b'{"\\ud800": 1}')
    assert answer.status_code == 400
    assert answer.json()["error"].endswith("Received: \\ud800.")


def test_the_overlay(tiny):
    answer = tiny.post("/localize?overlay=true", content=photo()).json()
    picture = Image.open(io.BytesIO(base64.b64decode(answer["overlay"])))
    assert (picture.format, max(picture.size)) == ("PNG", 640)


def test_predict_answers_as_localize_does(tiny):
    content = photo(64, 64, "PNG")  # of the model's size, so that nothing is resized
    b64 = {"b64": base64.b64encode(content).decode()}
    body = {"signature_name": "serve_bytes", "instances": [b64]}
    (row,) = tiny.post("/v1/models/tiny:predict", json=body).json()["predictions"]
    found = tiny.post("/localize", content=content).json()
    for key in ("label", "label_name"):
        assert row[key] == found[key]
    assert row["boxes"] == found["box"]
    pixels = np.asarray(Image.open(io.BytesIO(content)))[None].tolist()
    (plain,) = tiny.post("/v1/models/tiny:predict", json={"instances": pixels}).json()[
        "predictions"
    ]
    assert plain["boxes"] == row["boxes"]


def test_what_tf_serving_says_of_a_model(tiny):
    for path in ("/v1/models/tiny", "/v1/models/tiny/versions/3"):
        assert tiny.get(path).json()["model_version_status"][0]["state"] == "AVAILABLE"
    assert tiny.get("/v1/models/tiny/metadata").json()["model_spec"]["version"] == "3"
    assert tiny.get("/v1/models/tiny/versions/4").status_code == 404


HUGE = photo(101, 100, "PNG")


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        ({"content": b""}, 400, "no photo in the request"),
        ({"content": b"text"}, 400, "not a photo"),
        ({"content": photo()[:500]}, 400, "cannot be used"),
        ({"content": HUGE}, 400, "101 x 100 pixels are more than the 0.01 million"),
        ({"content": b"x" * 200_001}, 413, "larger than 0.19"),
        ({"content": iter([b"x" * 150_000] * 2)}, 413, "larger than 0.19"),
        ({"data": {"photo": "text"}, "files": {}}, 400, "not a photo"),
        ({"files": [("a", b"1"), ("b", b"2")]}, 400, "the form cannot be read"),
        (
            {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
            *(400, "the form cannot be read"),
        ),
    ],
)
def test_bad_photos(tiny, sent, status, words):
    answer = tiny.post("/localize", **sent)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert tiny.post("/localize", content=photo()).status_code == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{", "not JSON"),
        ({"instances": []}, "takes 1 to 64"),
        ({"instances": [[[[1, 2]]]]}, "shape"),
        ({"instances": [[[[1, 2, float("nan")]]]]}, "NaN"),
        ({"signature_name": "serve_bytes", "instances": [{"b64": ""}]}, "the file is empty"),
        ({"signature_name": "serve_bytes", "instances": [{"b64": "AAAA"}]}, "not a photo"),
        (
            {
                "signature_name": "serve_bytes",
                "instances": [{"b64": base64.b64encode(HUGE).decode()}],
            },
            "101 x 100 pixels",
        ),
    ],
)
def test_bad_requests(tiny, body, words):
    text = body if isinstance(body, str) else json.dumps(body)
    answer = tiny.post("/v1/models/tiny:predict", content=text)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_unknown_paths(tiny):
    assert tiny.get("/v1/models/other").status_code == 404
    assert tiny.get("/../../etc/passwd").json() == {"error": "GET /etc/passwd: Not Found"}
    answer = tiny.get("/localize")
    assert (answer.status_code, answer.json()) == (
        405,
        {"error": "GET /localize: Method Not Allowed"},
    )


def test_what_fails_here_is_no_fault_of_the_request(client, fake):
    def broken(**_):
        raise RuntimeError("out of order")

    signature = dataclasses.replace(fake.signatures["serve_uint8"], function=broken)
    found = client(lambda: dataclasses.replace(fake, signatures={"serve_uint8": signature}))
    assert found.is_ready.wait(30)
    answer = found.post("/localize", content=photo())
    assert (answer.status_code, answer.json()) == (
        500,
        {"error": "the server failed; its log says why"},
    )


def held(fake):
    """Return a model that answers when an event is set, and that event."""
    go, free = threading.Event(), fake.signatures["serve_uint8"]

    def function(images):
        assert go.wait(30)
        return free.function(images)

    signature = dataclasses.replace(free, function=function)
    return dataclasses.replace(fake, signatures={"serve_uint8": signature}), go


BODY = {"signature_name": "serve_uint8", "instances": [[[[1, 2, 3]]]]}


def test_more_than_may_wait_are_sent_away(client, fake):
    model, go = held(fake)
    found = client(lambda: model, waiting=2, timeout=60)
    assert found.is_ready.wait(30)

    def ask(_=None):
        return found.post("/v1/models/tiny:predict", json=BODY)

    with ThreadPoolExecutor(2) as pool:
        begun = [pool.submit(ask) for _ in range(2)]
        while found.service._waiting < 2:
            time.sleep(0.01)
        refused = ask()
        go.set()
        answered = [future.result(30) for future in begun]
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert refused.json() == {"error": "2 requests wait already; try again later"}
    assert [answer.json() for answer in answered] == [{"predictions": [{"mean": 2.0}]}] * 2
    assert ask().status_code == 200


def test_what_takes_too_long_is_given_up(client, fake):
    model, go = held(fake)
    found = client(lambda: model, timeout=0.2)
    assert found.is_ready.wait(30)
    answer = found.post("/v1/models/tiny:predict", json=BODY)
    assert (answer.status_code, answer.json()) == (
        504,
        {"error": "there was no answer within 0.2 seconds"},
    )
    go.set()
    assert found.service._waiting == 0


def test_metrics(tiny):
    tiny.post("/localize", content=photo())
    tiny.post("/localize", content=b"")
    tiny.get("/nowhere/at/all")
    text = tiny.get("/metrics").text
    assert 'fcam_requests_total{path="/localize",status="200"} 1.0' in text
    assert 'fcam_requests_total{path="/localize",status="400"} 1.0' in text
    assert 'fcam_requests_total{path="other",status="404"} 1.0' in text
    assert "fcam_batch_rows_count 1.0" in text
    assert "fcam_requests_waiting 0.0" in text


def test_the_page_loads_nothing_from_elsewhere(tiny):
    answer = tiny.get("/")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "<h1>tiny</h1>" in answer.text
    assert "//" not in answer.text.replace("// another", "").replace("// so", "")
    assert tiny.get("/docs").status_code == 404
