"""What is served: the signatures of a SavedModel, or of a model that Keras has in memory."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from fcam_tf.answers import BYTES, LABELS, Answers
from fcam_tf.export import EXTRA
from fcam_tf.serving.errors import BadRequestError
from fcam_tf.serving.uploads import PIXELS

# Ends what TensorFlow puts before its message: the calls that made the node, or that it lacks them.
_TRACE = r"<stack traces unavailable>\n|\n\n(?!  File )"
_RAGGED = (TypeError, ValueError, OverflowError)


@dataclasses.dataclass(frozen=True)
class Signature:
    """A function that answers rows, see `fcam_tf.export.export`.

    Attributes:
        key: name of its input.
        spec: dtype and shape of its input.
        outputs: dtype and shape of each output, the batch among them.
    """

    key: str
    spec: tf.TensorSpec
    outputs: Mapping[str, tf.TensorSpec]
    function: Callable[..., Mapping[str, Any]]

    def __call__(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Answer rows (n, ...), as `rows` makes them.

        Raises:
            BadRequestError: they are no images.
        """
        try:
            found = self.function(**{self.key: tf.constant(rows, self.spec.dtype)})
        except tf.errors.InvalidArgumentError as error:
            raise BadRequestError(_words(error)) from None
        return {name: value.numpy() for name, value in found.items()}

    def rows(self, values: Any) -> np.ndarray:
        """Return values of JSON, or files as bytes, as an array (n, ...).

        Raises:
            BadRequestError: they are ragged, of another kind, or pixels outside [0, 255] where the
                input is of bytes, which would be taken modulo 256.
        """
        if not isinstance(values, list):
            raise BadRequestError(f"instances must be a list. Received: {type(values).__name__}.")
        if self.spec.dtype == tf.string:
            found = np.empty(len(values), object)
            found[:] = values
            return found
        try:
            numbers = np.asarray(values)
        except _RAGGED as error:
            raise BadRequestError(f"{self.key} must be numbers of one shape: {error}") from None
        if self.spec.dtype != tf.uint8:
            if numbers.size and numbers.dtype.kind not in "iuf":  # "7" would be converted, too
                raise BadRequestError(
                    f"{self.key} must be numbers of one shape. Received: {numbers.dtype}."
                )
            with np.errstate(over="ignore"):  # the graph refuses what is not finite
                return numbers.astype(np.float32)
        if numbers.size and numbers.dtype.kind not in "iu":
            raise BadRequestError(f"{self.key} must be whole numbers. Received: {numbers.dtype}.")
        if numbers.min(initial=0) < 0 or numbers.max(initial=0) > 255:
            raise BadRequestError(
                f"{self.key} must be in [0, 255]. Received: values from {numbers.min()} to "
                f"{numbers.max()}."
            )
        return numbers.astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Served:
    """A model that answers.

    Attributes:
        signatures: by name.
        sides: (height, width) that photos are resized to.
        class_names: in the order of the labels, or None.
        version: as TensorFlow Serving has it.
    """

    signatures: Mapping[str, Signature]
    sides: tuple[int, int]
    class_names: list[str] | None
    version: str = "1"

    def warm_up(self, most: int) -> None:
        """Answer one image and a full batch, which compiles what is compiled."""
        for count in {1, most}:
            self.signatures[PIXELS](np.zeros((count, *self.sides, 3), np.uint8))


def of_saved_model(path: Path) -> Served:
    """Load what `fcam_tf.export.export` wrote.

    Raises:
        ValueError: it is another SavedModel, or damaged.
    """
    try:
        loaded = tf.saved_model.load(str(path)).signatures
        signatures = {name: _of_concrete(function) for name, function in loaded.items()}
        sides = tuple(signatures[BYTES].outputs["heatmap"].shape[1:])
    except (KeyError, OSError, ValueError, tf.errors.OpError) as error:
        raise ValueError(
            f"{path} is not a SavedModel of fcam export, or damaged: {error!r}"
        ) from None
    labels = path / EXTRA / LABELS
    names = labels.read_text("utf-8").split("\n")[:-1] if labels.exists() else None
    version = path.name if path.name.isdigit() else "1"
    return Served(signatures, sides, names, version)


def of_answers(answers: Answers) -> Served:
    """Serve a model in memory, which gets the signatures that its export would have."""
    signatures = {
        name: _of_function(function, spec)
        for name, (function, spec) in answers.signatures().items()
    }
    names = answers.localizer.class_names
    return Served(signatures, answers.sides, list(names) if names else None)


def _of_function(function: Callable[[Any], Any], spec: tf.TensorSpec) -> Signature:
    traced = tf.function(function, autograph=False).get_concrete_function(spec)
    return Signature(
        spec.name, spec, dict(traced.structured_outputs), lambda **rows: traced(*rows.values())
    )


def _of_concrete(function: Any) -> Signature:
    ((key, spec),) = function.structured_input_signature[1].items()
    return Signature(key, spec, dict(function.structured_outputs), function)


def _words(error: tf.errors.OpError) -> str:
    """Return what a graph says of an input, without where in the graph, and our files, it does."""
    text = re.split(_TRACE, error.message.split("\n\t [[")[0])[-1]
    text = re.sub(r"\{\{\w+_node .*?\}\}", "", text)
    return " ".join(text.split())[:300]
