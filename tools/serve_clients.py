"""Clients of a server of an exported model: the REST and gRPC formats of TensorFlow Serving."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import requests

Outputs = Mapping[str, Any]  # arrays, or bytes of files, by name
_TIMEOUT = 120
# What gRPC has for 4xx; TensorFlow Serving says the second of an unknown signature.
_REFUSALS = {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND"}


class RefusedError(Exception):
    """The server says that a request is at fault, as it should of a bad one."""


class Rest:
    """A client of the REST predict API of a model, ``http://host:8501/v1/models/fcam``."""

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}:predict"
        self._session = requests.Session()

    def predict(self, signature: str, values: Any) -> Outputs:
        """Return the outputs for a batch of images or files; errors as of `post`."""
        rows = [b64(v) if isinstance(v, bytes) else np.asarray(v).tolist() for v in values]
        rows = self.post({"signature_name": signature, "instances": rows})["predictions"]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        return {
            name: [base64.b64decode(value["b64"]) for value in column]
            if isinstance(column[0], dict)
            else np.asarray(column)
            for name, column in columns.items()
        }

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
    """A client of the gRPC PredictionService, ``grpc://host:8500/fcam``."""

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


def connect(url: str) -> Rest | Grpc:
    """Return the client for an address."""
    return Grpc(url) if url.startswith("grpc://") else Rest(url)


def b64(content: bytes) -> dict[str, str]:
    """Return a file as JSON has it."""
    return {"b64": base64.b64encode(content).decode()}
