"""Gives the compiled operations odd shapes, numbers and attributes, as TensorFlow calls them.

    fuzz_ops.sh 60

builds the library with AddressSanitizer and runs this with it. A call must end in numbers of the
shape of its values, or in an error that says something.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf

_REFUSALS = (tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError, ValueError)
_SIDES = (0, 1, 2, 3, 7, 16, 33, 65)
_ODD = (0.0, -1.0, 1e-38, 1e-6, 1e6, 1e38, np.inf, -np.inf, np.nan)


def _number(rng: np.random.Generator, odd: float = 0.08) -> float:
    return float(rng.choice(_ODD)) if rng.random() < odd else float(rng.uniform(0.3, 50))


def _values(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = rng.random(shape, np.float32)
    if rng.random() < 0.2 and values.size:
        values.flat[rng.integers(values.size)] = _number(rng, 1)
    return values


def _other(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape, or now and then one that does not fit: a side, or a dimension, differs."""
    chance = rng.random()
    if chance < 0.9:
        return shape
    if chance < 0.95:
        return tuple(int(rng.choice(_SIDES)) for _ in range(rng.integers(6)))
    place = int(rng.integers(len(shape)))
    return (*shape[:place], shape[place] + 1, *shape[place + 1 :])


def _case(rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
    """Return the name of an operation, and what to call it with."""
    batch, height, width = int(rng.integers(4)), *map(int, rng.choice(_SIDES, 2))
    channels = int(rng.choice((1, 3, 3, 3, 2, 0)))
    classes = int(rng.choice((0, 1, 2, 3, 4, 7, 8, 21, 30)))
    photo = rng.integers(0, 256, _other(rng, (batch, height, width, channels)), np.uint8)
    with np.errstate(over="ignore"):
        images = photo if rng.random() < 0.5 else 255 * _values(rng, photo.shape)
    values = _values(rng, _other(rng, (batch, height, width, classes)))
    sigmas = {"sigma_rgb": _number(rng), "sigma_xy": _number(rng)}
    which = int(rng.integers(3))
    if which == 0:
        flag = {"transpose": bool(rng.integers(2))}
        return "fcam_bilateral_filter", {"images": images, "values": values, **sigmas, **flag}
    if which == 1:
        flag = {"symmetric": bool(rng.integers(2))}
        return "fcam_crf_loss", {"images": images, "probabilities": values, **sigmas, **flag}
    matrix = (0, 0) if rng.random() < 0.5 else _other(rng, (classes, classes))
    return "fcam_dense_crf", {
        "images": images,
        "unaries": values,
        "compatibility": _values(rng, matrix),
        **sigmas,
        "bilateral_weight": _number(rng) if rng.random() < 0.8 else 0.0,
        "spatial_weight": _number(rng) if rng.random() < 0.8 else 0.0,
        "spatial_sigma": _number(rng),
        "iterations": int(rng.integers(-1, 4)),
    }


def _called(operation: Any, arguments: dict[str, Any], in_graph: bool) -> Any:
    """Call an operation at once, or in a graph that does not know the shapes."""
    if not in_graph:
        return operation(**arguments)
    arrays = {name: value for name, value in arguments.items() if isinstance(value, np.ndarray)}
    rest = {name: value for name, value in arguments.items() if name not in arrays}
    signature = [tf.TensorSpec(None, array.dtype) for array in arrays.values()]

    @tf.function(input_signature=signature)
    def graph(*tensors: Any) -> Any:
        return operation(**dict(zip(arrays, tensors, strict=True)), **rest)

    return graph(*arrays.values())


def main() -> None:
    """Run for some seconds, and print how many calls there were."""
    library, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    tf.get_logger().setLevel("ERROR")  # a graph for each case is meant
    native, rng = tf.load_op_library(library), np.random.default_rng(seed)
    end, cases, refused = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        name, arguments = _case(rng)
        cases += 1
        try:
            found = _called(getattr(native, name), arguments, rng.random() < 0.1)
        except _REFUSALS as error:
            refused += 1
            if not str(error).strip():
                raise SystemExit(f"case {cases}: {name} says nothing") from error
            continue
        values = arguments.get("values", arguments.get("probabilities", arguments.get("unaries")))
        last = found[-1] if isinstance(found, tuple) else found
        if last.shape != values.shape:
            raise SystemExit(f"case {cases}: {name} gives {last.shape} for {values.shape}")
    print(f"{cases} calls, {refused} of them refused")


if __name__ == "__main__":
    main()
