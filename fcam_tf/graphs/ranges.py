"""Images that are not raw RGB: those in [0, 1] run without an error, but all look black."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import keras
from keras import ops

from fcam_tf import lazy_tensorflow as tf


def expect_raw_pixels(images: Any) -> None:
    """Warn, once in a process, of a batch of floats that looks like [0, 1].

    That is a batch without a value above 1 in which not all values are whole numbers, as they are
    in black photos. Works in compiled steps too, but not under XLA, where nothing is said.

    Args:
        images: of any shape; what is not a floating-point tensor passes.
    """
    dtype = getattr(images, "dtype", None)
    if dtype is None or "float" not in keras.backend.standardize_dtype(dtype) or 0 in images.shape:
        return
    unit = ops.logical_and(ops.max(images) <= 1, ops.any(images != ops.floor(images)))
    if keras.backend.backend() == "tensorflow":
        if tf.executing_eagerly():
            _judge(unit)
        elif not tf.is_traced_for_xla():
            tf.py_function(_judge, [unit], [])
    elif keras.backend.backend() == "jax":
        import jax  # noqa: PLC0415

        jax.debug.callback(_judge, unit)
    else:
        _judge(unit)


def expect_rgb(name: str, model: keras.Model) -> None:
    """Raise a ValueError unless ``model``, the argument ``name``, takes three channels."""
    channels = model.inputs[0].shape[-1]
    if channels != 3:
        raise ValueError(
            f"`{name}` must take RGB images (B, H, W, 3). Received one of {channels} channels. Put "
            "what makes them of RGB in front of it, such as "
            f"keras.Model(rgb, {name}(keras.ops.image.rgb_to_grayscale(rgb)))."
        )


def _judge(unit: Any) -> None:
    if bool(unit):
        _warn()


@functools.cache
def _warn() -> None:
    warnings.warn(
        "`images` lie in [0, 1], where raw pixels in [0, 255] are expected: all look black. "
        "Multiply them by 255, and leave out any scaling of your own.",
        stacklevel=2,
    )
