"""Maps of classifiers and decoders under JAX, and their scores, for tools/gpu_training.py."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from gpu_crops import whole
from packs import Images

from fcam_tf import cams, metrics, models
from fcam_tf.cams.split_classifier import Evidence

BATCH = 64  # at twice the size a larger one does not fit


def maps_of(
    model: models.Classifier, method: str, scales: tuple[float, ...] = (1.0,)
) -> Callable[..., Any]:
    """Return ``(images, labels) -> maps (B, h, w) in [0, 1], logits``, of the mean over scales.

    Scales but 1 come with mirrored copies. "layercam+" is LayerCAM of P4 and P5.
    """
    cam = cams.get(method.rstrip("+"), model)
    fused = method.endswith("+")
    body = keras.Model(model.inputs, [model.feature_maps["P4"], model.feature_maps["P5"]])
    tail = keras.Model(model.feature_maps["P4"], model.feature_maps["P5"])

    def once(weights: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        found, _ = body.stateless_call(*weights[0], images, training=False)
        p4, p5 = (x.astype(jnp.float32) for x in found)
        evidence = cam.split.linear_evidence(p5, labels)
        if fused:
            top = lambda x: tail.stateless_call(*weights[1], x, training=False)[0]  # noqa: E731
            to_top = jax.vjp(lambda x: top(x).astype(jnp.float32), p4)[1]
            slope = to_top(jnp.broadcast_to(evidence.gradients[0], p5.shape))[0]
            evidence = Evidence([p4, p5], [slope, *evidence.gradients], evidence.logits, labels)
        return cams.normalize(cam.combine(evidence)), evidence.logits

    @jax.jit
    def averaged(weights: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        total, logits = 0.0, 0.0
        side = round(model.input_size * max(scales)) // model.output_stride
        for scale in scales:
            for mirrored in (False, True) if len(scales) > 1 else (False,):
                size = round(model.input_size * scale)
                maps, found = once(weights, whole(images, size, mirrored), labels)
                maps = maps[:, :, ::-1] if mirrored else maps
                total += whole(maps[..., None], side)[..., 0]
                logits = logits + found
        return cams.normalize(total), logits

    weights = _values(body), _values(tail)  # as arguments: XLA would fold constants for minutes
    return lambda images, labels: averaged(weights, images, labels)


def _values(model: Any) -> tuple[list[Any], list[Any]]:
    groups = (model.trainable_variables, model.non_trainable_variables)
    return tuple([variable.value for variable in group] for group in groups)


def apply(function: Callable[..., Any], images: Images, dtype: Any) -> tuple[Any, Any]:
    """Return maps and logits of all images, in batches of one size."""
    found, count = [], len(images)
    for start in range(0, count, BATCH):
        rows = np.minimum(np.arange(start, start + BATCH), count - 1)
        maps, logits = function(images.pixels[rows], images.labels[rows].astype(np.int32))
        found.append((np.asarray(maps, dtype), np.asarray(logits, np.float32)))
    return tuple(np.concatenate(parts)[:count] for parts in zip(*found, strict=True))


def score(function: Callable[..., Any], images: Images, size: int) -> dict[str, float]:
    """Score maps of the true classes as the benchmark does."""
    found = [metrics.MaxBoxAcc(), metrics.MaxBoxAccV2()]
    at_size = lambda x, y: _to_size(*function(x, y), size)  # noqa: E731
    maps, logits = apply(at_size, images, np.float32)
    for metric in found:
        metric.update_state(maps, images.boxes)
    scores = {type(m).__name__: round(float(m.result()), 2) for m in found}
    return scores | {"accuracy": round(100 * float((logits.argmax(-1) == images.labels).mean()), 2)}


@functools.partial(jax.jit, static_argnums=2)
def _to_size(maps: Any, logits: Any, size: int) -> tuple[Any, Any]:
    return jnp.clip(whole(maps[..., None], size)[..., 0], 0, 1), logits


def maps_of_decoder(model: models.FCAM) -> Callable[..., Any]:
    """Return ``(images, labels) -> maps (B, H, W) in [0, 1], logits`` of a model that trains."""

    def function(state: Any, images: Any) -> tuple[Any, Any]:
        outputs, _ = model.stateless_call(*state, whole(images, model.input_size), training=False)
        return jax.nn.softmax(outputs["fcam"])[..., 1], outputs["logits"]

    compiled = jax.jit(function)

    def found(images: Any, labels: Any) -> tuple[Any, Any]:  # noqa: ARG001 - one map for all classes
        return compiled(_values(model), images)

    return found
