import base64
import json

import numpy as np
import pytest

from fcam_tf.serving import predicting
from fcam_tf.serving.errors import BadRequestError
from tests.serving.conftest import photo

PIXELS = np.full((2, 4, 5, 3), 7).tolist()


def read(served, request):
    return predicting.read_request(served, json.dumps(request).encode())


def b64(content):
    return {"b64": base64.b64encode(content).decode()}


@pytest.mark.parametrize(
    "request_",
    [
        {"instances": PIXELS},
        {"instances": [{"images": image} for image in PIXELS]},
        {"inputs": PIXELS},
        {"inputs": {"images": PIXELS}},
    ],
)
def test_rows_and_columns(served, request_):
    name, rows, in_columns = read(served, request_)
    assert name == "serving_default"
    assert rows.shape == (2, 4, 5, 3)
    assert rows.dtype == "float32"
    assert in_columns == ("inputs" in request_)


def test_files(served):
    request = {
        "signature_name": "serve_bytes",
        "instances": [b64(b"one"), {"image_bytes": b64(b"")}],
    }
    name, rows, _ = read(served, request)
    assert name == "serve_bytes"
    assert rows.tolist() == [b"one", b""]


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "must be a JSON object. Received: list"),
        (b"{}", "one of 'instances' and 'inputs'. Received: neither"),
        (b'{"instances": [], "inputs": []}', "one of"),
        (b'{"instances": []}', "takes 1 to 64 images. Received: 0"),
        (b'{"instances": 5}', "Received: int"),
        (b'{"instances": [' + b"1," * 64 + b"1]}", "Received: 65"),
        (b'{"instances": [[[[1,2,3]],[[1,2]]]]}', "numbers of one shape"),
        (b'{"instances": ["text"]}', "numbers of one shape"),
        (b'{"instances": [[[["1","2","3"]]]]}', "numbers of one shape. Received: <U1"),
        (b'{"instances": [[[[null,2,3]]]]}', "numbers of one shape. Received: object"),
        (b'{"signature_name": "other", "instances": [1]}', "'other'. Available: serv"),
        (b'{"signature_name": ["x"], "instances": [1]}', "unknown"),
        (b'{"signature_name": "serve_bytes", "instances": ["x"]}', "in base64"),
        (b'{"signature_name": "serve_bytes", "instances": [{"b64": "%"}]}', "in base64"),
        (b'{"signature_name": "serve_bytes", "instances": [{"b64": 5}]}', "in base64"),
        (b'{"signature_name": "serve_uint8", "instances": [[[[0,256,7]]]]}', "from 0 to 256"),
        (b'{"signature_name": "serve_uint8", "instances": [[[[-1,0,0]]]]}', "from -1 to 0"),
        (b'{"signature_name": "serve_uint8", "instances": [[[[0.5,1,2]]]]}', "whole numbers"),
    ],
)
def test_bad_requests_are_named_so(served, body, match):
    with pytest.raises(BadRequestError, match=match):
        predicting.read_request(served, body)


def test_answers(served):
    request = {"signature_name": "serve_bytes", "instances": [b64(photo()), b64(photo(30, 40))]}
    name, rows, _ = read(served, request)
    found = served.signatures[name](rows)
    predictions = json.loads(predicting.answer_json(found, in_columns=False))["predictions"]
    columns = json.loads(predicting.answer_json(found, in_columns=True))["outputs"]
    assert {key: [row[key] for row in predictions] for key in predictions[0]} == columns
    assert base64.b64decode(columns["mask_bytes"][0]["b64"]) == found["mask_bytes"][0]
    assert columns["label_name"][1] == ["cat", "<b>dog</b>", "bird"][columns["label"][1]]
    np.testing.assert_allclose(columns["heatmap"], found["heatmap"])


@pytest.mark.parametrize("shape", [(48, 48), (0, 4, 4, 3)[1:3], (4, 4, 2), (1, 4, 4, 3)])
def test_a_graph_refuses_other_shapes(served, shape):
    with pytest.raises(BadRequestError, match="shape"):
        served.signatures["serving_default"](np.zeros((1, *shape), "f4"))


def test_a_graph_refuses_nan(served):
    # All of the message: without the node, and the calls, of TensorFlow's own text.
    with pytest.raises(BadRequestError, match=r"^images : Tensor had NaN values$"):
        served.signatures["serving_default"](np.full((1, 4, 4, 3), np.nan, "f4"))


def test_what_a_model_is(served):
    (status,) = predicting.status_json(served)["model_version_status"]
    assert (status["version"], status["state"]) == ("3", "AVAILABLE")
    told = predicting.metadata_json("tiny", served)
    assert told["model_spec"] == {"name": "tiny", "signature_name": "", "version": "3"}
    signatures = told["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "serve_uint8", "serve_bytes"}
    images = signatures["serving_default"]["inputs"]["images"]
    assert images["dtype"] == "DT_FLOAT"
    assert [side["size"] for side in images["tensor_shape"]["dim"]] == ["-1", "-1", "-1", "3"]
    assert signatures["serve_bytes"]["outputs"]["mask_bytes"]["dtype"] == "DT_STRING"
