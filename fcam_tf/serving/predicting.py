"""The predict API of TensorFlow Serving: its requests and answers as JSON."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fcam_tf.serving.errors import BadRequestError

if TYPE_CHECKING:
    from fcam_tf.serving.served import Served, Signature

MOST_ROWS = 64  # of a request; each photo is decoded to the model's size


def read_request(served: Served, body: bytes) -> tuple[str, np.ndarray, bool]:
    """Return the signature that a request names, its rows, and whether they are columns.

    Args:
        served: the model.
        body: JSON, ``{"signature_name": ..., "instances": [...]}``, or ``"inputs"`` for columns;
            binary values are ``{"b64": ...}``.

    Raises:
        BadRequestError: the request is at fault.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the request is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise BadRequestError(
            f"a request must be a JSON object. Received: {type(request).__name__}."
        )
    if ("instances" in request) == ("inputs" in request):
        raise BadRequestError(
            "a request must have one of 'instances' and 'inputs'. Received: "
            f"{', '.join(request)[:200] or 'neither'}."
        )
    name = request.get("signature_name") or "serving_default"
    if not isinstance(name, str) or name not in served.signatures:
        raise BadRequestError(
            f"signature_name is unknown: {str(name)[:100]!r}. Available: "
            f"{', '.join(served.signatures)}."
        )
    signature, in_columns = served.signatures[name], "inputs" in request
    values = request["inputs" if in_columns else "instances"]
    values = _named(values, signature.key) if in_columns else values
    if not isinstance(values, list) or not 0 < len(values) <= MOST_ROWS:
        what = f"{len(values)}" if isinstance(values, list) else type(values).__name__
        raise BadRequestError(f"a request takes 1 to {MOST_ROWS} images. Received: {what}.")
    if not in_columns:
        values = [_named(value, signature.key) for value in values]
    if signature.spec.dtype.name == "string":
        values = [_decoded(value) for value in values]
    return name, signature.rows(values), in_columns


def answer_json(found: Mapping[str, np.ndarray], *, in_columns: bool) -> bytes:
    """Return the answer in rows, ``{"predictions": [{output: value}]}``, or in columns.

    Outputs whose names end with ``_bytes`` are ``{"b64": ...}``.
    """
    columns = {name: _encoded(name, values) for name, values in found.items()}
    if in_columns:
        return json.dumps({"outputs": columns}).encode()
    rows = zip(*columns.values(), strict=True)
    return json.dumps(
        {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}
    ).encode()


def status_json(served: Served) -> dict[str, Any]:
    """Return what TensorFlow Serving says of a model that is there."""
    status = {"error_code": "OK", "error_message": ""}
    return {
        "model_version_status": [
            {"version": served.version, "state": "AVAILABLE", "status": status}
        ]
    }


def metadata_json(name: str, served: Served) -> dict[str, Any]:
    """Return the signatures of a model as TensorFlow Serving describes them."""
    return {
        "model_spec": {"name": name, "signature_name": "", "version": served.version},
        "metadata": {
            "signature_def": {
                "signature_def": {key: _described(s) for key, s in served.signatures.items()}
            }
        },
    }


def _described(signature: Signature) -> dict[str, Any]:
    def tensor(name: str, spec: Any) -> dict[str, Any]:
        # Protocol buffers have 64-bit numbers as text in JSON.
        sides = [{"size": str(-1 if side is None else side), "name": ""} for side in spec.shape]
        kind = f"DT_{'FLOAT' if spec.dtype.name == 'float32' else spec.dtype.name.upper()}"
        return {
            "dtype": kind,
            "tensor_shape": {"dim": sides, "unknown_rank": False},
            "name": name,
        }

    return {
        "inputs": {signature.key: tensor(signature.key, signature.spec)},
        "outputs": {name: tensor(name, spec) for name, spec in signature.outputs.items()},
        "method_name": "tensorflow/serving/predict",
    }


def _named(value: Any, key: str) -> Any:
    return value[key] if isinstance(value, dict) and key in value else value


def _decoded(value: Any) -> bytes:
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise BadRequestError('a file must be {"b64": "..."}, in base64.') from None


def _encoded(name: str, values: np.ndarray) -> list[Any]:
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(value).decode()} for value in values]
    if values.dtype == object:
        return [value.decode() for value in values]
    return values.tolist()
