"""Serve an exported model, in the formats of TensorFlow Serving, where that cannot be had.

    python tools/serve.py --model serving/fcam/1 --name fcam

answers POST /v1/models/fcam:predict (kserve's server) and the gRPC PredictionService. It runs what
is in the SavedModel and nothing of ours. For one machine and a trial: no batching, no versions.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

_MODEL = flags.DEFINE_string("model", None, "version folder of a SavedModel")
_NAME = flags.DEFINE_string("name", "fcam", "name to serve it under")
_REST = flags.DEFINE_integer("rest_port", 8501, "port for HTTP")
_GRPC = flags.DEFINE_integer("grpc_port", 8500, "port for gRPC; 0 for none")

BAD_REQUEST = (KeyError, TypeError, ValueError, tf.errors.InvalidArgumentError)
_LARGEST = 2**28  # bytes of a gRPC message


def answer(signatures: Mapping[str, Any], request: Any) -> dict[str, Any]:
    """Answer a predict request in TF Serving's row or column format.

    Args:
        signatures: of the SavedModel, each with one input.
        request: ``{"signature_name": ..., "instances": [...]}``, or ``"inputs"`` for columns, or
            the bytes of its JSON; binary values are ``{"b64": ...}``.

    Returns:
        ``{"predictions": [{output: value}, ...]}``, one for each instance, or for columns
        ``{"outputs": {output: values}}``; outputs whose names end with ``_bytes`` are
        ``{"b64": ...}``.

    Raises:
        KeyError, TypeError, ValueError, tf.errors.InvalidArgumentError: a bad request.
    """
    if isinstance(request, bytes):  # sent as another type of content, as curl does
        request = json.loads(request)
    if not isinstance(request, dict):
        raise TypeError(f"a request must be a JSON object. Received: {type(request).__name__}.")
    if ("instances" in request) == ("inputs" in request):
        raise ValueError(
            f"a request must have one of `instances` and `inputs`. Received: {list(request)}."
        )
    signature = signatures[request.get("signature_name", "serving_default")]
    ((key, spec),) = signature.structured_input_signature[1].items()
    if "inputs" in request:
        values = _named(request["inputs"], key)
    else:
        values = [_named(row, key) for row in request["instances"]]
    found = signature(**{key: _tensor(values, spec.dtype)})
    columns = {
        name: [{"b64": base64.b64encode(value).decode()} for value in values.numpy()]
        if name.endswith("_bytes")
        else values.numpy().tolist()
        for name, values in found.items()
    }
    if "inputs" in request:
        return {"outputs": columns}
    return {
        "predictions": [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
    }


def _named(value: Any, key: str) -> Any:
    return value[key] if isinstance(value, dict) and key in value else value


def _tensor(values: Any, dtype: tf.DType) -> tf.Tensor:
    if dtype == tf.string:
        return tf.constant([base64.b64decode(v["b64"], validate=True) for v in values], dtype)
    if dtype == tf.uint8:  # which TensorFlow would take modulo 256
        numbers = np.asarray(values)
        if numbers.min(initial=0) < 0 or numbers.max(initial=0) > 255:
            raise ValueError(
                "`images` must be in [0, 255]. "
                f"Received: values from {numbers.min()} to {numbers.max()}."
            )
    return tf.constant(values, dtype)


def grpc_server(signatures: Mapping[str, Any], port: int) -> Any:
    """Start the PredictionService in threads of this process.

    Args:
        signatures: of the SavedModel.
        port: where to listen.
    """
    import grpc  # noqa: PLC0415 - with tensorflow-serving-api
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc  # noqa: PLC0415

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
            try:
                signature = signatures[request.model_spec.signature_name or "serving_default"]
                values = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
                found = signature(**values)
            except BAD_REQUEST as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            response = predict_pb2.PredictResponse(model_spec=request.model_spec)
            for name, value in found.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            return response

    limits = [(f"grpc.max_{way}_message_length", _LARGEST) for way in ("send", "receive")]
    server = grpc.server(ThreadPoolExecutor(4), options=limits)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server


def main(argv: list[str]) -> None:
    """Load the model and serve it until interrupted."""
    if len(argv) > 1 or not _MODEL.value:
        raise app.UsageError("--model names what to serve")
    import sys  # noqa: PLC0415

    sys.argv = sys.argv[:1]  # kserve reads flags of its own when it is imported
    import kserve  # noqa: PLC0415
    from kserve.errors import InvalidInput  # noqa: PLC0415

    signatures = tf.saved_model.load(_MODEL.value).signatures

    class Served(kserve.Model):
        def load(self) -> bool:
            self.ready = True
            return True

        def predict(self, payload: Any, *_: Any, **__: Any) -> dict[str, Any]:
            try:
                return answer(signatures, payload)
            except BAD_REQUEST as error:
                raise InvalidInput(str(error)) from None

    served = Served(_NAME.value)
    served.load()
    grpc = grpc_server(signatures, _GRPC.value) if _GRPC.value else None
    try:
        kserve.ModelServer(http_port=_REST.value, enable_grpc=False, workers=1).start([served])
    finally:
        if grpc is not None:
            grpc.stop(None)


if __name__ == "__main__":
    app.run(main)
